// tenure/engine/tensorrt/aliases.h: outputs that TensorRT writes into the memory of an input (a KV cache), from TensorRT 10.15 on.
#pragma once

#include <NvInferRuntime.h>

namespace tenure::tensorrt {

/// The name of the input whose memory output `name` must be bound to, or nullptr.
const char* aliased_input(const nvinfer1::ICudaEngine& engine, const char* name);

}  // namespace tenure::tensorrt
