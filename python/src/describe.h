// python/src/describe.h: C++ descriptions as plain Python data (dicts, lists, strings), for the package's dataclasses to be made
// of.
#pragma once

#include <nanobind/nanobind.h>

#include <map>
#include <string>
#include <vector>

#include "tenure/graph/engine_spec.h"
#include "tenure/graph/graph.h"
#include "tenure/session/explain.h"
#include "tenure/session/session.h"

namespace tenure::python {

/// Each size an int if it is known before a run, else a str such as "2*s0 + 1".
nanobind::list describe_sizes(const std::vector<Expr>& sizes);

/// {"name", "dtype": torch.dtype, "sizes", "aliases_input"} of each.
nanobind::list describe_bindings(const std::vector<Binding>& bindings);

/// {"name", "kind": "tensor" | "int" | "float" | "bool" | "constant", ...}: tensors have "dtype", "sizes" and "device", constants
/// "constant".
nanobind::list describe_inputs(const Graph& graph);
nanobind::list describe_outputs(const Graph& graph);

/// Of each user input the sizes where the symbols have these values, an int each, None for what is not known; for a number its
/// value alone; None for a constant.
nanobind::list input_sizes(const Graph& graph, const std::map<std::string, int64_t>& symbols);

/// {"signature", "table", "values": [fields of ValueExplanation]}.
nanobind::dict describe(const Explanation& explanation);

/// The fields of Stats.
nanobind::dict describe(const Stats& stats);

}  // namespace tenure::python
