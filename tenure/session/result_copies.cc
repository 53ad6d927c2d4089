#include "tenure/session/result_copies.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>

namespace tenure {
namespace {

constexpr int64_t kAlignment = 64;  // of the copy's first byte in the original: every dtype's offset stays a whole number

struct Span {
  int64_t begin, end;  // bytes in the storage; empty if equal
};

Span span_of(const at::Tensor& tensor) {
  const int64_t item = static_cast<int64_t>(tensor.element_size());
  const int64_t begin = tensor.storage_offset() * item;
  if (tensor.numel() == 0) return {begin, begin};
  int64_t last = 0;
  for (int64_t d = 0; d < tensor.dim(); ++d) last += (tensor.size(d) - 1) * tensor.stride(d);
  return {begin, begin + (last + 1) * item};
}

at::Tensor copy_of_bytes(const c10::Storage& storage, int64_t begin, int64_t count) {
  const auto options = at::TensorOptions().dtype(at::kByte).device(storage.device());
  at::Tensor copy = at::empty({count}, options);
  if (count == 0) return copy;
  if (!storage.device().is_cpu()) return copy.copy_(at::empty({0}, options).set_(storage, begin, {count}, {1}));
  std::memcpy(copy.data_ptr(), static_cast<const char*>(storage.data()) + begin, static_cast<size_t>(count));
  return copy;
}

// Memory and strides say all: no conversion rules (quantized) that a plain tensor lacks.
bool is_strided_memory(const at::Tensor& tensor) { return tensor.layout() == at::kStrided && !tensor.is_quantized(); }

}  // namespace

void ResultCopies::add(size_t index, const at::Tensor& tensor, bool of_state) {
  const c10::StorageImpl* storage = tensor.storage().unsafeGetStorageImpl();
  auto group = std::find_if(groups_.begin(), groups_.end(),
                            [&](const Group& g) { return g.storage.unsafeGetStorageImpl() == storage && g.of_state == of_state; });
  const Span span = span_of(tensor);
  if (group == groups_.end()) {
    group = groups_.insert(groups_.end(), {tensor.storage(), of_state, span.begin, span.end, {}});
  } else if (span.begin != span.end) {
    const bool empty = group->begin == group->end;
    group->begin = empty ? span.begin : std::min(group->begin, span.begin);
    group->end = empty ? span.end : std::max(group->end, span.end);
  }
  group->results.emplace_back(index, tensor);
}

void ResultCopies::make(std::vector<c10::IValue>& results) const {
  for (const Group& group : groups_) {
    const int64_t begin = group.begin / kAlignment * kAlignment, count = group.end - begin;
    const at::Tensor bytes = copy_of_bytes(group.storage, begin, group.begin == group.end ? 0 : count);
    for (size_t i = 0; i < group.results.size(); ++i) {
      const auto& [index, tensor] = group.results[i];
      const auto same = std::find_if(group.results.begin(), group.results.begin() + static_cast<std::ptrdiff_t>(i),
                                     [&, original = tensor](const auto& r) { return r.second.is_same(original); });
      if (same != group.results.begin() + static_cast<std::ptrdiff_t>(i)) {
        results[index] = results[same->first];  // returned twice, it is one tensor
        continue;
      }
      if (!is_strided_memory(tensor)) {
        results[index] = tensor.clone();
        continue;
      }
      at::Tensor copy = at::empty({0}, tensor.options());
      const int64_t offset =
          tensor.numel() == 0 ? 0 : tensor.storage_offset() - begin / static_cast<int64_t>(tensor.element_size());
      copy.set_(bytes.storage(), offset, tensor.sizes(), tensor.strides());
      copy._set_conj(tensor.is_conj());
      copy._set_neg(tensor.is_neg());
      results[index] = std::move(copy);
    }
  }
}

}  // namespace tenure
