#include "describe.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <torch/csrc/Dtype.h>
#include <torch/csrc/DynamicTypes.h>

#include <map>
#include <string>

#include "tenure/base/error.h"
#include "values.h"

namespace nb = nanobind;

namespace tenure::python {
namespace {

nb::str describe(std::string_view text) { return nb::str(text.data(), text.size()); }

nb::object describe(at::ScalarType dtype) { return nb::borrow(reinterpret_cast<PyObject*>(torch::getTHPDtype(dtype))); }

const char* describe(ValueKind kind) {
  switch (kind) {
    case ValueKind::kTensor: return "tensor";
    case ValueKind::kSymInt: return "int";
    case ValueKind::kSymFloat: return "float";
    case ValueKind::kSymBool: return "bool";
  }
  return "unknown";
}

nb::dict describe(const Value& value, const std::string& name) {
  nb::dict result;
  result["name"] = name;
  result["kind"] = describe(value.kind);
  if (value.meta) {
    result["dtype"] = describe(value.meta->dtype);
    result["sizes"] = describe_sizes(value.meta->sizes);
    result["device"] = value.meta->device.str();
  }
  return result;
}

nb::dict describe_constant(const c10::IValue& constant, const std::string& name) {
  nb::dict result;
  result["name"] = name;
  result["kind"] = "constant";
  result["constant"] = nb::steal(to_object(c10::IValue(constant)));
  return result;
}

nb::dict describe(const ValueExplanation& value) {
  nb::dict result;
  result["value"] = value.value;
  result["node"] = value.node;
  result["target"] = value.target;
  result["ownership"] = describe(to_string(value.ownership));
  result["bytes"] = value.bytes;
  result["arena_offset"] = value.arena_offset;
  result["slot"] = value.slot;
  result["where"] = value.where;
  result["first_node"] = value.first_node;
  result["last_node"] = value.last_node;
  result["reason"] = value.reason;
  return result;
}

}  // namespace

nb::list describe_sizes(const std::vector<Expr>& sizes) {
  nb::list result;
  for (const Expr& size : sizes) {
    if (const auto constant = size.constant())
      result.append(*constant);
    else
      result.append(size.to_string());
  }
  return result;
}

nb::list describe_bindings(const std::vector<Binding>& bindings) {
  nb::list result;
  for (const Binding& binding : bindings) {
    nb::dict entry;
    entry["name"] = binding.name;
    entry["dtype"] = describe(binding.dtype);
    entry["sizes"] = describe_sizes(binding.sizes);
    entry["aliases_input"] = binding.aliases_input;
    result.append(entry);
  }
  return result;
}

nb::list describe_inputs(const Graph& graph) {
  nb::list result;
  for (const GraphInput& input : graph.inputs) {
    if (input.kind == GraphInput::Kind::kUser) result.append(describe(graph.value(input.value), input.name));
    if (input.kind == GraphInput::Kind::kUserConstant) result.append(describe_constant(input.constant, input.name));
  }
  return result;
}

nb::list input_sizes(const Graph& graph, const std::map<std::string, int64_t>& symbols) {
  const Expr::Lookup lookup = [&](std::string_view symbol) {
    const auto known = symbols.find(std::string(symbol));
    return known == symbols.end() ? std::nullopt : std::optional(known->second);
  };
  nb::list result;
  for (const GraphInput& input : graph.inputs) {
    if (input.kind == GraphInput::Kind::kUserConstant) result.append(nb::none());
    if (input.kind != GraphInput::Kind::kUser) continue;
    const Value& value = graph.value(input.value);
    nb::list sizes;
    if (value.meta)
      for (const Expr& size : value.meta->sizes) sizes.append(size.evaluate(lookup));
    else
      sizes.append(value.expr.evaluate(lookup));
    result.append(sizes);
  }
  return result;
}

nb::list describe_outputs(const Graph& graph) {
  nb::list result;
  for (const GraphOutput& output : graph.outputs) {
    if (output.kind != GraphOutput::Kind::kUser) continue;
    if (output.value.is_value()) {
      const Value& value = graph.value(output.value.value());
      result.append(describe(value, value.name));
    } else if (output.value.is_constant()) {
      result.append(describe_constant(output.value.constant(), ""));
    }
  }
  return result;
}

nb::dict describe(const Explanation& explanation) {
  nb::list values;
  for (const ValueExplanation& value : explanation.values) values.append(describe(value));
  nb::dict result;
  result["signature"] = explanation.signature;
  result["basis"] = explanation.basis();
  result["arena_bytes"] = explanation.arena_bytes;
  result["table"] = explanation.table();
  result["json"] = explanation.json();
  result["values"] = values;
  return result;
}

nb::dict describe(const Stats& stats) {
  nb::dict result;
  result["runs"] = stats.runs;
  result["observing_runs"] = stats.observing_runs;
  result["replays"] = stats.replays;
  result["deviations"] = stats.deviations;
  result["frames"] = stats.frames;
  result["plans"] = stats.plans;
  result["plan_bytes"] = stats.plan_bytes;
  result["engine_blocks"] = stats.engine_blocks;
  result["aten_blocks"] = stats.aten_blocks;
  result["standing_bytes"] = stats.standing_bytes;
  result["leased_bytes"] = stats.leased_bytes;
  result["abandoned_bytes"] = stats.abandoned_bytes;
  result["fresh_bytes"] = stats.fresh_bytes;
  result["slots"] = stats.slots;
  result["held_slots"] = stats.held_slots;
  result["slot_overflows"] = stats.slot_overflows;
  result["last_run_allocations"] = stats.last_run_allocations;
  return result;
}

}  // namespace tenure::python
