// For TensorRT-RTX, which compiles kernels for the GPU that it finds when contexts are made and sizes told.
#include <memory>
#include <utility>

#include "tenure/base/error.h"
#include "tenure/engine/tensorrt/device.h"
#include "tenure/engine/tensorrt/execution_contexts.h"
#include "tenure/engine/tensorrt/kernel_cache.h"
#include "tenure/engine/tensorrt/log.h"

namespace tenure::tensorrt {

const char* const kProduct = "TensorRT-RTX";

namespace {

namespace fs = std::filesystem;

using Specialization = nvinfer1::DynamicShapesKernelSpecializationStrategy;

// TensorRT-RTX's own default compiles kernels for new sizes beside the runs, and changes to them in the midst of these: the same
// program would give the same inputs other bits then. And those kernels are wrong in 1.4: a context that first ran one row computes
// one row of all later inputs (H100; the API alone, without Tenure, does so too).
Specialization specialization_of(const std::map<std::string, std::string>& options) {
  const auto told = options.find("shape_specialization");
  if (told == options.end() || told->second == "none") return Specialization::kNONE;
  if (told->second == "lazy") return Specialization::kLAZY;
  check(told->second == "eager", ErrorCode::kInvalidArgument, "the option shape_specialization is \"", told->second,
        "\"; it is none, lazy or eager");
  return Specialization::kEAGER;
}

class RtxContexts final : public ExecutionContexts {
 public:
  RtxContexts(nvinfer1::ICudaEngine& engine, Specialization specialization, const fs::path& cache_file)
      : engine_(engine), config_(engine.createRuntimeConfig()) {
    check_call(config_ != nullptr, [] { return "make a runtime configuration"; });
    config_->setExecutionContextAllocationStrategy(nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED);
    config_->setDynamicShapesKernelSpecializationStrategy(specialization);
    if (cache_file.empty()) return;
    cache_ = KernelCache::open(cache_file, *config_);
    check_call(config_->setRuntimeCache(cache_->get()), [] { return "use a runtime cache"; });
  }

  std::unique_ptr<nvinfer1::IExecutionContext> make() override {
    return std::unique_ptr<nvinfer1::IExecutionContext>(engine_.createExecutionContext(config_.get()));
  }

  std::unique_lock<std::mutex> compile() override { return cache_ ? cache_->compile() : std::unique_lock<std::mutex>(); }

 private:
  nvinfer1::ICudaEngine& engine_;
  std::shared_ptr<KernelCache> cache_;
  const std::unique_ptr<nvinfer1::IRuntimeConfig> config_;
};

}  // namespace

std::unique_ptr<ExecutionContexts> make_execution_contexts(nvinfer1::ICudaEngine& engine,
                                                           const std::map<std::string, std::string>& options, c10::Device device,
                                                           const fs::path& program_file) {
  const auto told = options.find("runtime_cache");
  fs::path file;
  if (told != options.end())
    file = told->second;
  else if (!program_file.empty())
    file = kernel_cache_beside(program_file, describe(device));
  return std::make_unique<RtxContexts>(engine, specialization_of(options), file);
}

}  // namespace tenure::tensorrt
