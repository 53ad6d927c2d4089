// In place of backend.cc in a build without OpenVINO (-DTENURE_OPENVINO=OFF).
#include "tenure/engine/openvino/openvino_backend.h"

namespace tenure {

std::unique_ptr<Backend> make_openvino_backend() { return nullptr; }

}  // namespace tenure
