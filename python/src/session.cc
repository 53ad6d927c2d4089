// python/src/session.cc: tenure::Session. Everything on the way of a run is kept short: it is paid in every call.
#include "tenure/session/session.h"

#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "describe.h"
#include "register.h"
#include "tensor_caster.h"
#include "tenure/base/error.h"
#include "values.h"

namespace nb = nanobind;

namespace tenure::python {
namespace {

std::string readable_type(nb::handle object) {
  const nb::handle type = object.type();
  const std::string module = nb::cast<std::string>(nb::str(type.attr("__module__")));
  const std::string name = nb::cast<std::string>(nb::str(type.attr("__qualname__")));
  return module == "builtins" ? name : concat(module, ".", name);
}

std::string input_name(const Graph& graph, Py_ssize_t index) {
  Py_ssize_t user = 0;
  for (const GraphInput& input : graph.inputs) {
    if (input.kind != GraphInput::Kind::kUser && input.kind != GraphInput::Kind::kUserConstant) continue;
    if (user++ == index) return concat(" (", input.name, ")");
  }
  return "";
}

[[noreturn]] void refuse_input(const Session& session, Py_ssize_t index, PyObject* object) {
  const std::string type = readable_type(object);
  const std::string hint = type == "numpy.ndarray" ? "; torch.from_numpy makes a tensor of it without a copy"
                           : PyLong_Check(object)  ? "; it does not fit 64 bits"
                                                   : "";
  throw Error(ErrorCode::kInvalidArgument, concat("input ", index, input_name(session.program().graph(), index), " is a ", type,
                                                  "; pass a torch.Tensor, None, int, float, bool or str", hint));
}

std::vector<c10::IValue> to_ivalues(const Session& session, nb::handle inputs) {
  if (!PyList_Check(inputs.ptr()) && !PyTuple_Check(inputs.ptr()))
    throw Error(ErrorCode::kInvalidArgument,
                concat("run() takes a list or tuple of the flat inputs, not a ", readable_type(inputs)));
  const Py_ssize_t count = PySequence_Fast_GET_SIZE(inputs.ptr());
  std::vector<c10::IValue> values;
  values.reserve(static_cast<size_t>(count));
  for (Py_ssize_t i = 0; i < count && i < PySequence_Fast_GET_SIZE(inputs.ptr()); ++i) {
    PyObject* object = PySequence_Fast_GET_ITEM(inputs.ptr(), i);
    std::optional<c10::IValue> value = to_ivalue(object);
    if (!value) refuse_input(session, i, object);
    values.push_back(std::move(*value));
  }
  return values;
}

nb::object run(Session& session, nb::handle inputs) {
  std::vector<c10::IValue> values = to_ivalues(session, inputs);
  {
    nb::gil_scoped_release release;
    values = session.run_values(std::move(values));
  }
  nb::object outputs = nb::steal(PyList_New(static_cast<Py_ssize_t>(values.size())));
  if (!outputs) nb::raise_python_error();
  for (size_t i = 0; i < values.size(); ++i) {
    PyObject* object = to_object(std::move(values[i]));
    if (!object) nb::raise_python_error();
    PyList_SET_ITEM(outputs.ptr(), static_cast<Py_ssize_t>(i), object);
  }
  return outputs;
}

std::map<std::string, at::Tensor> state_dict(const Session& session) {
  const nb::gil_scoped_release release;
  return session.state_dict();
}

void load_state_dict(Session& session, const std::map<std::string, at::Tensor>& state) {
  const nb::gil_scoped_release release;
  session.load_state_dict(state);
}

}  // namespace

void register_session(nb::module_& m) {
  const SessionOptions defaults;
  nb::class_<Session>(m, "Session", "Runs a program. Thread-safe.")
      .def(
          "__init__",
          [](Session* self, std::shared_ptr<Program> program, int max_frames, int64_t max_plan_bytes, int max_output_slots,
             bool pre_allocated_outputs, bool check_ownership) {
            new (self) Session(std::move(program), {.max_frames = max_frames,
                                                    .max_plan_bytes = max_plan_bytes,
                                                    .max_output_slots = max_output_slots,
                                                    .pre_allocated_outputs = pre_allocated_outputs,
                                                    .check_ownership = check_ownership});
          },
          nb::arg("program"), nb::kw_only(), nb::arg("max_frames") = defaults.max_frames,
          nb::arg("max_plan_bytes") = defaults.max_plan_bytes, nb::arg("max_output_slots") = defaults.max_output_slots,
          nb::arg("pre_allocated_outputs") = defaults.pre_allocated_outputs, nb::arg("check_ownership") = defaults.check_ownership)
      .def("run", &run, nb::arg("inputs").none(),
           nb::sig("def run(self, inputs: list[object] | tuple[object, ...], /) -> list[object]"),
           "Flat inputs to flat outputs: tensors, None, numbers, strings. Other threads run meanwhile. Raises Error.")
      .def(
          "explain",
          [](const Session& session, const std::optional<std::map<std::string, int64_t>>& sizes) {
            Explanation explanation;
            {
              nb::gil_scoped_release release;
              explanation = sizes ? session.explain(*sizes) : session.explain();
            }
            return describe(explanation);
          },
          nb::arg("sizes") = nb::none(), nb::sig("def explain(self, sizes: dict[str, int] | None = None) -> dict[str, object]"),
          "{signature, basis, arena_bytes, table, json, values: [fields of tenure.report.ValueExplanation]}")
      .def(
          "stats",
          [](const Session& session) {
            Stats stats;
            {
              nb::gil_scoped_release release;  // the session's lock may be held by a run that waits for the GIL
              stats = session.stats();
            }
            return describe(stats);
          },
          nb::sig("def stats(self) -> dict[str, int]"), "The counters of tenure.report.Stats.")
      .def("trim", &Session::trim, nb::call_guard<nb::gil_scoped_release>(), "Gives memory back to the system; returns the bytes.")
      .def("reset_state", &Session::reset_state, nb::call_guard<nb::gil_scoped_release>(), "The state as the file gives it.")
      .def("state_dict", &state_dict, nb::sig("def state_dict(self) -> dict[str, torch.Tensor]"), "Copies, by buffer name.")
      .def("load_state_dict", &load_state_dict, nb::arg("state"),
           nb::sig("def load_state_dict(self, state: dict[str, torch.Tensor]) -> None"), "Raises Error; changes nothing then.")
      .def("set_trace", &Session::set_trace, nb::arg("trace").none(), nb::call_guard<nb::gil_scoped_release>(),
           "Runs that begin from now on are noted in it; None: no more.")
      .def_prop_rw("pre_allocated_outputs", &Session::pre_allocated_outputs, &Session::set_pre_allocated_outputs,
                   nb::call_guard<nb::gil_scoped_release>());
}

}  // namespace tenure::python
