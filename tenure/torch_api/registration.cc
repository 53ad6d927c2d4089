// tenure/torch_api/registration.cc: torch.classes.tenure.Engine and tenure::execute_engine.
#include <torch/custom_class.h>
#include <torch/library.h>

#include "tenure/base/error.h"
#include "tenure/torch_api/standalone_engine.h"

namespace tenure {
namespace {

using Self = c10::intrusive_ptr<StandaloneEngine>;

std::vector<at::Tensor> execute_engine(const std::vector<at::Tensor>& inputs, const Self& engine) { return engine->run(inputs); }

size_t output_index(const Self& self, int64_t output) {
  check(output >= 0, ErrorCode::kInvalidArgument, "engine \"", self->spec().name, "\": output ", output, " is out of range");
  return static_cast<size_t>(output);
}

void set_unowned(const Self& self, bool unowned, std::optional<int64_t> output) {
  if (output) {
    self->engine().set_output_tensors_as_unowned(output_index(self, *output), unowned);
  } else {
    self->engine().set_output_tensors_as_unowned(unowned);
  }
}

bool are_unowned(const Self& self, std::optional<int64_t> output) {
  return output ? self->engine().are_output_tensors_unowned(output_index(self, *output))
                : self->engine().are_output_tensors_unowned();
}

std::vector<std::string> names(const std::vector<Binding>& bindings) {
  std::vector<std::string> all;
  for (const Binding& binding : bindings) all.push_back(binding.name);
  return all;
}

c10::Dict<std::string, int64_t> stats(const Self& self) {
  const StandaloneStats stats = self->stats();
  c10::Dict<std::string, int64_t> all;
  all.insert("calls", stats.calls);
  all.insert("frames", stats.frames);
  all.insert("standing_bytes", stats.standing_bytes);
  all.insert("leased_bytes", stats.leased_bytes);
  all.insert("slots", stats.slots);
  all.insert("held_slots", stats.held_slots);
  all.insert("last_call_allocations", stats.last_call_allocations);
  return all;
}

std::string description(const Self& self) { return describe(self->spec()); }

// What the fake class in python/tenure/torch_api.py is made of: all that tracing needs, and not the blob.
using Flat = std::tuple<std::tuple<std::string, std::string>>;
Flat flatten(const Self& self) { return {{"spec_json", self->spec_json()}}; }

TORCH_LIBRARY(tenure, m) {
  m.class_<StandaloneEngine>("Engine")
      // Python passes the blob as bytes, which is what TorchScript calls a str.
      .def(torch::init([](const std::string& spec, const std::string& blob) {
             return c10::make_intrusive<StandaloneEngine>(spec, std::string_view(blob));
           }),
           "", {torch::arg("spec"), torch::arg("blob")})
      .def("name", [](const Self& self) { return self->spec().name; })
      .def("backend", [](const Self& self) { return self->spec().backend; })
      .def("inputs", [](const Self& self) { return names(self->spec().inputs); })
      .def("outputs", [](const Self& self) { return names(self->spec().outputs); })
      .def("spec", [](const Self& self) { return self->spec_json(); })
      .def("set_output_tensors_as_unowned", set_unowned, "", {torch::arg("unowned"), torch::arg("output") = torch::arg::none()})
      .def("are_output_tensors_unowned", are_unowned, "", {torch::arg("output") = torch::arg::none()})
      .def_property(
          "use_pre_allocated_outputs", [](const Self& self) { return self->use_pre_allocated_outputs(); },
          [](const Self& self, bool enabled) { self->set_use_pre_allocated_outputs(enabled); })
      .def("stats", stats)
      .def("trim", [](const Self& self) { return self->trim(); })
      .def("__repr__", description)
      .def("__str__", description)
      .def("__obj_flatten__", flatten)
      .def_pickle([](const Self& self) { return self->state(); },
                  [](StandaloneEngine::State state) { return c10::make_intrusive<StandaloneEngine>(state); });
  m.def("execute_engine(Tensor[] inputs, __torch__.torch.classes.tenure.Engine engine) -> Tensor[]");
}

// Explicit for all backends: engines without inputs have no device to go by, and tensors elsewhere get an error that says so.
TORCH_LIBRARY_IMPL(tenure, CompositeExplicitAutograd, m) { m.impl("execute_engine", execute_engine); }

}  // namespace
}  // namespace tenure
