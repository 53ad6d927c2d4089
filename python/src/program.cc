// python/src/program.cc: tenure::Program.
#include "tenure/session/program.h"

#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <filesystem>
#include <utility>

#include "describe.h"
#include "register.h"
#include "tenure/graph/text.h"

namespace nb = nanobind;

namespace tenure::python {

void register_program(nb::module_& m) {
  nb::class_<Program>(m, "Program", "A loaded file: graph, weights, engines, owners. Immutable, thread-safe.")
      .def_static(
          "load",
          [](const std::filesystem::path& path, std::vector<std::string> custom_op_libraries, std::optional<std::string> device,
             bool engine_cache) {
            LoadOptions options{.custom_op_libraries = std::move(custom_op_libraries), .engine_cache = engine_cache};
            if (device) options.device = c10::Device(*device);
            return Program::load(path.string(), options);
          },
          nb::arg("path"), nb::arg("custom_op_libraries") = std::vector<std::string>(), nb::arg("device") = nb::none(),
          nb::arg("engine_cache") = true, nb::call_guard<nb::gil_scoped_release>(),
          "Reads the file and loads its engines. Raises Error.")
      .def_prop_ro("path", &Program::path)
      .def_prop_ro("custom_op_libraries", &Program::custom_op_libraries)
      .def_prop_ro("in_spec", &Program::in_spec, "Pytree spec of (args, kwargs) as JSON; empty if the file has none.")
      .def_prop_ro("out_spec", &Program::out_spec, "Pytree spec of the result as JSON; empty if the file has none.")
      .def_prop_ro("engines", &Program::engines, "By name.")
      .def_prop_ro("engine_blocks", &Program::engine_blocks, "Number of engine calls.")
      .def_prop_ro("aten_blocks", &Program::aten_blocks, "Number of maximal runs of aten operators between engine calls.")
      .def_prop_ro(
          "inputs", [](const Program& program) { return describe_inputs(program.graph()); },
          nb::sig("def inputs(self) -> list[dict[str, object]]"), "Fields of tenure.structure.ValueSpec.")
      .def_prop_ro(
          "outputs", [](const Program& program) { return describe_outputs(program.graph()); },
          nb::sig("def outputs(self) -> list[dict[str, object]]"), "Fields of tenure.structure.ValueSpec.")
      .def(
          "input_sizes",
          [](const Program& program, const std::map<std::string, int64_t>& symbols) {
            return input_sizes(program.graph(), symbols);
          },
          nb::arg("symbols"), nb::sig("def input_sizes(self, symbols: dict[str, int]) -> list[list[int | None] | None]"),
          "Of each input where the symbols have these values; of a number the value alone; None for a constant.")
      .def(
          "graph_text", [](const Program& program) { return to_text(program.graph()); },
          "The graph in tenure/graph/text.h's form.");
}

}  // namespace tenure::python
