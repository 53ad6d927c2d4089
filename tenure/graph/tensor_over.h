// tenure/graph/tensor_over.h: tensors over memory that came from elsewhere than at::empty.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Allocator.h>

#include <utility>

namespace tenure {

/// `bytes` of that memory, which is let go of with the storage. Who resizes a tensor in it gets other memory, of the device's
/// allocator.
inline c10::Storage storage_over(c10::DataPtr memory, size_t bytes) {
  c10::Allocator* const allocator = c10::GetAllocator(memory.device().type());
  return {c10::Storage::use_byte_size_t(), bytes, std::move(memory), allocator, /*resizable=*/true};
}

/// On the CPU or CUDA, without elements yet: the caller sets its sizes.
inline at::Tensor tensor_over(c10::Storage storage, at::ScalarType dtype) {
  const c10::DispatchKey key = storage.device().is_cpu() ? c10::DispatchKey::CPU : c10::DispatchKey::CUDA;
  return at::detail::make_tensor<c10::TensorImpl>(std::move(storage), c10::DispatchKeySet(key), c10::scalarTypeToTypeMeta(dtype));
}

}  // namespace tenure
