#include "tenure/engine/binding.h"

#include <c10/core/ScalarType.h>

#include <algorithm>

#include "tenure/base/error.h"

namespace tenure {
namespace {

constexpr int64_t kDynamic = -1;

}  // namespace

BindingGuard::BindingGuard(const EngineSpec& spec, BindingRole role, size_t index) {
  const Binding& binding = bindings_of(spec, role).at(index);
  const char* role_text = role == BindingRole::kInput ? "input " : "output ";
  label_ = concat("engine \"", spec.name, "\": ", role_text, index, " \"", binding.name, "\"");
  dtype_ = binding.dtype;
  for (const Expr& size : binding.sizes) static_sizes_.push_back(size.constant().value_or(kDynamic));
}

bool BindingGuard::fits(const at::Tensor& tensor) const {
  if (!tensor.defined() || tensor.scalar_type() != dtype_) return false;
  const at::IntArrayRef sizes = tensor.sizes();
  if (sizes.size() != static_sizes_.size()) return false;
  for (size_t dim = 0; dim < sizes.size(); ++dim) {
    if (static_sizes_[dim] >= 0 && static_sizes_[dim] != sizes[dim]) return false;
  }
  return true;
}

std::string BindingGuard::expected() const { return concat(c10::toString(dtype_), " ", sizes_text(static_sizes_)); }

void BindingGuard::reject(const at::Tensor& tensor) const {
  std::string got = "an undefined tensor";
  if (tensor.defined()) {
    got = concat(c10::toString(tensor.scalar_type()), " ", sizes_text(tensor.sizes()));
    if (!tensor.is_contiguous()) got += concat(" with strides ", sizes_text(tensor.strides()));
  }
  throw Error(ErrorCode::kInvalidArgument, concat(label_, ": expected contiguous ", expected(), ", got ", got));
}

std::vector<BindingGuard> make_guards(const EngineSpec& spec, BindingRole role) {
  std::vector<BindingGuard> guards;
  for (size_t index = 0; index < bindings_of(spec, role).size(); ++index) guards.emplace_back(spec, role, index);
  return guards;
}

std::string sizes_text(std::span<const int64_t> sizes) {
  std::string text = "[";
  for (size_t dim = 0; dim < sizes.size(); ++dim) {
    if (dim > 0) text += ", ";
    text += sizes[dim] < 0 ? "?" : std::to_string(sizes[dim]);
  }
  return text + "]";
}

}  // namespace tenure
