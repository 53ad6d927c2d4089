#include <c10/util/SmallVector.h>

#include <cstdint>

#include "tenure/engine/tensorrt/compiled.h"
#include "tenure/engine/tensorrt/convert.h"
#include "tenure/engine/tensorrt/log.h"

namespace tenure::tensorrt {
namespace {

// "The pointer must have at least 256-byte alignment" (NvInferRuntime.h, setTensorAddress).
bool is_aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 256 == 0; }

}  // namespace

void LayerTimes::reportLayerTime(const char* name, float milliseconds) noexcept {
  times.push_back({name, static_cast<int64_t>(static_cast<double>(milliseconds) * 1e6)});
}

Context::Context(Compiled& engine)
    : engine_(engine),
      inputs_(engine.inputs().size()),
      outputs_(engine.outputs().size()),
      executions_(engine.profile_count()),
      timed_executions_(engine.profile_count()) {}

// TensorRT wants its contexts to outlive their work.
Context::~Context() {
  enter_context(engine_.device());
  if (has_run_) synchronize(engine_.device());
}

void Context::bind(std::vector<Bound>& bounds, const std::vector<Port>& ports, size_t index, const at::Tensor& tensor) {
  const Port& port = ports.at(index);
  Bound& bound = bounds[index];
  port.guard.check_bindable(tensor);
  const c10::Device expected = port.on_host ? c10::Device(c10::kCPU) : engine_.device();
  check(tensor.device() == expected, ErrorCode::kInvalidArgument, port.guard.label(), ": expected a tensor on ", expected,
        port.on_host ? ", since sizes follow from its values," : "", " got one on ", tensor.device());
  void* const data = tensor.numel() == 0 ? engine_.no_elements() : tensor.data_ptr();
  const bool same_sizes = tensor.sizes().equals(bound.sizes);
  if (bound.data == data && same_sizes) return;
  has_new_sizes_ |= !same_sizes;  // at first they are new anyhow
  bound.sizes.assign(tensor.sizes().begin(), tensor.sizes().end());
  bound.bytes = tensor.nbytes();
  bound.data = data;
  is_told_ = false;
}

void Context::check_all_bound() const {
  const auto check_bound = [](const std::vector<Bound>& bounds, const std::vector<Port>& ports) {
    for (size_t index = 0; index < bounds.size(); ++index)
      check(bounds[index].data != nullptr || ports[index].is_made, ErrorCode::kInternal, ports[index].guard.label(),
            " was not bound before the engine ran");
  };
  check_bound(inputs_, engine_.inputs());
  check_bound(outputs_, engine_.outputs());
}

Context::Execution& Context::execution_for(size_t profile) {
  auto& execution = (is_timed_ ? timed_executions_ : executions_)[profile];
  if (!execution) {
    auto made = std::make_unique<Execution>();
    made->context = engine_.make_execution_context(profile);
    if (is_timed_) {
      made->profiler = std::make_unique<LayerTimes>();
      made->context->setProfiler(made->profiler.get());
    }
    made->inputs.resize(inputs_.size());
    made->outputs.resize(outputs_.size());
    make_outputs(*made);
    execution = std::move(made);
  }
  return *execution;
}

void Context::make_outputs(Execution& execution) const {
  execution.made.resize(outputs_.size());
  for (size_t index = 0; index < outputs_.size(); ++index) {
    const Port& port = engine_.outputs()[index];
    if (!port.is_made) continue;
    execution.made[index] = std::make_unique<MadeOutput>(engine_.device());
    check_call(execution.context->setOutputAllocator(port.name.c_str(), execution.made[index].get()),
               [&] { return "take an allocator for " + port.guard.label(); });
  }
}

void Context::choose_profile() {
  std::vector<std::vector<int64_t>> sizes;
  for (const Bound& input : inputs_) sizes.push_back(input.sizes);
  active_ = &execution_for(engine_.profile_for(sizes));
}

// Tells TensorRT what of the bindings it does not know yet.
void Context::tell() {
  check_all_bound();
  if (has_new_sizes_) choose_profile();
  try {
    const bool must_infer = has_new_sizes_ && tell_sizes();
    misaligned_.clear();
    tell_addresses(engine_.inputs(), inputs_, active_->inputs, false);
    if (must_infer || host_values_changed()) infer_sizes();
    if (has_new_sizes_ || engine_.has_host_inputs()) check_outputs();
    tell_addresses(engine_.outputs(), outputs_, active_->outputs, true);
    is_told_ = true;
    has_new_sizes_ = false;
  } catch (...) {
    forget_active();
    throw;
  }
}

// What it was told is not known any more: another one takes its place.
void Context::forget_active() {
  if (has_run_) synchronize(engine_.device());
  for (auto* executions : {&executions_, &timed_executions_})
    for (auto& execution : *executions)
      if (execution.get() == active_) execution.reset();
  active_ = nullptr;
  is_told_ = false;
  has_new_sizes_ = true;
}

bool Context::tell_sizes() {
  bool changed = false;
  for (size_t index = 0; index < inputs_.size(); ++index) {
    const Port& port = engine_.inputs()[index];
    Execution::Told& told = active_->inputs[index];
    if (told.sizes == inputs_[index].sizes) continue;
    check_call(active_->context->setInputShape(port.name.c_str(), to_dims(inputs_[index].sizes)),
               [&] { return concat("take sizes ", sizes_text(inputs_[index].sizes), " for ", port.guard.label()); });
    told.sizes = inputs_[index].sizes;
    changed = true;
  }
  return changed;
}

void Context::tell_addresses(const std::vector<Port>& ports, std::vector<Bound>& bounds, std::vector<Execution::Told>& told,
                             bool outputs) {
  for (size_t index = 0; index < ports.size(); ++index) {
    const Port& port = ports[index];
    if (port.is_made) continue;
    const bool fits = port.on_host || is_aligned(bounds[index].data);
    if (port.aliases)
      check(fits && bounds[index].data == inputs_[*port.aliases].data, ErrorCode::kInvalidArgument, port.guard.label(),
            " is written into the memory of ", engine_.inputs()[*port.aliases].guard.label(),
            ": bind both to the same memory, aligned to 256 bytes");
    if (fits)
      tell_address(port, told[index], bounds[index].data);
    else
      misaligned_.push_back({&port, &bounds[index], &told[index], outputs});
  }
}

void Context::tell_address(const Port& port, Execution::Told& told, void* address) {
  if (told.address == address) return;
  told.address = nullptr;
  check_call(active_->context->setTensorAddress(port.name.c_str(), address), [&] { return "bind " + port.guard.label(); });
  told.address = address;
}

std::string Context::host_values() const {
  std::string values;
  for (size_t index = 0; index < inputs_.size(); ++index)
    if (engine_.inputs()[index].on_host) values.append(static_cast<const char*>(inputs_[index].data), inputs_[index].bytes);
  return values;
}

bool Context::host_values_changed() const { return engine_.has_host_inputs() && host_values() != active_->host_values; }

void Context::infer_sizes() {
  const auto describe = [&] { return concat("infer the sizes of what engine \"", engine_.name(), "\" computes"); };
  check_call(active_->context->inferShapes(0, nullptr) == 0, describe);
  active_->scratch_bytes = active_->context->updateDeviceMemorySizeForShapes();
  active_->scratch = nullptr;
  active_->host_values = host_values();
}

void Context::check_outputs() {
  has_work_ = false;
  for (size_t index = 0; index < outputs_.size(); ++index) {
    const Port& port = engine_.outputs()[index];
    has_work_ |= port.is_made;
    if (port.is_made) continue;
    const nvinfer1::Dims computed = active_->context->getTensorShape(port.name.c_str());
    check(agree(computed, outputs_[index].sizes), ErrorCode::kEngine, port.guard.label(), ": the program expects the sizes ",
          sizes_text(outputs_[index].sizes), ", TensorRT computes ", text_of(computed));
    has_work_ |= outputs_[index].bytes > 0;
  }
}

void Context::enqueue() {
  enter_context(engine_.device());
  std::unique_lock<std::mutex> compiling;
  if (has_new_sizes_) compiling = engine_.compile();
  if (!is_told_ || host_values_changed()) tell();
  if (!has_work_) return;
  const cudaStream_t stream = current_stream(engine_.device());
  try {
    if (misaligned_.empty()) [[likely]]
      run(stream);
    else
      run_with_copies(stream);
  } catch (...) {
    forget_active();
    throw;
  }
}

// With a profiler TensorRT waits for the layers and tells each one's time before it returns.
std::vector<LayerTime> Context::enqueue_and_time() {
  struct Timing {
    Context& context;
    explicit Timing(Context& of) : context(of) { set(true); }
    ~Timing() { set(false); }
    void set(bool timed) {
      context.is_timed_ = timed;
      context.is_told_ = false;  // the other execution context knows what it was told, but not what is new
      context.has_new_sizes_ = true;
    }
  } const timing(*this);
  enqueue();
  return active_ != nullptr && active_->profiler ? std::exchange(active_->profiler->times, {}) : std::vector<LayerTime>();
}

// The scratch memory is asked for in each run, and so planned; of a plan its address is the same in each.
void Context::run(cudaStream_t stream) {
  Execution& execution = *active_;
  c10::DataPtr scratch;
  if (execution.scratch_bytes > 0) {
    scratch = allocate(engine_.device(), execution.scratch_bytes);
    if (scratch.get() != execution.scratch)
      execution.context->setDeviceMemoryV2(scratch.get(), static_cast<int64_t>(execution.scratch_bytes));
    execution.scratch = scratch.get();
  }
  for (const auto& made : execution.made)
    if (made) made->forget();
  has_run_ = true;
  const bool runs = execution.context->enqueueV3(stream);
  for (const auto& made : execution.made)
    if (made) made->rethrow();
  check_call(runs, [&] { return concat("run engine \"", engine_.name(), "\""); });
}

at::Tensor Context::take_output(size_t index) {
  const Port& port = engine_.outputs().at(index);
  check(port.is_made, ErrorCode::kInternal, port.guard.label(), " is bound before the engine runs");
  at::Tensor result = active_ != nullptr ? active_->made[index]->take(port.guard.dtype()) : at::Tensor();
  check(result.defined(), ErrorCode::kEngine, port.guard.label(),
        ": TensorRT asked for no memory, or it was taken before: take it once after each run");
  port.guard.check_bindable(result);
  return result;
}

void Context::run_with_copies(cudaStream_t stream) {
  c10::SmallVector<c10::DataPtr, 4> aligned;
  for (const Misaligned& each : misaligned_) {
    aligned.push_back(allocate(engine_.device(), each.bound->bytes));
    if (!each.is_output) copy(aligned.back().get(), each.bound->data, each.bound->bytes, stream);
    tell_address(*each.port, *each.told, aligned.back().get());
  }
  run(stream);
  for (size_t i = 0; i < misaligned_.size(); ++i)
    if (misaligned_[i].is_output) copy(misaligned_[i].bound->data, aligned[i].get(), misaligned_[i].bound->bytes, stream);
}

}  // namespace tenure::tensorrt
