// tenure/engine/tensorrt/tensorrt_backend.h: engines that TensorRT or TensorRT-RTX runs on a GPU. README.md beside this file tells
// how.
#pragma once

#include <memory>

#include "tenure/engine/engine.h"

namespace tenure {

/// Null if TensorRT is not in this build.
std::unique_ptr<Backend> make_tensorrt_backend();

}  // namespace tenure
