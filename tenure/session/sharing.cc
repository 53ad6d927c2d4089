#include "tenure/session/sharing.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace tenure {

bool share_storage(const at::Tensor& a, const at::Tensor& b) {
  return a.has_storage() && b.has_storage() && a.storage().unsafeGetStorageImpl() == b.storage().unsafeGetStorageImpl();
}

bool is_same_place(const at::Tensor& a, const at::Tensor& b) {
  return a.has_storage() && b.has_storage() && a.const_data_ptr() == b.const_data_ptr() && a.sizes() == b.sizes() &&
         a.strides() == b.strides() && a.scalar_type() == b.scalar_type();
}

bool may_overlap_itself(const at::Tensor& tensor) {
  if (tensor.numel() == 0) return false;
  std::vector<std::pair<int64_t, int64_t>> steps;  // stride and size
  for (int64_t d = 0; d < tensor.dim(); ++d)
    if (tensor.size(d) > 1) steps.emplace_back(tensor.stride(d), tensor.size(d));
  std::sort(steps.begin(), steps.end());
  int64_t reached = 1;  // elements that the dimensions so far span
  for (const auto& [stride, size] : steps) {
    if (stride < reached) return true;
    reached += stride * (size - 1);
  }
  return false;
}

bool may_overlap(const at::Tensor& a, const at::Tensor& b) {
  if (!a.has_storage() || !b.has_storage() || a.numel() == 0 || b.numel() == 0) return false;
  const auto begin = [](const at::Tensor& t) { return static_cast<const char*>(t.const_data_ptr()); };
  const auto end = [&](const at::Tensor& t) {
    int64_t last = 0;
    for (int64_t d = 0; d < t.dim(); ++d) last += (t.size(d) - 1) * t.stride(d);
    return begin(t) + (last + 1) * static_cast<int64_t>(t.element_size());
  };
  return begin(a) < end(b) && begin(b) < end(a);
}

at::Tensor copy_with_strides(const at::Tensor& tensor) {
  if (may_overlap_itself(tensor)) return tensor.clone();
  return at::empty_strided(tensor.sizes(), tensor.strides(), tensor.options()).copy_(tensor);
}

}  // namespace tenure
