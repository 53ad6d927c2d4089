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

void raise(const Error& error) {
  const std::string_view code = to_string(error.code());
  nb::object type = nb::module_::import_("tenure.errors").attr("Error");
  nb::object value = type(nb::str(code.data(), code.size()), error.message(), error.context());
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
