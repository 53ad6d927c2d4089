// tenure/archive/node_target.h: what a node of the PT2 schema calls, from the Python name that torch.export writes.
#pragma once

#include <string>
#include <string_view>

#include "tenure/graph/graph.h"

namespace tenure {

/// As Node::kind and Node::target; for an engine call `name` is empty, since the engine's name is an argument.
struct NodeTarget {
  NodeKind kind = NodeKind::kOperator;
  std::string name;
};

/// "torch.ops.aten.add.Tensor" -> operator "aten::add.Tensor"; "torch.ops.aten.relu.default" -> "aten::relu";
/// "_operator.add", "math.trunc", "torch.sym_max" -> scalar; "torch.ops.tenure.call_engine.default" -> engine.
/// Throws Error: kUnsupported (higher-order operators, anything else), kBadFile (malformed).
NodeTarget parse_node_target(std::string_view target);

}  // namespace tenure
