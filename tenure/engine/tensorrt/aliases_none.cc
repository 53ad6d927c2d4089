// For a TensorRT that has none.
#include "tenure/engine/tensorrt/aliases.h"

namespace tenure::tensorrt {

const char* aliased_input(const nvinfer1::ICudaEngine&, const char*) { return nullptr; }

}  // namespace tenure::tensorrt
