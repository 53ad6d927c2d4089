// TensorRT's, where it has one, says nothing that contexts are not told otherwise.
#include "tests/engine/tensorrt_double/objects.h"

namespace tenure::testing::trt {

nvinfer1::IRuntimeConfig* EngineDouble::createRuntimeConfig() noexcept {
  return unexpected<nvinfer1::IRuntimeConfig*>("createRuntimeConfig", nullptr);
}

nvinfer1::IExecutionContext* EngineDouble::createExecutionContextWithRuntimeConfig(nvinfer1::IRuntimeConfig*) noexcept {
  return unexpected<nvinfer1::IExecutionContext*>("createExecutionContext(IRuntimeConfig)", nullptr);
}

}  // namespace tenure::testing::trt
