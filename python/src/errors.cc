// python/src/errors.cc: C++ exceptions -> tenure.Error, the class that python/tenure/errors.py defines.
#include <c10/util/Exception.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <torch/csrc/Exceptions.h>

#include "register.h"
#include "tenure/base/error.h"

namespace nb = nanobind;

namespace tenure::python {
namespace {

// The Python exception that a custom operator raised; null if the cause is another.
nb::object python_cause(const Error& error) {
  if (error.cause() == nullptr) return {};
  try {
    std::rethrow_exception(error.cause());
  } catch (python_error& e) {
    e.restore();
  } catch (pybind11::error_already_set& e) {
    e.restore();
  } catch (...) {
    return {};
  }
  const nb::python_error taken;  // takes what restore() set
  return nb::borrow(taken.value());
}

// What a custom operator raised becomes the __cause__; what asks the interpreter to stop (KeyboardInterrupt, SystemExit) goes on
// alone.
void raise(const Error& error) {
  const nb::object cause = python_cause(error);
  if (cause.is_valid() && !PyErr_GivenExceptionMatches(cause.ptr(), PyExc_Exception)) {
    PyErr_SetObject(cause.type().ptr(), cause.ptr());
    return;
  }
  const std::string_view code = to_string(error.code());
  nb::object type = nb::module_::import_("tenure.errors").attr("Error");
  nb::object value = type(nb::str(code.data(), code.size()), error.message(), error.context());
  if (cause.is_valid()) PyException_SetCause(value.ptr(), nb::object(cause).release().ptr());
  PyErr_SetObject(type.ptr(), value.ptr());
}

// Leaves a Python error set. An exception that is not listed goes on to nanobind's own translation.
void translate(const std::exception_ptr& exception, void*) {
  try {
    try {
      std::rethrow_exception(exception);
    } catch (const Error& e) {
      raise(e);
    } catch (const c10::Error& e) {
      raise(Error(ErrorCode::kInternal, concat("PyTorch: ", e.what_without_backtrace())));
    } catch (python_error& e) {
      e.restore();
    } catch (pybind11::error_already_set& e) {
      e.restore();
    }
  } catch (nb::python_error& e) {  // tenure.errors could not be imported
    e.restore();
  }
}

}  // namespace

void register_errors(nb::module_&) { nb::register_exception_translator(translate); }

}  // namespace tenure::python
