// tenure/engine/openvino/openvino_backend.h: engines that OpenVINO runs on the CPU. README.md beside this file tells how.
#pragma once

#include <memory>

#include "tenure/engine/engine.h"

namespace tenure {

/// Null if OpenVINO is not in this build.
std::unique_ptr<Backend> make_openvino_backend();

}  // namespace tenure
