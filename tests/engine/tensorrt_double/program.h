// tests/engine/tensorrt_double/program.h: what the double computes: the part of a PT2 archive, told in TensorRT's words.
#pragma once

#include <ATen/core/Tensor.h>
#include <NvInferRuntime.h>

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tenure/engine/null/interpreter.h"
#include "tenure/graph/expr.h"
#include "tests/engine/tensorrt_double/blob.h"

namespace tenure::testing::trt {

nvinfer1::Dims to_dims(std::span<const int64_t> sizes);
std::vector<int64_t> to_sizes(const nvinfer1::Dims& dims);
std::string text_of(const nvinfer1::Dims& dims);
bool is_known(const nvinfer1::Dims& dims);

/// An input or output: "input_0" ..., "output_0" ...
struct Port {
  std::string name;
  bool is_input = false;
  at::ScalarType dtype = at::kFloat;
  nvinfer1::DataType type = nvinfer1::DataType::kFLOAT;
  nvinfer1::Dims dims{};    // -1 where dynamic
  bool on_host = false;     // a shape tensor
  std::string aliases;      // an output's input, or empty
  std::vector<Expr> sizes;  // in the symbols of the archive
};

struct Input {
  const void* data = nullptr;  // nullptr: zeros
  nvinfer1::Dims dims{};
};

struct Output {
  nvinfer1::Dims dims{};
  std::vector<char> bytes;
};

/// Immutable, thread-safe.
class Program {
 public:
  /// Throws Error for what is no part, or has more dimensions or other dtypes than TensorRT takes.
  explicit Program(const Blob& blob);

  /// Inputs first.
  const std::vector<Port>& ports() const { return ports_; }
  size_t input_count() const { return input_count_; }
  /// Nothing if there is no such port; or no such name.
  std::optional<size_t> find(const char* name) const;

  /// Sizes of output `port`; -1 where they depend on data. All `inputs` have known sizes, host inputs also data.
  nvinfer1::Dims infer(size_t port, const std::vector<Input>& inputs) const;

  /// Computes in a thread of its own, so that memory that operators ask for is none of the caller's affair, as with a GPU.
  std::vector<Output> run(const std::vector<Input>& inputs) const;

 private:
  Program(const Blob& blob, ProgramFile file);
  std::vector<Output> compute(const std::vector<Input>& inputs) const;

  std::vector<Port> ports_;
  size_t input_count_ = 0;
  null::Interpreter interpreter_;
};

}  // namespace tenure::testing::trt
