// TensorRT-RTX's: it names a cache of compiled kernels.
#include "tests/engine/tensorrt_double/objects.h"

namespace tenure::testing::trt {
namespace {

class CacheDouble final : public nvinfer1::IRuntimeCache, public nvinfer1::apiv::VRuntimeCache {
 public:
  explicit CacheDouble(nvinfer1::ILogger& logger) : logger_(logger) { mImpl = this; }

  const std::shared_ptr<Kernels>& kernels() const { return kernels_; }

  nvinfer1::IHostMemory* serialize() const noexcept override;
  bool deserialize(const void* blob, size_t size) noexcept override;
  bool reset() noexcept override;

 private:
  nvinfer1::ILogger& logger_;
  const std::shared_ptr<Kernels> kernels_ = std::make_shared<Kernels>();
  const Alive alive_{&LiveObjects::caches};
};

/// What Tenure has no use for: as in unexpected.h.
class PartialConfig : public nvinfer1::IRuntimeConfig, public nvinfer1::apiv::VRuntimeConfig {
 public:
  using Specialization = nvinfer1::DynamicShapesKernelSpecializationStrategy;
  using Graphs = nvinfer1::CudaGraphStrategy;

  IRuntimeConfig* getPImpl() noexcept final { return this; }
  Specialization getDynamicShapesKernelSpecializationStrategy() const noexcept final {
    return unexpected("getDynamicShapesKernelSpecializationStrategy", Specialization::kLAZY);
  }
  bool setCudaGraphStrategy(Graphs) noexcept final { return unexpected("setCudaGraphStrategy", false); }
  Graphs getCudaGraphStrategy() const noexcept final { return unexpected("getCudaGraphStrategy", Graphs::kDISABLED); }
};

class ConfigDouble final : public PartialConfig {
 public:
  explicit ConfigDouble(nvinfer1::ILogger& logger) : logger_(logger) { mImpl = this; }

  const std::shared_ptr<Kernels>& kernels() const { return kernels_; }

  void setDynamicShapesKernelSpecializationStrategy(Specialization strategy) noexcept override;
  void setExecutionContextAllocationStrategy(ExecutionContextAllocationStrategy strategy) noexcept override;
  ExecutionContextAllocationStrategy getExecutionContextAllocationStrategy() const noexcept override { return strategy_; }
  nvinfer1::IRuntimeCache* createRuntimeCache() const noexcept override;
  bool setRuntimeCache(const nvinfer1::IRuntimeCache& cache) noexcept override;
  nvinfer1::IRuntimeCache* getRuntimeCache() const noexcept override { return cache_; }

 private:
  nvinfer1::ILogger& logger_;
  ExecutionContextAllocationStrategy strategy_ = ExecutionContextAllocationStrategy::kSTATIC;
  nvinfer1::IRuntimeCache* cache_ = nullptr;
  std::shared_ptr<Kernels> kernels_;  // of cache_, or null
  const Alive alive_{&LiveObjects::configs};
};

nvinfer1::IHostMemory* CacheDouble::serialize() const noexcept {
  if (must_fail(logger_, {.name = "serialize", .object = this})) return nullptr;
  return new MemoryDouble(kernels_->to_text());
}

bool CacheDouble::deserialize(const void* blob, size_t size) noexcept {
  if (must_fail(logger_, {.name = "deserialize", .address = blob, .number = static_cast<int64_t>(size), .object = this}))
    return false;
  if (kernels_->from_text(std::string(static_cast<const char*>(blob), size))) return true;
  log_error(logger_, "IRuntimeCache::deserialize", "this is no runtime cache of this version");
  return false;
}

bool CacheDouble::reset() noexcept {
  if (must_fail(logger_, {.name = "reset", .object = this})) return false;
  kernels_->clear();
  return true;
}

void ConfigDouble::setDynamicShapesKernelSpecializationStrategy(Specialization strategy) noexcept {
  const auto number = static_cast<int64_t>(strategy);
  must_fail(logger_, {.name = "setDynamicShapesKernelSpecializationStrategy", .number = number, .object = this});
}

void ConfigDouble::setExecutionContextAllocationStrategy(ExecutionContextAllocationStrategy strategy) noexcept {
  const auto number = static_cast<int64_t>(strategy);
  if (must_fail(logger_, {.name = "setExecutionContextAllocationStrategy", .number = number, .object = this})) return;
  strategy_ = strategy;
}

nvinfer1::IRuntimeCache* ConfigDouble::createRuntimeCache() const noexcept {
  if (must_fail(logger_, {.name = "createRuntimeCache", .object = this})) return nullptr;
  return new CacheDouble(logger_);
}

bool ConfigDouble::setRuntimeCache(const nvinfer1::IRuntimeCache& cache) noexcept {
  if (must_fail(logger_, {.name = "setRuntimeCache", .address = &cache, .object = this})) return false;
  cache_ = const_cast<nvinfer1::IRuntimeCache*>(&cache);  // as getRuntimeCache has it
  kernels_ = dynamic_cast<const CacheDouble&>(cache).kernels();
  return true;
}

}  // namespace

nvinfer1::IRuntimeConfig* EngineDouble::createRuntimeConfig() noexcept {
  if (must_fail(loaded_->logger, {.name = "createRuntimeConfig", .object = this})) return nullptr;
  return new ConfigDouble(loaded_->logger);
}

nvinfer1::IExecutionContext* EngineDouble::createExecutionContextWithRuntimeConfig(nvinfer1::IRuntimeConfig* config) noexcept {
  const auto* const told = dynamic_cast<const ConfigDouble*>(config);
  const int64_t number = told ? static_cast<int64_t>(told->getExecutionContextAllocationStrategy()) : -1;
  if (must_fail(loaded_->logger, {.name = "createExecutionContext", .address = config, .number = number, .object = this}))
    return nullptr;
  if (told) return new ContextDouble(*this, loaded_, told->getExecutionContextAllocationStrategy(), told->kernels());
  log_error(loaded_->logger, "ICudaEngine::createExecutionContext", "the runtime configuration is null");
  return nullptr;
}

}  // namespace tenure::testing::trt
