// python/src/engine.cc: tenure::Engine, the handle of a compiled engine in a program.
#include "tenure/engine/engine.h"

#include <nanobind/stl/map.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>

#include "describe.h"
#include "register.h"
#include "tenure/base/error.h"

namespace nb = nanobind;

namespace tenure::python {

void register_engine(nb::module_& m) {
  nb::class_<Engine>(m, "Engine", "A compiled engine of a program; all sessions of the program share it. Thread-safe.")
      .def_prop_ro("name", [](const Engine& engine) { return engine.spec().name; })
      .def_prop_ro("backend", [](const Engine& engine) { return engine.spec().backend; })
      .def_prop_ro(
          "options", [](const Engine& engine) { return engine.spec().options; }, "As given to tenure.compile.")
      .def_prop_ro("inputs", [](const Engine& engine) { return describe_bindings(engine.spec().inputs); })
      .def_prop_ro("outputs", [](const Engine& engine) { return describe_bindings(engine.spec().outputs); })
      .def("__repr__", [](const Engine& engine) {
        const EngineSpec& spec = engine.spec();
        return concat("<tenure engine ", spec.name, ": ", spec.backend, ", ", spec.inputs.size(), " inputs, ", spec.outputs.size(),
                      " outputs>");
      });
}

}  // namespace tenure::python
