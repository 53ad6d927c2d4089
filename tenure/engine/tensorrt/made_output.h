// tenure/engine/tensorrt/made_output.h: an output whose sizes depend on data.
#pragma once

#include <ATen/core/Tensor.h>
#include <NvInferRuntime.h>

#include <exception>

namespace tenure::tensorrt {

/// Memory that TensorRT asks for while it runs, one piece a run. The caller takes it: no later run sees it again.
class MadeOutput final : public nvinfer1::IOutputAllocator {
 public:
  explicit MadeOutput(c10::Device device) : device_(device) {}

  void* reallocateOutputAsync(const char* name, void* current, uint64_t bytes, uint64_t alignment,
                              cudaStream_t stream) noexcept override;
  void notifyShape(const char* name, const nvinfer1::Dims& dims) noexcept override { dims_ = dims; }

  /// Before a run: drops what nobody took.
  void forget();
  /// Throws what kept the allocator from giving memory, if something did.
  void rethrow() const;
  /// What the last run made; an undefined tensor if TensorRT did not ask for memory, or it was taken.
  at::Tensor take(at::ScalarType dtype);

 private:
  const c10::Device device_;
  c10::DataPtr memory_;
  nvinfer1::Dims dims_{-1, {}};
  std::exception_ptr error_;
};

}  // namespace tenure::tensorrt
