// python/src/trace.cc: tenure::Trace; python/tenure/trace.py makes it readable.
#include "tenure/trace/trace.h"

#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>

#include "register.h"

namespace nb = nanobind;

namespace tenure::python {
namespace {

nb::list spans(const Trace& trace) {
  nb::list result;
  for (const Span& span : trace.spans())
    result.append(nb::make_tuple(span.name, span.target, to_string(span.kind), to_string(span.clock), span.run, span.thread,
                                 span.begin_ns, span.duration_ns));
  return result;
}

nb::list counters(const Trace& trace) {
  nb::list result;
  for (const Counter& counter : trace.counters()) result.append(nb::make_tuple(counter.name, counter.time_ns, counter.value));
  return result;
}

}  // namespace

void register_trace(nb::module_& m) {
  nb::class_<Trace>(m, "Trace", "What runs did, and when. Thread-safe.")
      .def(nb::init<size_t>(), nb::arg("max_spans"))
      .def("spans", &spans, nb::sig("def spans(self) -> list[tuple[object, ...]]"), "The fields of tenure.trace.Span.")
      .def("counters", &counters, nb::sig("def counters(self) -> list[tuple[str, int, int]]"),
           "The fields of tenure.trace.Counter.")
      .def("dropped_runs", &Trace::dropped_runs)
      .def("to_chrome_json", &Trace::to_chrome_json, nb::call_guard<nb::gil_scoped_release>());
}

}  // namespace tenure::python
