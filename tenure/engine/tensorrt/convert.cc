#include "tenure/engine/tensorrt/convert.h"

#include <c10/core/ScalarType.h>

#include <algorithm>

#include "tenure/base/error.h"
#include "tenure/engine/binding.h"

namespace tenure::tensorrt {

using nvinfer1::DataType;

DataType to_data_type(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat: return DataType::kFLOAT;
    case at::kHalf: return DataType::kHALF;
    case at::kBFloat16: return DataType::kBF16;
    case at::kChar: return DataType::kINT8;
    case at::kByte: return DataType::kUINT8;
    case at::kInt: return DataType::kINT32;
    case at::kLong: return DataType::kINT64;
    case at::kBool: return DataType::kBOOL;
    default: break;
  }
  throw Error(ErrorCode::kUnsupported,
              concat("TensorRT has no counterpart of the dtype ", c10::toString(dtype), "; leave this part to PyTorch operators"));
}

std::string name_of(DataType type) {
  switch (type) {
    case DataType::kFLOAT: return "float32";
    case DataType::kHALF: return "float16";
    case DataType::kBF16: return "bfloat16";
    case DataType::kINT8: return "int8";
    case DataType::kUINT8: return "uint8";
    case DataType::kINT32: return "int32";
    case DataType::kINT64: return "int64";
    case DataType::kBOOL: return "bool";
    default: return concat("data type ", static_cast<int>(type), " of TensorRT");
  }
}

nvinfer1::Dims to_dims(std::span<const int64_t> sizes) {
  nvinfer1::Dims dims{};
  check(sizes.size() <= static_cast<size_t>(nvinfer1::Dims::MAX_DIMS), ErrorCode::kUnsupported, "TensorRT takes at most ",
        static_cast<int>(nvinfer1::Dims::MAX_DIMS), " dimensions, the tensor has ", sizes.size());
  dims.nbDims = static_cast<int32_t>(sizes.size());
  std::copy(sizes.begin(), sizes.end(), dims.d);
  return dims;
}

std::string text_of(const nvinfer1::Dims& dims) {
  return dims.nbDims < 0 ? "[...]" : sizes_text(std::vector<int64_t>(dims.d, dims.d + dims.nbDims));
}

bool agree(const nvinfer1::Dims& dims, std::span<const int64_t> sizes) {
  return std::equal(sizes.begin(), sizes.end(), dims.d, dims.d + std::max(dims.nbDims, 0),
                    [](int64_t a, int64_t b) { return a == b || a < 0 || b < 0; });
}

bool is_within(std::span<const int64_t> sizes, const nvinfer1::Dims& low, const nvinfer1::Dims& high) {
  for (size_t dim = 0; dim < sizes.size(); ++dim)
    if (sizes[dim] < low.d[dim] || sizes[dim] > high.d[dim]) return false;
  return true;
}

}  // namespace tenure::tensorrt
