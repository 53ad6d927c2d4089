#include "tenure/engine/tensorrt/aliases.h"

namespace tenure::tensorrt {

const char* aliased_input(const nvinfer1::ICudaEngine& engine, const char* name) { return engine.getAliasedInputTensor(name); }

}  // namespace tenure::tensorrt
