#include "tenure/session/boundary.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "tenure/base/error.h"
#include "tenure/session/region.h"

namespace tenure {
namespace {

bool share_storage(const at::Tensor& a, const at::Tensor& b) {
  return a.has_storage() && b.has_storage() && a.storage().unsafeGetStorageImpl() == b.storage().unsafeGetStorageImpl();
}

bool is_same_place(const at::Tensor& a, const at::Tensor& b) {
  return share_storage(a, b) && a.sizes() == b.sizes() && a.strides() == b.strides() && a.storage_offset() == b.storage_offset();
}

}  // namespace

Boundary::Boundary(const Program& program) : program_(program), weights_(program.graph().values.size()) {
  const Graph& graph = program.graph();
  copy_state();
  std::map<std::string, ValueId> inputs_by_name, buffers_by_name;
  for (const GraphInput& input : graph.inputs) {
    if (input.kind == GraphInput::Kind::kUser || input.kind == GraphInput::Kind::kUserConstant) {
      user_inputs_.push_back(input.value);
      inputs_by_name.emplace(input.name, input.value);
      continue;
    }
    if (!input.value.valid()) continue;
    buffers_by_name.emplace(input.target, input.value);
    const auto state = state_.find(input.target);
    const auto weight = program.weights().find(input.target);
    check(state != state_.end() || weight != program.weights().end(), ErrorCode::kBadFile, "the file lacks the weight ",
          input.target);
    const bool changes = state != state_.end();
    const at::Tensor& tensor = changes ? state->second : weight->second;
    weights_[input.value.index] = tensor;
    (changes ? state_storages_ : weight_storages_).insert(tensor.storage().unsafeGetStorageImpl());
  }
  for (const GraphOutput& output : graph.outputs) {
    check(!output.value.is_list(), ErrorCode::kUnsupported, "an output of the program is a list; outputs must be flat");
    if (output.kind == GraphOutput::Kind::kUser || !output.value.is_value()) continue;
    const auto& targets = output.kind == GraphOutput::Kind::kBufferMutation ? buffers_by_name : inputs_by_name;
    const auto target = targets.find(output.target);
    check(target != targets.end() && target->second.valid(), ErrorCode::kBadFile, "an output changes ", output.target,
          ", which is no input of the program");
    write_backs_.push_back({output.value.value(), target->second});
  }
}

// Names that share memory (tied buffers) go on sharing it: the copy is made storage by storage.
void Boundary::copy_state() {
  std::map<const c10::StorageImpl*, at::Tensor> copied;  // each storage as bytes
  for (const std::string& name : program_.ownership().state) {
    const auto found = program_.weights().find(name);
    check(found != program_.weights().end(), ErrorCode::kBadFile, "the file lacks the buffer ", name,
          ", which the program changes");
    const at::Tensor& buffer = found->second;
    at::Tensor& bytes = copied[buffer.storage().unsafeGetStorageImpl()];
    if (bytes.defined()) continue;
    const int64_t count = static_cast<int64_t>(buffer.storage().nbytes());
    bytes = at::empty({0}, buffer.options().dtype(at::kByte)).set_(buffer.storage(), 0, {count}, {1}).clone();
  }
  for (const auto& [name, weight] : program_.weights()) {
    const auto copy = copied.find(weight.storage().unsafeGetStorageImpl());
    if (copy == copied.end()) continue;
    at::Tensor tensor = at::empty({0}, weight.options());
    tensor.set_(copy->second.storage(), weight.storage_offset(), weight.sizes(), weight.strides());
    state_.emplace(name, std::move(tensor));
  }
}

void Boundary::enter(const std::vector<c10::IValue>& inputs, Registers& registers) const {
  for (size_t i = 0; i < inputs.size(); ++i)
    if (user_inputs_[i].valid()) registers[user_inputs_[i].index] = inputs[i];
}

bool Boundary::is_target(const at::Tensor& tensor, const Registers& registers) const {
  return std::any_of(write_backs_.begin(), write_backs_.end(),
                     [&](const WriteBack& w) { return share_storage(tensor, registers[w.target.index].toTensor()); });
}

std::vector<c10::IValue> Boundary::results(const Registers& registers, bool& saved_from_arena) const {
  std::vector<c10::IValue> results;
  for (const GraphOutput& output : program_.graph().outputs) {
    if (output.kind != GraphOutput::Kind::kUser) continue;
    results.push_back(output.value.is_value() ? registers[output.value.value().index] : output.value.constant());
    if (!results.back().isTensor() || !results.back().toTensor().has_storage()) continue;
    const at::Tensor& tensor = results.back().toTensor();
    const c10::StorageImpl* storage = tensor.storage().unsafeGetStorageImpl();
    const bool in_arena = arena_region().contains(storage->data());
    if (in_arena || is_target(tensor, registers) || state_storages_.contains(storage)) {
      saved_from_arena |= in_arena;
      results.back() = tensor.clone();
    } else if (weight_storages_.contains(storage)) {
      results.back() = at::alias(tensor);  // the weight's own tensor object would carry attributes from caller to caller
    }
  }
  return results;
}

void Boundary::write_back(const Registers& registers) const {
  if (write_backs_.empty()) return;
  std::vector<at::Tensor> sources;
  for (const WriteBack& w : write_backs_) {
    const at::Tensor& source = registers[w.source.index].toTensor();
    const bool in_place = is_same_place(source, registers[w.target.index].toTensor());
    // Two buffers may swap their content: what another write-back will overwrite is copied first.
    sources.push_back(!in_place && is_target(source, registers) ? source.clone() : source);
  }
  for (size_t i = 0; i < write_backs_.size(); ++i) {
    const at::Tensor& target = registers[write_backs_[i].target.index].toTensor();
    if (!is_same_place(sources[i], target)) target.copy_(sources[i]);
  }
}

}  // namespace tenure
