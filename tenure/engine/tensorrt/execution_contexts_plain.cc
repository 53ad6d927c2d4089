// For TensorRT.
#include "tenure/base/error.h"
#include "tenure/engine/tensorrt/execution_contexts.h"

namespace tenure::tensorrt {

const char* const kProduct = "TensorRT";

namespace {

class PlainContexts final : public ExecutionContexts {
 public:
  explicit PlainContexts(nvinfer1::ICudaEngine& engine) : engine_(engine) {}

  std::unique_ptr<nvinfer1::IExecutionContext> make() override {
    return std::unique_ptr<nvinfer1::IExecutionContext>(
        engine_.createExecutionContext(nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED));
  }

 private:
  nvinfer1::ICudaEngine& engine_;
};

}  // namespace

std::unique_ptr<ExecutionContexts> make_execution_contexts(nvinfer1::ICudaEngine& engine,
                                                           const std::map<std::string, std::string>& options, c10::Device,
                                                           const std::filesystem::path&) {
  for (const char* name : {"runtime_cache", "shape_specialization"})
    check(!options.contains(name), ErrorCode::kUnsupported, name,
          " is an option of TensorRT-RTX, and this is TensorRT, whose engines hold all their kernels");
  return std::make_unique<PlainContexts>(engine);
}

}  // namespace tenure::tensorrt
