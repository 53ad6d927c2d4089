#include <algorithm>

#include "tenure/base/error.h"
#include "tests/engine/tensorrt_double/objects.h"

namespace tenure::testing::trt {
namespace {

using nvinfer1::OptProfileSelector;

constexpr int64_t kMaxSize = 1 << 20;

Loaded::Range default_range(const Dims& dims) {
  Loaded::Range range{dims, dims, dims};
  for (int32_t dim = 0; dim < dims.nbDims; ++dim) {
    if (dims.d[dim] >= 0) continue;
    range.min.d[dim] = 0;
    range.opt.d[dim] = 1;
    range.max.d[dim] = kMaxSize;
  }
  return range;
}

Loaded::Range range_of(const Port& input, const Profile& profile) {
  const auto told = profile.find(input.name);
  if (told == profile.end()) return default_range(input.dims);
  const Loaded::Range range{to_dims(told->second.min), to_dims(told->second.opt), to_dims(told->second.max)};
  for (const Dims* bound : {&range.min, &range.opt, &range.max}) {
    bool fits = bound->nbDims == input.dims.nbDims;
    for (int32_t dim = 0; fits && dim < bound->nbDims; ++dim) fits = input.dims.d[dim] < 0 || bound->d[dim] == input.dims.d[dim];
    check(fits, ErrorCode::kBadFile, "the profile's ", text_of(*bound), " is none of ", input.name, text_of(input.dims));
  }
  return range;
}

std::vector<std::vector<Loaded::Range>> make_profiles(const Program& program, const BlobOptions& options) {
  std::vector<std::vector<Loaded::Range>> profiles;
  for (const Profile& profile : options.profiles) {
    auto& ranges = profiles.emplace_back();
    for (size_t input = 0; input < program.input_count(); ++input) ranges.push_back(range_of(program.ports()[input], profile));
  }
  return profiles;
}

}  // namespace

Loaded::Loaded(const Blob& blob, nvinfer1::ILogger& to_logger)
    : options(blob.options),
      program(blob),
      profiles(make_profiles(program, options)),
      logger(to_logger),
      budget(options.streamable_weights) {}

bool Loaded::takes(size_t profile, size_t input, const Dims& dims) const {
  const Range& range = profiles[profile][input];
  if (dims.nbDims != range.min.nbDims) return false;
  for (int32_t dim = 0; dim < dims.nbDims; ++dim)
    if (dims.d[dim] < range.min.d[dim] || dims.d[dim] > range.max.d[dim]) return false;
  return true;
}

int64_t Loaded::scratch_bytes(size_t profile) const {
  return streaming_bytes() + (profile < options.scratch_bytes.size() ? options.scratch_bytes[profile] : 0);
}

EngineDouble::EngineDouble(std::shared_ptr<Loaded> loaded, std::shared_ptr<std::atomic<int>> engines)
    : loaded_(std::move(loaded)), engines_(std::move(engines)) {
  mImpl = this;
  ++*engines_;
}

EngineDouble::~EngineDouble() {
  if (loaded_->contexts > 0) note_unexpected("~ICudaEngine");
  --*engines_;
}

const Port* EngineDouble::find(Name name) const {
  const std::optional<size_t> index = loaded_->program.find(name);
  return index ? &loaded_->program.ports()[*index] : nullptr;
}

const char* EngineDouble::getIOTensorName(int32_t index) const noexcept {
  if (index >= 0 && index < getNbIOTensors()) return loaded_->program.ports()[static_cast<size_t>(index)].name.c_str();
  log_error(loaded_->logger, "ICudaEngine::getIOTensorName", concat("there is no tensor ", index));
  return nullptr;
}

nvinfer1::TensorIOMode EngineDouble::getTensorIOMode(Name name) const noexcept {
  const Port* const port = find(name);
  if (port == nullptr) return nvinfer1::TensorIOMode::kNONE;
  return port->is_input ? nvinfer1::TensorIOMode::kINPUT : nvinfer1::TensorIOMode::kOUTPUT;
}

Dims EngineDouble::getTensorShape(Name name) const noexcept {
  const Port* const port = find(name);
  return port ? port->dims : Dims{-1, {}};
}

nvinfer1::DataType EngineDouble::getTensorDataType(Name name) const noexcept {
  const Port* const port = find(name);
  return port ? port->type : nvinfer1::DataType::kFLOAT;
}

nvinfer1::TensorLocation EngineDouble::getTensorLocation(Name name) const noexcept {
  const Port* const port = find(name);
  return port && port->on_host ? nvinfer1::TensorLocation::kHOST : nvinfer1::TensorLocation::kDEVICE;
}

bool EngineDouble::isShapeInferenceIO(Name name) const noexcept {
  const Port* const port = find(name);
  return port && port->on_host;
}

nvinfer1::TensorFormat EngineDouble::getTensorFormat(Name) const noexcept { return nvinfer1::TensorFormat::kLINEAR; }

const char* EngineDouble::getTensorFormatDesc(Name name) const noexcept { return find(name) ? "Row-major linear format" : ""; }

nvinfer1::TensorFormat EngineDouble::getTensorFormatV2(Name name, int32_t) const noexcept { return getTensorFormat(name); }

const char* EngineDouble::getTensorFormatDescV2(Name name, int32_t) const noexcept { return getTensorFormatDesc(name); }

const char* EngineDouble::getAliasedInputTensor(Name name) const noexcept {
  const Port* const port = find(name);
  return port && !port->aliases.empty() ? port->aliases.c_str() : nullptr;
}

Dims EngineDouble::getProfileShape(Name name, int32_t profile, OptProfileSelector select) const noexcept {
  const std::optional<size_t> input = loaded_->program.find(name);
  if (!input || *input >= loaded_->program.input_count() || profile < 0 || profile >= getNbOptimizationProfiles()) return {-1, {}};
  const Loaded::Range& range = loaded_->profiles[static_cast<size_t>(profile)][*input];
  if (select == OptProfileSelector::kMIN) return range.min;
  return select == OptProfileSelector::kOPT ? range.opt : range.max;
}

int64_t EngineDouble::getDeviceMemorySizeV2() const noexcept {
  int64_t bytes = 0;
  for (int32_t profile = 0; profile < getNbOptimizationProfiles(); ++profile)
    bytes = std::max(bytes, getDeviceMemorySizeForProfileV2(profile));
  return bytes;
}

int64_t EngineDouble::getDeviceMemorySizeForProfileV2(int32_t profile) const noexcept {
  return loaded_->scratch_bytes(static_cast<size_t>(profile));
}

bool EngineDouble::setWeightStreamingBudgetV2(int64_t bytes) noexcept {
  if (must_fail(loaded_->logger, {.name = "setWeightStreamingBudgetV2", .number = bytes, .object = this})) return false;
  return guarded(loaded_->logger, "ICudaEngine::setWeightStreamingBudgetV2", false, [&] {
    check(loaded_->options.streamable_weights > 0, ErrorCode::kEngine, "the engine was not built for weight streaming");
    check(bytes >= 0, ErrorCode::kEngine, "a budget of ", bytes);
    check(loaded_->contexts == 0, ErrorCode::kEngine, "the budget cannot be modified while there are active IExecutionContexts");
    loaded_->budget = std::min(bytes, loaded_->options.streamable_weights);
    return true;
  });
}

nvinfer1::IExecutionContext* EngineDouble::createExecutionContext(ExecutionContextAllocationStrategy strategy) noexcept {
  const auto number = static_cast<int64_t>(strategy);
  if (must_fail(loaded_->logger, {.name = "createExecutionContext", .number = number, .object = this})) return nullptr;
  return new ContextDouble(*this, loaded_, strategy, nullptr);
}

}  // namespace tenure::testing::trt
