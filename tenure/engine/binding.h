// tenure/engine/binding.h: does a tensor fit a binding?
#pragma once

#include <ATen/core/Tensor.h>

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tenure/graph/engine_spec.h"

namespace tenure {

/// A binding of an engine, prepared for quick comparison with tensors. Immutable, thread-safe.
class BindingGuard {
 public:
  BindingGuard(const EngineSpec& spec, BindingRole role, size_t index);

  /// Throws Error(kInvalidArgument) unless `tensor` has the binding's dtype, rank and static sizes. The message names engine and
  /// binding and says what was expected and what came.
  void check_fits(const at::Tensor& tensor) const {
    if (!fits(tensor)) [[unlikely]]
      reject(tensor);
  }

  /// check_fits, and the tensor must be contiguous: what an engine binds.
  void check_bindable(const at::Tensor& tensor) const {
    if (!fits(tensor) || !tensor.is_contiguous()) [[unlikely]]
      reject(tensor);
  }

  at::ScalarType dtype() const { return dtype_; }
  /// -1 where the size is dynamic.
  std::span<const int64_t> static_sizes() const { return static_sizes_; }
  /// `engine "engine_0": input 0 "x"`.
  const std::string& label() const { return label_; }
  /// `float32 [?, 8]`.
  std::string expected() const;

 private:
  bool fits(const at::Tensor& tensor) const;
  [[noreturn]] void reject(const at::Tensor& tensor) const;

  std::string label_;
  at::ScalarType dtype_;
  std::vector<int64_t> static_sizes_;
};

/// The guards of all inputs or of all outputs.
std::vector<BindingGuard> make_guards(const EngineSpec& spec, BindingRole role);

/// "[2, ?, 3]"; negative sizes are dynamic.
std::string sizes_text(std::span<const int64_t> sizes);

}  // namespace tenure
