// python/src/module.cc: the extension module tenure._tenure, a table of contents. People use the package around it.
#include "register.h"

NB_MODULE(_tenure, m) {
  m.doc() = "The C++ runtime of Tenure. An implementation detail of the package `tenure`, which is the public interface.";
  m.attr("VERSION") = TENURE_VERSION;
  nanobind::set_leak_warnings(false);  // a program that lives until the interpreter ends is no leak
  tenure::python::register_errors(m);
  tenure::python::register_engine(m);
  tenure::python::register_program(m);
  tenure::python::register_trace(m);
  tenure::python::register_session(m);
}
