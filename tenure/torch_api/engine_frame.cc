#include "tenure/torch_api/engine_frame.h"

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>

#include <optional>
#include <utility>

#include "tenure/base/error.h"
#include "tenure/graph/tensor_over.h"
#include "tenure/session/allocator.h"
#include "tenure/session/interpreter.h"

namespace tenure {
namespace {

constexpr int64_t kMaxFrames = 4;   // as a session has; each costs an engine context
constexpr size_t kMaxBuffers = 64;  // of one output; beyond that results are plain allocations

// Serves what an engine asks of PyTorch's allocator of device memory while it runs.
class FromCells final : public CountingScope {
 public:
  explicit FromCells(CellPool& pool) : pool_(pool) {}

  Served serve(Space space, size_t bytes) override {
    Cell* const cell = space == Space::kDevice ? pool_.acquire(bytes, kMaxBuffers) : nullptr;
    return cell != nullptr ? Served{cell->data(), cell} : Served{};
  }

 private:
  CellPool& pool_;
};

}  // namespace

EngineFrame::EngineFrame(const Engine& engine, c10::Device device, SharedLedger ledger)
    : engine_(engine), device_(device), ledger_(std::move(ledger)), context_(engine.make_context()) {
  for (size_t i = 0; i < engine.spec().inputs.size(); ++i) {
    dense_inputs_.push_back(std::make_unique<CellPool>(CellUse::kOwn, ledger_, device_));
  }
  outputs_.resize(engine.spec().outputs.size());
  if (!device_.is_cpu()) made_ = std::make_unique<CellPool>(CellUse::kOwn, ledger_, device_);
}

std::vector<at::Tensor> EngineFrame::run(const std::vector<at::Tensor>& inputs, bool reuse) {
  if (device_.is_cpu()) return run_in_order(inputs, reuse);
  const c10::DeviceGuard on_its_device(device_);
  struct InOrder {
    StreamOrder& order;
    ~InOrder() { order.leave(); }
  } const in_order{order_};
  order_.enter(current_stream(device_));
  return run_in_order(inputs, reuse);
}

std::vector<at::Tensor> EngineFrame::run_in_order(const std::vector<at::Tensor>& inputs, bool reuse) {
  follow_ownership();
  allocations_ = 0;
  std::vector<at::Tensor> dense_inputs;
  dense_inputs.reserve(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) dense_inputs.push_back(dense(i, inputs[i], reuse));
  std::vector<at::Tensor> results;
  results.reserve(outputs_.size());
  for (size_t i = 0; i < outputs_.size(); ++i) {
    if (engine_.sizes_depend_on_data(i)) {
      results.emplace_back();
      continue;
    }
    const std::vector<int64_t> sizes = engine_.output_sizes(i, dense_inputs);
    results.push_back(make_tensor(*outputs_[i].pool, sizes, engine_.spec().outputs[i].dtype, reuse));
  }
  for (size_t i = 0; i < inputs.size(); ++i) context_->bind_input(i, dense_inputs[i]);
  for (size_t i = 0; i < results.size(); ++i)
    if (results[i].defined()) context_->bind_output(i, results[i]);
  {
    std::optional<FromCells> scope;
    std::optional<MemoryScopeGuard> serve;
    if (made_ != nullptr && reuse) serve.emplace(&scope.emplace(*made_));
    context_->enqueue();
    take_outputs(engine_, *context_, results);
  }
  if (reuse) allocate_ahead();
  return results;
}

void EngineFrame::follow_ownership() {
  const uint64_t version = engine_.ownership_version();
  if (version == ownership_version_ && (outputs_.empty() || outputs_[0].pool != nullptr)) return;
  ownership_version_ = version;
  for (size_t i = 0; i < outputs_.size(); ++i) {
    const bool unowned = engine_.are_output_tensors_unowned(i);
    if (outputs_[i].pool != nullptr && outputs_[i].unowned == unowned) continue;
    outputs_[i] = {.unowned = unowned,
                   .pool = std::make_unique<CellPool>(unowned ? CellUse::kSlot : CellUse::kOwn, ledger_, device_)};
  }
}

at::Tensor EngineFrame::in_cell(Cell& cell, size_t bytes, at::IntArrayRef sizes, at::ScalarType dtype) const {
  c10::DataPtr memory = device_.is_cpu() ? c10::DataPtr{cell.data(), cell.data(), &tenure_delete, device_}
                                         : as_device_pointer({cell.data(), &cell}, device_);
  at::Tensor tensor = tensor_over(storage_over(std::move(memory), bytes), dtype);
  tensor.unsafeGetTensorImpl()->set_sizes_contiguous(sizes);
  return tensor;
}

at::Tensor EngineFrame::make_tensor(CellPool& pool, at::IntArrayRef sizes, at::ScalarType dtype, bool reuse) {
  const size_t bytes = static_cast<size_t>(c10::multiply_integers(sizes)) * c10::elementSize(dtype);
  if (reuse && bytes > 0) {
    const size_t before = pool.bytes();
    if (Cell* cell = pool.acquire(bytes, kMaxBuffers)) {
      allocations_ += pool.bytes() != before;
      return in_cell(*cell, bytes, sizes, dtype);
    }
  }
  allocations_ += bytes > 0;
  return at::empty(sizes, at::TensorOptions(dtype).device(device_));
}

at::Tensor EngineFrame::dense(size_t index, const at::Tensor& input, bool reuse) {
  const auto label = [&] { return concat("engine \"", engine_.spec().name, "\": input ", index); };
  check(input.defined(), ErrorCode::kInvalidArgument, label, " is an undefined tensor");
  // What TensorRT reads on the host (numbers that give sizes) it says itself.
  check((input.device() == device_ || input.device().is_cpu()) && input.layout() == at::kStrided, ErrorCode::kInvalidArgument,
        label, ": expected a strided tensor on ", device_, ", got one on ", input.device(), " with layout ", input.layout());
  if (input.is_contiguous() && !input.is_conj() && !input.is_neg()) return input;
  if (input.device() != device_) return input.contiguous();
  at::Tensor copy = make_tensor(*dense_inputs_[index], input.sizes(), input.scalar_type(), reuse);
  return copy.copy_(input);
}

void EngineFrame::allocate_ahead() {
  for (const Output& output : outputs_) {
    if (output.unowned) output.pool->allocate_ahead(kMaxBuffers);
  }
}

size_t EngineFrame::trim() {
  size_t bytes = 0;
  for (const Output& output : outputs_) {
    if (output.pool != nullptr) bytes += output.pool->trim();
  }
  for (const auto& pool : dense_inputs_) bytes += pool->trim();
  if (made_ != nullptr) bytes += made_->trim();
  return bytes;
}

EngineFrames::EngineFrames(const Engine& engine, c10::Device device, SharedLedger ledger)
    : engine_(engine), device_(device), ledger_(std::move(ledger)) {
  free_.reserve(kMaxFrames);  // giving back must not fail
}

int64_t EngineFrames::count() const {
  const std::lock_guard lock(mutex_);
  return made_;
}

size_t EngineFrames::trim() {
  const std::lock_guard lock(mutex_);
  size_t bytes = 0;
  for (const auto& frame : free_) bytes += frame->trim();
  return bytes;
}

std::unique_ptr<EngineFrame> EngineFrames::take() {
  std::unique_lock lock(mutex_);
  returned_.wait(lock, [&] { return !free_.empty() || made_ < kMaxFrames; });
  if (free_.empty()) {
    auto frame = std::make_unique<EngineFrame>(engine_, device_, ledger_);
    ++made_;
    return frame;
  }
  auto frame = std::move(free_.back());
  free_.pop_back();
  return frame;
}

void EngineFrames::give_back(std::unique_ptr<EngineFrame> frame) {
  {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(frame));
  }
  returned_.notify_one();
}

}  // namespace tenure
