// python/src/values.h: what goes into a program and comes out of it: tensors, None, numbers, strings.
#pragma once

#include <ATen/core/ivalue.h>
#include <nanobind/nanobind.h>

#include <optional>

namespace tenure::python {

/// Nothing if the object is none of torch.Tensor, None, bool, int (that fits 64 bits), float, str.
std::optional<c10::IValue> to_ivalue(PyObject* object);

/// A new reference. Throws Error(kInternal) for a value that is none of the above.
PyObject* to_object(c10::IValue&& value);

}  // namespace tenure::python
