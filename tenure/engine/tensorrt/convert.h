// tenure/engine/tensorrt/convert.h: between the vocabulary of PyTorch and Tenure and that of TensorRT.
#pragma once

#include <ATen/core/Tensor.h>
#include <NvInferRuntime.h>

#include <span>
#include <string>

namespace tenure::tensorrt {

/// Throws Error(kUnsupported) for a dtype that TensorRT does not have.
nvinfer1::DataType to_data_type(at::ScalarType dtype);
/// "float32", as PyTorch calls it; by TensorRT's number for what to_data_type never gives.
std::string name_of(nvinfer1::DataType type);

/// Throws Error(kUnsupported) for more dimensions than TensorRT takes.
nvinfer1::Dims to_dims(std::span<const int64_t> sizes);
std::string text_of(const nvinfer1::Dims& dims);

/// Each size of `sizes` is that of `dims`, or one of the two is unknown.
bool agree(const nvinfer1::Dims& dims, std::span<const int64_t> sizes);
bool is_within(std::span<const int64_t> sizes, const nvinfer1::Dims& low, const nvinfer1::Dims& high);

}  // namespace tenure::tensorrt
