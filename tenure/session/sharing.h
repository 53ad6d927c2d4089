// tenure/session/sharing.h: which tensors lie on the same memory.
#pragma once

#include <ATen/core/Tensor.h>

namespace tenure {

/// False where one has no storage.
bool share_storage(const at::Tensor& a, const at::Tensor& b);

/// Same address and layout. Not by storage: an operator may have written its result there through a storage of its own.
bool is_same_place(const at::Tensor& a, const at::Tensor& b);

/// Whether two elements may be one; certain for all that slicing and permuting make of a dense tensor.
bool may_overlap_itself(const at::Tensor& tensor);

/// By the first and the last byte of each: also of two storages over one memory (NumPy, DLPack); two that interleave count too.
bool may_overlap(const at::Tensor& a, const at::Tensor& b);

/// In memory of its own, with the strides of `tensor` if no two of its elements are one.
at::Tensor copy_with_strides(const at::Tensor& tensor);

}  // namespace tenure
