#include "tenure/session/state.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/CPUAllocator.h>

#include <algorithm>
#include <memory>

#include "tenure/base/error.h"
#include "tenure/session/region.h"
#include "tenure/session/sharing.h"

namespace tenure {
namespace {

struct Chunk {
  void* data;
  size_t bytes;
};

void free_chunk(void* context) {
  const std::unique_ptr<Chunk> chunk(static_cast<Chunk*>(context));
  arena_region().deallocate(chunk->data, chunk->bytes);
}

// `count` bytes of arena_region(); of the ordinary allocator if that is exhausted, and on a device.
at::Tensor empty_bytes(int64_t count, c10::Device device) {
  if (!device.is_cpu()) return at::empty({count}, at::TensorOptions().dtype(at::kByte).device(device));
  const size_t bytes = static_cast<size_t>(count);
  void* data = count > 0 ? arena_region().allocate(bytes) : nullptr;
  if (data == nullptr) return at::empty({count}, at::kByte);
  c10::DataPtr pointer(data, new Chunk{data, bytes}, &free_chunk, c10::DeviceType::CPU);
  c10::Storage storage(c10::Storage::use_byte_size_t(), bytes, std::move(pointer), c10::GetCPUAllocator(), /*resizable=*/true);
  return at::empty({0}, at::kByte).set_(storage, 0, {count}, {1});
}

at::Tensor all_bytes(const at::Tensor& tensor) {
  const int64_t count = static_cast<int64_t>(tensor.storage().nbytes());
  return at::empty({0}, tensor.options().dtype(at::kByte)).set_(tensor.storage(), 0, {count}, {1});
}

}  // namespace

State::State(const Program& program) : program_(program) {
  const auto& weights = program.weights();
  for (const std::string& name : program.ownership().state) {
    const auto found = weights.find(name);
    check(found != weights.end(), ErrorCode::kBadFile, "the file lacks the buffer ", name, ", which the program changes");
    if (storage_of(found->second) != nullptr) continue;
    const at::Tensor original = all_bytes(found->second);
    storages_.push_back({original, empty_bytes(original.numel(), original.device())});
  }
  for (const auto& [name, weight] : weights) {
    const Storage* storage = storage_of(weight);
    if (storage == nullptr) continue;
    at::Tensor tensor = at::empty({0}, weight.options());
    tensor.set_(storage->bytes.storage(), weight.storage_offset(), weight.sizes(), weight.strides());
    tensors_.emplace(name, std::move(tensor));
  }
  reset();
}

const State::Storage* State::storage_of(const at::Tensor& weight) const {
  const auto found =
      std::find_if(storages_.begin(), storages_.end(), [&](const Storage& s) { return share_storage(s.original, weight); });
  return found == storages_.end() ? nullptr : &*found;
}

bool State::holds(const at::Tensor& tensor) const {
  return std::any_of(storages_.begin(), storages_.end(), [&](const Storage& s) { return share_storage(s.bytes, tensor); });
}

void State::reset() {
  const at::NoGradGuard no_grad;
  for (const Storage& storage : storages_) storage.bytes.copy_(storage.original);
  for (auto& [name, tensor] : tensors_) {  // an in-place operator may have changed its shape or, resizing it, its memory
    const at::Tensor& weight = program_.weights().at(name);
    if (holds(tensor) && tensor.sizes() == weight.sizes() && tensor.strides() == weight.strides()) continue;
    tensor.set_(storage_of(weight)->bytes.storage(), weight.storage_offset(), weight.sizes(), weight.strides());
  }
}

std::map<std::string, at::Tensor> State::copies() const {
  const at::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> copies;
  for (const std::string& name : program_.ownership().state) copies.emplace(name, tensors_.at(name).clone());
  return copies;
}

void State::load(const std::map<std::string, at::Tensor>& values) {
  const auto& names = program_.ownership().state;
  for (const auto& [name, value] : values) {
    std::string known;
    for (const std::string& each : names) known += (known.empty() ? "" : ", ") + each;
    check(std::find(names.begin(), names.end(), name) != names.end(), ErrorCode::kInvalidArgument,
          "the program has no state named ", name, "; it has ", known.empty() ? "none" : known);
    const at::Tensor& target = tensors_.at(name);
    check(value.defined() && value.scalar_type() == target.scalar_type() && value.sizes() == target.sizes(),
          ErrorCode::kInvalidArgument, "state ", name, ": expected ", target.scalar_type(), " ", target.sizes(), ", got ",
          value.defined() ? concat(value.scalar_type(), " ", value.sizes()) : std::string("an undefined tensor"));
    const bool reachable = value.device().is_cpu() || value.device() == target.device();
    check(reachable && value.layout() == at::kStrided, ErrorCode::kInvalidArgument, "state ", name, ": expected a dense tensor on ",
          target.device(), ", got a ", value.layout(), " one on ", value.device());
  }
  const at::NoGradGuard no_grad;  // a parameter's content, not its history
  for (const auto& [name, value] : values) tensors_.at(name).copy_(value);
}

}  // namespace tenure
