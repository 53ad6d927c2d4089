// python/src/tensor_caster.h: at::Tensor <-> torch.Tensor. The same tensor is the same Python object on both ways; no data is
// copied.
#pragma once

#include <nanobind/nanobind.h>
#include <torch/csrc/autograd/python_variable.h>

namespace nanobind::detail {

template <>
struct type_caster<at::Tensor> {
  NB_TYPE_CASTER(at::Tensor, const_name("torch.Tensor"))

  bool from_python(handle source, uint8_t, cleanup_list*) noexcept {
    // The inheritance test runs Python code for classes that are not torch.Tensor or Parameter, and that may raise.
    try {
      if (!THPVariable_Check(source.ptr())) return false;
    } catch (const ::python_error&) {
      PyErr_Clear();
      return false;
    }
    value = THPVariable_Unpack(source.ptr());
    return true;
  }

  static handle from_cpp(const at::Tensor& tensor, rv_policy, cleanup_list*) { return THPVariable_Wrap(tensor); }
  static handle from_cpp(at::Tensor&& tensor, rv_policy, cleanup_list*) { return THPVariable_Wrap(std::move(tensor)); }
};

}  // namespace nanobind::detail
