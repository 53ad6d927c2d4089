#include "values.h"

#include <string>
#include <utility>

#include "tensor_caster.h"
#include "tenure/base/error.h"

namespace nb = nanobind;

namespace tenure::python {

std::optional<c10::IValue> to_ivalue(PyObject* object) {
  if (THPVariable_CheckExact(object)) return c10::IValue(THPVariable_Unpack(object));
  if (object == Py_None) return c10::IValue();
  if (PyBool_Check(object)) return c10::IValue(object == Py_True);
  if (PyLong_Check(object)) {
    int overflow = 0;
    const long long number = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (overflow != 0) return std::nullopt;
    return c10::IValue(static_cast<int64_t>(number));
  }
  if (PyFloat_Check(object)) return c10::IValue(PyFloat_AS_DOUBLE(object));
  if (PyUnicode_Check(object)) {
    Py_ssize_t size = 0;
    const char* text = PyUnicode_AsUTF8AndSize(object, &size);
    if (!text) nb::raise_python_error();
    return c10::IValue(std::string(text, static_cast<size_t>(size)));
  }
  if (THPVariable_Check(object)) return c10::IValue(THPVariable_Unpack(object));  // a subclass; asking runs Python code
  return std::nullopt;
}

PyObject* to_object(c10::IValue&& value) {
  if (value.isTensor()) return THPVariable_Wrap(std::move(value).toTensor());
  if (value.isNone()) return Py_NewRef(Py_None);
  if (value.isBool()) return PyBool_FromLong(value.toBool());
  if (value.isInt()) return PyLong_FromLongLong(value.toInt());
  if (value.isDouble()) return PyFloat_FromDouble(value.toDouble());
  if (value.isString()) return nb::str(value.toStringRef().data(), value.toStringRef().size()).release().ptr();
  throw Error(ErrorCode::kInternal, concat("a run returned a ", value.tagKind(), ", which has no Python counterpart"));
}

}  // namespace tenure::python
