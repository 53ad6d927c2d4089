// tenure/graph/text.h: the graph as text that prints and parses. For tests, messages and `inspect`.
//
//   graph(%x: f32[s0, 3], %w: f32[4, 3] = parameter "linear.weight", %n: f32[1] = buffer "n", training = False):
//     where 2 <= s0 <= 1024                                         # the range of a symbol
//     %y: f32[s0, 4] = aten::linear(input=%x, weight=%w)            # one output
//     [%a: f32[2], %b: f32[2]] = aten::split.Tensor(self=%y, split_size=2) as split   # a list of outputs; the node's name
//     %v, %i = aten::max.dim(self=%y, dim=0)                        # several outputs; types are optional
//     %s: int(s0) = aten::sym_size.int(self=%x, dim=0)              # a number, and what it stands for
//     %t: int = _operator.add(a=%s, b=1)
//     %z = engine "engine_0"(%y, %v)
//     aten::_assert_async.msg(self=%z, assert_msg="z")              # no output
//   return (%y, %a, buffer "n" = %z, input "x" = %y)
//
// Types: f32[s0, 3], then, unless they are the default, strides [1, s0], offset (4) and device cuda:0; int, float, bool for
// numbers. Constants: None, True, 1, 1.5, inf, complex(1.0, 2.0), "text", dtype f32, device cpu, layout strided, memory_format
// channels_last, lists [1, 2] (int[], float[], bool[], str[], int[][] if empty). An argument without a name is called by its
// position: 0, 1 ... A node without "as NAME" has the name of its first output, or node_<index>. Names with other characters than
// letters, digits, '_' and
// '.' are quoted: %"odd name". Line breaks and indentation mean nothing.
#pragma once

#include <string>
#include <string_view>

#include "tenure/graph/graph.h"

namespace tenure {

/// parse_graph(to_text(graph)) equals `graph`, values numbered in the order in which they are made. Does not throw for a graph that
/// verify() refuses: what cannot be written is shown as <kind>.
std::string to_text(const Graph& graph);
/// The node's line alone, without indentation.
std::string to_text(const Graph& graph, const Node& node);

/// Parses and verifies. Throws Error(kBadFile) with line and column, or as verify() does.
Graph parse_graph(std::string_view text);

}  // namespace tenure
