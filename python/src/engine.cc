// python/src/engine.cc: tenure::Engine, the handle of a compiled engine in a program.
#include "tenure/engine/engine.h"

#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>

#include <map>
#include <string>

#include "describe.h"
#include "register.h"
#include "tenure/base/error.h"
#include "tenure/engine/registry.h"

namespace nb = nanobind;

namespace tenure::python {
namespace {

template <typename Tell>
std::map<std::string, std::string> of_each_backend(const Tell& tell) {
  std::map<std::string, std::string> told;
  for (const std::string& name : backend_names()) told[name] = tell(find_backend(name));
  return told;
}

}  // namespace

void register_engine(nb::module_& m) {
  m.def(
      "backend_runtimes", [] { return of_each_backend([](const Backend& backend) { return backend.runtime(); }); },
      "Of each backend of this build the runtime behind it, with its version; empty where that is Tenure itself.");
  m.def(
      "backend_devices",
      [] {
        return of_each_backend([](const Backend& backend) {
          return c10::DeviceTypeName(backend.device_type().value_or(c10::kCPU), /*lower_case=*/true);
        });
      },
      "Of each backend of this build the type of device that an engine on its own runs on: \"cpu\", \"cuda\".");
  nb::class_<Engine>(m, "Engine", "A compiled engine of a program; all sessions of the program share it. Thread-safe.")
      .def_prop_ro("name", [](const Engine& engine) { return engine.spec().name; })
      .def_prop_ro("backend", [](const Engine& engine) { return engine.spec().backend; })
      .def_prop_ro(
          "options", [](const Engine& engine) { return engine.spec().options; }, "As given to tenure.compile.")
      .def_prop_ro(
          "inputs", [](const Engine& engine) { return describe_bindings(engine.spec().inputs); },
          nb::sig("def inputs(self) -> list[dict[str, object]]"),
          "Of each: name, dtype, sizes (an int, or a str such as 'i0_0 + 1', i<k>_<d> being dimension d of input k) and\n"
          "aliases_input, the input whose memory an output is written into, or None. Dense and contiguous.")
      .def_prop_ro(
          "outputs", [](const Engine& engine) { return describe_bindings(engine.spec().outputs); },
          nb::sig("def outputs(self) -> list[dict[str, object]]"), "As for inputs.")
      .def(
          "is_declared_unowned", [](const Engine& engine, size_t output) { return engine.is_declared_unowned(output); },
          nb::arg("output"), "Whether the output is unowned because somebody said so, not because it leaves the program.")
      .def(
          "set_output_tensors_as_unowned",
          [](Engine& engine, bool unowned, std::optional<size_t> output) {
            if (output)
              engine.set_output_tensors_as_unowned(*output, unowned);
            else
              engine.set_output_tensors_as_unowned(unowned);
          },
          nb::arg("unowned"), nb::kw_only(), nb::arg("output") = nb::none(),
          "Unowned outputs are the caller's: each run gives them memory that nobody holds. Owned ones keep their memory from run "
          "to\n"
          "run. For all outputs, or the one with index `output`. Acts from the next run on. Raises Error (invalid argument), and\n"
          "changes nothing, if an output that leaves the program would become owned, or the index is out of range.")
      .def(
          "are_output_tensors_unowned",
          [](const Engine& engine, std::optional<size_t> output) {
            return output ? engine.are_output_tensors_unowned(*output) : engine.are_output_tensors_unowned();
          },
          nb::kw_only(), nb::arg("output") = nb::none(), "Whether all outputs are unowned, or the one with index `output`.")
      .def("__repr__", [](const Engine& engine) { return describe(engine.spec()); });
}

}  // namespace tenure::python
