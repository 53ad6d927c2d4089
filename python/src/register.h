// python/src/register.h: one register function per source file; module.cc calls them in order.
#pragma once

#include <nanobind/nanobind.h>

namespace tenure::python {

void register_errors(nanobind::module_& m);
void register_engine(nanobind::module_& m);
void register_program(nanobind::module_& m);
void register_trace(nanobind::module_& m);
void register_session(nanobind::module_& m);

}  // namespace tenure::python
