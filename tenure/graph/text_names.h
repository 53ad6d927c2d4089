// tenure/graph/text_names.h: spellings that the printer and the parser of graphs share. Private to text*.cc
// and parse.cc, but for dtype_name, which messages use.
#pragma once

#include <c10/core/Layout.h>
#include <c10/core/MemoryFormat.h>
#include <c10/core/ScalarType.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tenure/graph/graph.h"

namespace tenure {

/// "f32", "i64", "b8" (bool) ...
std::string dtype_name(at::ScalarType dtype);
std::optional<at::ScalarType> find_dtype(std::string_view name);

/// The three c10 enums that an operator takes as plain ints.
enum class IntegerEnum { kDtype, kLayout, kMemoryFormat };

/// Which of them the parameter of that name takes ("dtype", "out_dtype", "layout" ...), if any. An IValue cannot tell an enum from
/// a number, the parameter's name can.
std::optional<IntegerEnum> integer_enum_of(std::string_view parameter);

/// "dtype f32", "layout strided", "memory_format channels_last"; nullopt if the enum has no such value.
std::optional<std::string> integer_enum_text(IntegerEnum kind, int64_t value);
/// The keyword before the name: "dtype", "layout", "memory_format".
std::optional<IntegerEnum> find_integer_enum(std::string_view keyword);
std::optional<int64_t> find_integer_enum_value(IntegerEnum kind, std::string_view name);

/// The strides of a dense tensor, last dimension fastest: what a type without strides means.
std::vector<Expr> contiguous_strides(const std::vector<Expr>& sizes);

/// The name that a node has unless the text says another one: its first output's, or node_<index>.
std::string default_node_name(const Graph& graph, const Node& node, size_t index);

/// Whether the list reads back as a list constant when written as [a, b]: constants of one kind, None not among them.
bool is_constant_list(const Argument::List& list);

/// Letters, digits, '_' and '.', not starting with a digit or '.': written without quotes.
bool is_plain_name(std::string_view name);
/// A target whose kind its spelling tells: an operator's has "::", a scalar function's has not but has a '.'.
bool is_plain_target(NodeKind kind, std::string_view target);

/// "text" with \" \\ \n \t \r and \xNN for the other control characters.
std::string quote_string(std::string_view text);
/// Shortest text that reads back as the same double: 1.0, 1e-05, inf, -inf, nan.
std::string print_double(double value);

}  // namespace tenure
