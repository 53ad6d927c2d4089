#include <algorithm>
#include <cstring>

#include "tenure/base/error.h"
#include "tests/engine/tensorrt_double/objects.h"

namespace tenure::testing::trt {
namespace {

constexpr uint64_t kAlignment = 256;
constexpr int kScratchPattern = 0xCD;

bool is_aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % kAlignment == 0; }

}  // namespace

ContextDouble::ContextDouble(nvinfer1::ICudaEngine& engine, std::shared_ptr<Loaded> loaded,
                             ExecutionContextAllocationStrategy strategy, std::shared_ptr<Kernels> kernels)
    : engine_(engine),
      loaded_(std::move(loaded)),
      strategy_(strategy),
      kernels_(std::move(kernels)),
      bound_(loaded_->program.ports().size()) {
  mImpl = this;
  ++loaded_->contexts;
}

ContextDouble::~ContextDouble() { --loaded_->contexts; }

size_t ContextDouble::find(Name name) const {
  const std::optional<size_t> index = loaded_->program.find(name);
  check(index.has_value(), ErrorCode::kEngine, "there is no tensor ", name ? name : "(null)");
  return *index;
}

bool ContextDouble::setOptimizationProfileAsync(int32_t profile, cudaStream_t stream) noexcept {
  const Call call{.name = "setOptimizationProfileAsync", .address = stream, .number = profile, .object = this};
  if (must_fail(loaded_->logger, call)) return false;
  return guarded(loaded_->logger, "IExecutionContext::setOptimizationProfileAsync", false, [&] {
    check(profile >= 0 && static_cast<size_t>(profile) < loaded_->profiles.size(), ErrorCode::kEngine, "there is no profile ",
          profile);
    // Shapes that were set belong to the profile before: setInputShape must come after.
    if (profile_ != static_cast<size_t>(profile))
      for (Bound& bound : bound_) bound.dims.reset();
    profile_ = static_cast<size_t>(profile);
    return true;
  });
}

void ContextDouble::check_shape(size_t input, const Dims& dims) const {
  const Port& port = ports()[input];
  check(dims.nbDims == port.dims.nbDims, ErrorCode::kEngine, port.name, " has ", port.dims.nbDims, " dimensions, ", text_of(dims),
        " has ", dims.nbDims);
  for (int32_t dim = 0; dim < dims.nbDims; ++dim)
    check(port.dims.d[dim] < 0 || port.dims.d[dim] == dims.d[dim], ErrorCode::kEngine, "Static dimension mismatch: ", port.name,
          " is ", text_of(port.dims), ", set to ", text_of(dims));
  const Loaded::Range& range = loaded_->profiles[profile_][input];
  check(loaded_->takes(profile_, input, dims), ErrorCode::kEngine, port.name, text_of(dims), " does not satisfy profile ", profile_,
        ": ", text_of(range.min), " to ", text_of(range.max));
}

bool ContextDouble::setInputShape(Name name, const Dims& dims) noexcept {
  if (must_fail(loaded_->logger, {.name = "setInputShape", .tensor = name, .dims = to_sizes(dims), .object = this})) return false;
  return guarded(loaded_->logger, "IExecutionContext::setInputShape", false, [&] {
    const size_t index = find(name);
    check(ports()[index].is_input, ErrorCode::kEngine, name, " is no input");
    check_shape(index, dims);
    bound_[index].dims = dims;
    return true;
  });
}

// What was set; a dimension of which the profile allows one size only need not be.
Dims ContextDouble::input_dims(size_t input) const {
  if (bound_[input].dims) return *bound_[input].dims;
  Dims dims = ports()[input].dims;
  const Loaded::Range& range = loaded_->profiles[profile_][input];
  for (int32_t dim = 0; dim < dims.nbDims; ++dim)
    if (dims.d[dim] < 0 && range.min.d[dim] == range.max.d[dim]) dims.d[dim] = range.min.d[dim];
  return dims;
}

bool ContextDouble::lacks(size_t input) const {
  return !is_known(input_dims(input)) || (ports()[input].on_host && bound_[input].data == nullptr);
}

std::vector<std::string> ContextDouble::lacking() const {
  std::vector<std::string> names;
  for (size_t input = 0; input < loaded_->program.input_count(); ++input)
    if (lacks(input)) names.push_back(ports()[input].name);
  return names;
}

std::vector<Input> ContextDouble::inputs() const {
  std::vector<Input> inputs;
  for (size_t input = 0; input < loaded_->program.input_count(); ++input) inputs.push_back({bound_[input].data, input_dims(input)});
  return inputs;
}

Dims ContextDouble::getTensorShape(Name name) const noexcept {
  return guarded(loaded_->logger, "IExecutionContext::getTensorShape", Dims{-1, {}}, [&] {
    const size_t index = find(name);
    if (ports()[index].is_input) return input_dims(index);
    return lacking().empty() ? loaded_->program.infer(index, inputs()) : ports()[index].dims;
  });
}

bool ContextDouble::setTensorAddress(Name name, void* data) noexcept {
  if (must_fail(loaded_->logger, {.name = "setTensorAddress", .tensor = name, .address = data, .object = this})) return false;
  return guarded(loaded_->logger, "IExecutionContext::setTensorAddress", false, [&] {
    bound_[find(name)].data = data;
    return true;
  });
}

const void* ContextDouble::getTensorAddress(Name name) const noexcept {
  return guarded(loaded_->logger, "IExecutionContext::getTensorAddress", static_cast<const void*>(nullptr),
                 [&]() -> const void* { return bound_[find(name)].data; });
}

bool ContextDouble::setOutputAllocator(Name name, nvinfer1::IOutputAllocator* allocator) noexcept {
  if (must_fail(loaded_->logger, {.name = "setOutputAllocator", .tensor = name, .address = allocator, .object = this}))
    return false;
  return guarded(loaded_->logger, "IExecutionContext::setOutputAllocator", false, [&] {
    const size_t index = find(name);
    check(!ports()[index].is_input, ErrorCode::kEngine, name, " is no output");
    bound_[index].allocator = allocator;
    return true;
  });
}

nvinfer1::IOutputAllocator* ContextDouble::getOutputAllocator(Name name) noexcept {
  const std::optional<size_t> index = loaded_->program.find(name);
  return index ? bound_[*index].allocator : nullptr;
}

int32_t ContextDouble::inferShapes(int32_t max_names, Name* names) noexcept {
  if (must_fail(loaded_->logger, {.name = "inferShapes", .object = this})) return -1;
  return guarded(loaded_->logger, "IExecutionContext::inferShapes", -1, [&]() -> int32_t {
    check(max_names >= 0 && (names != nullptr || max_names == 0), ErrorCode::kEngine, "no room for ", max_names, " names");
    int32_t lacking_inputs = 0;
    for (size_t input = 0; input < loaded_->program.input_count(); ++input) {
      if (!lacks(input)) continue;
      if (lacking_inputs < max_names) names[lacking_inputs] = ports()[input].name.c_str();
      ++lacking_inputs;
    }
    if (lacking_inputs > 0) return lacking_inputs;
    for (size_t index = loaded_->program.input_count(); index < ports().size(); ++index) loaded_->program.infer(index, inputs());
    return 0;
  });
}

size_t ContextDouble::updateDeviceMemorySizeForShapes() noexcept {
  if (must_fail(loaded_->logger, {.name = "updateDeviceMemorySizeForShapes", .object = this})) return 0;
  return guarded(loaded_->logger, "IExecutionContext::updateDeviceMemorySizeForShapes", size_t{0}, [&] {
    const std::vector<std::string> names = lacking();
    check(names.empty(), ErrorCode::kEngine, "the shape of ", names.empty() ? "" : names.front(), " is not set");
    return static_cast<size_t>(loaded_->scratch_bytes(profile_));
  });
}

void ContextDouble::setDeviceMemoryV2(void* memory, int64_t size) noexcept {
  if (must_fail(loaded_->logger, {.name = "setDeviceMemoryV2", .address = memory, .number = size, .object = this})) return;
  if (strategy_ == ExecutionContextAllocationStrategy::kUSER_MANAGED)
    memory_ = {memory, size};
  else
    log_error(loaded_->logger, "IExecutionContext::setDeviceMemoryV2", "the context manages its memory itself");
}

void ContextDouble::setProfiler(nvinfer1::IProfiler* profiler) noexcept {
  must_fail(loaded_->logger, {.name = "setProfiler", .address = profiler, .object = this});
  profiler_ = profiler;
}

void ContextDouble::check_bound(size_t index) const {
  const Port& port = ports()[index];
  const Bound& bound = bound_[index];
  if (port.is_input) {
    check(is_known(input_dims(index)), ErrorCode::kEngine, "the shape of ", port.name, " is not set");
    check_shape(index, input_dims(index));
  }
  check(bound.data != nullptr || bound.allocator != nullptr, ErrorCode::kEngine, "the address of ", port.name, " is not set");
  check(port.on_host || is_aligned(bound.data), ErrorCode::kEngine, "the address of ", port.name, " is not aligned to ", kAlignment,
        " bytes");
  if (!port.aliases.empty())
    check(bound.data == bound_[find(port.aliases.c_str())].data, ErrorCode::kEngine, port.name, " is not bound to the address of ",
          port.aliases, ", which it aliases");
}

ContextDouble::Memory ContextDouble::scratch() {
  const int64_t needed = loaded_->scratch_bytes(profile_);
  if (needed == 0) return {};
  if (strategy_ != ExecutionContextAllocationStrategy::kUSER_MANAGED) {
    own_memory_.resize(static_cast<size_t>(needed));
    return {own_memory_.data(), needed};
  }
  check(memory_.data != nullptr, ErrorCode::kEngine, "the context needs ", needed, " bytes of device memory and was given none");
  check(memory_.bytes >= needed, ErrorCode::kEngine, "the context needs ", needed, " bytes of device memory and was given ",
        memory_.bytes);
  check(is_aligned(memory_.data), ErrorCode::kEngine, "the device memory is not aligned to ", kAlignment, " bytes");
  return {memory_.data, needed};
}

bool ContextDouble::enqueueV3(cudaStream_t stream) noexcept {
  if (must_fail(loaded_->logger, {.name = "enqueueV3", .address = stream, .object = this})) return false;
  return guarded(loaded_->logger, "IExecutionContext::enqueueV3", false, [&] {
    for (size_t index = 0; index < ports().size(); ++index) check_bound(index);
    run(stream);
    if (profiler_ != nullptr)
      for (const auto& [layer, milliseconds] : kLayers) profiler_->reportLayerTime(layer, milliseconds);
    return true;
  });
}

void ContextDouble::run(cudaStream_t stream) {
  const size_t first_output = loaded_->program.input_count();
  const std::vector<Input> given = inputs();
  for (size_t index = first_output; index < ports().size(); ++index)
    check(bound_[index].allocator != nullptr || is_known(loaded_->program.infer(index, given)), ErrorCode::kEngine, "the shape of ",
          ports()[index].name, " depends on data, and it has no IOutputAllocator");
  const Memory memory = scratch();
  // Once before inputs are read and once after outputs are written: scratch memory that is also one of them spoils results.
  const auto spoil = [&] {
    if (memory.bytes > 0) std::memset(memory.data, kScratchPattern, static_cast<size_t>(memory.bytes));
  };
  spoil();
  const std::vector<Output> outputs = loaded_->program.run(given);
  for (size_t output = 0; output < outputs.size(); ++output) {
    void* const data = memory_for(first_output + output, outputs[output], stream);
    if (!outputs[output].bytes.empty()) std::memcpy(data, outputs[output].bytes.data(), outputs[output].bytes.size());
  }
  spoil();
  if (!kernels_) return;
  std::string kernel;
  for (const Input& input : given) kernel += text_of(input.dims);
  kernels_->add(kernel);
}

void* ContextDouble::memory_for(size_t index, const Output& output, cudaStream_t stream) const {
  const Bound& bound = bound_[index];
  if (bound.allocator == nullptr) return bound.data;
  const char* const name = ports()[index].name.c_str();
  const uint64_t bytes = std::max<uint64_t>(output.bytes.size(), 1);
  void* const data = bound.allocator->reallocateOutputAsync(name, bound.data, bytes, kAlignment, stream);
  check(data != nullptr, ErrorCode::kEngine, "the IOutputAllocator has no ", bytes, " bytes for ", name);
  check(is_aligned(data), ErrorCode::kEngine, "the IOutputAllocator's address for ", name, " is not aligned");
  bound.allocator->notifyShape(name, output.dims);
  return data;
}

}  // namespace tenure::testing::trt
