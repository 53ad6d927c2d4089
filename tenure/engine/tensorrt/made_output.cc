#include "tenure/engine/tensorrt/made_output.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "tenure/base/error.h"
#include "tenure/engine/tensorrt/device.h"
#include "tenure/graph/tensor_over.h"

namespace tenure::tensorrt {

void* MadeOutput::reallocateOutputAsync(const char*, void*, uint64_t bytes, uint64_t alignment, cudaStream_t) noexcept {
  try {
    memory_ = c10::DataPtr();
    memory_ = allocate(device_, std::max<uint64_t>(bytes, 1));
    const bool aligned = reinterpret_cast<uintptr_t>(memory_.get()) % std::max<uint64_t>(alignment, 1) == 0;
    check(aligned, ErrorCode::kInternal, "PyTorch's allocator gave memory that is not aligned to ", alignment, " bytes");
    return memory_.get();
  } catch (...) {
    error_ = std::current_exception();
    return nullptr;
  }
}

void MadeOutput::forget() {
  memory_ = c10::DataPtr();
  dims_.nbDims = -1;
  error_ = nullptr;
}

void MadeOutput::rethrow() const {
  if (error_) std::rethrow_exception(error_);
}

at::Tensor MadeOutput::take(at::ScalarType dtype) {
  if (memory_.get() == nullptr || dims_.nbDims < 0) return {};
  const at::IntArrayRef sizes(dims_.d, static_cast<size_t>(dims_.nbDims));
  const size_t bytes = static_cast<size_t>(c10::multiply_integers(sizes)) * c10::elementSize(dtype);
  at::Tensor tensor = tensor_over(storage_over(std::move(memory_), bytes), dtype);
  tensor.unsafeGetTensorImpl()->set_sizes_contiguous(sizes);
  forget();
  return tensor;
}

}  // namespace tenure::tensorrt
