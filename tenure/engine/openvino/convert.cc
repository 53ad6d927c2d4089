#include "tenure/engine/openvino/convert.h"

#include <c10/core/ScalarType.h>

namespace tenure::openvino {

ov::element::Type to_element_type(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat: return ov::element::f32;
    case at::kHalf: return ov::element::f16;
    case at::kBFloat16: return ov::element::bf16;
    case at::kBool: return ov::element::boolean;
    case at::kByte: return ov::element::u8;
    case at::kChar: return ov::element::i8;
    case at::kShort: return ov::element::i16;
    case at::kInt: return ov::element::i32;
    case at::kLong: return ov::element::i64;
    case at::kDouble:
      throw Error(ErrorCode::kUnsupported, "OpenVINO would compute float64 in float32; leave this part to PyTorch operators");
    default: break;
  }
  throw Error(ErrorCode::kUnsupported,
              concat("OpenVINO has no counterpart of the dtype ", c10::toString(dtype), "; leave this part to PyTorch operators"));
}

ov::Tensor wrap(const at::Tensor& tensor, const void* data, ov::element::Type type) {
  const at::IntArrayRef sizes = tensor.sizes();
  // The element type of a tensor is fixed; whether OpenVINO writes through the pointer depends on the port it is set to.
  return ov::Tensor(type, ov::Shape(sizes.begin(), sizes.end()), const_cast<void*>(data));
}

std::string summary(std::string_view what) {
  std::string text;
  while (!what.empty()) {
    const size_t end = std::min(what.find('\n'), what.size());
    const std::string_view line = what.substr(0, end);
    what.remove_prefix(std::min(end + 1, what.size()));
    const bool is_place =
        line.starts_with("Exception from ") || (line.starts_with("Check '") && line.find(" failed at ") != line.npos);
    if (line.empty() || is_place) continue;
    if (!text.empty()) text += "; ";
    text += line;
  }
  return text.empty() ? "it gives no reason" : text;
}

}  // namespace tenure::openvino
