// tenure/graph/text.h: the graph as text that prints and parses. For tests, messages and `inspect`.
//
//   graph(%x: f32[s0, 3], %w: f32[4, 3] = parameter "linear.weight", %n: f32[1] = buffer "n"):
//     %y: f32[s0, 4] = aten::linear(input=%x, weight=%w)            # one output
//     [%a: f32[2], %b: f32[2]] = aten::split.Tensor(self=%y, split_size=2)   # an operator that returns a list
//     %v, %i = aten::max.dim(self=%y, dim=0)                        # several outputs; types are optional
//     %s: int = aten::sym_size.int(self=%x, dim=0)
//     %t: int = _operator.add(a=%s, b=1)
//     %z = engine "engine_0"(%y, %v)
//   return (%y, %a, buffer "n" = %z, input "x" = %y)
//
// Constants: None, True, 1, 1.5, "text", dtype f32, device cpu, layout strided, memory_format channels_last, lists [1, 2].
#pragma once

#include <string>
#include <string_view>

#include "tenure/graph/graph.h"

namespace tenure {

/// parse_graph(to_text(graph)) equals `graph`.
std::string to_text(const Graph& graph);
std::string to_text(const Graph& graph, const Node& node);

/// Parses and verifies. Throws Error(kBadFile) with line and column.
Graph parse_graph(std::string_view text);

}  // namespace tenure
