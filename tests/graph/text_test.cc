#include "tenure/graph/text.h"

#include <ATen/core/List.h>
#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "graph_equal.h"
#include "tenure/base/error.h"

namespace tenure {
namespace {

using c10::IValue;
using testing::HasSubstr;

constexpr const char* kExample =
    R"(graph(%x: f32[s0, 3], %w: f32[4, 3] = parameter "linear.weight", %n: f32[1] = buffer "n", training = False):
  where 2 <= s0 <= 1024
  %y: f32[s0, 4] = aten::linear(input=%x, weight=%w)
  [%a: f32[2], None] = aten::split.Tensor(self=%y, split_size=2) as split
  %v, %i: i64[4] = aten::max.dim(self=%y, dim=0)
  %s: int(s0) = aten::sym_size.int(self=%x, dim=0)
  %t: int(s0 + 1) = _operator.add(a=%s, b=1)
  %r: float = _operator.truediv(a=%t, b=2.5)
  %g: bool = _operator.gt(a=%r, b=0)
  aten::_assert_scalar(self=%g, assert_msg="r > 0")
  %z = engine "engine_0"(%y, %v)
  return (%y, %a, 7, None, buffer "n" = %z, input "x" = %y)
)";

TEST(Text, PrintsWhatItParsed) { EXPECT_EQ(to_text(parse_graph(kExample)), kExample); }

TEST(Text, ParsesEveryPartOfTheExample) {
  const Graph graph = parse_graph(kExample);
  ASSERT_EQ(graph.nodes.size(), 9U);
  EXPECT_EQ(graph.inputs[1].kind, GraphInput::Kind::kParameter);
  EXPECT_EQ(graph.inputs[1].target, "linear.weight");
  EXPECT_EQ(graph.inputs[3].kind, GraphInput::Kind::kUserConstant);
  EXPECT_EQ(graph.inputs[3].constant, IValue(false));
  EXPECT_EQ(graph.symbol_ranges.at("s0").max, 1024);
  EXPECT_EQ(graph.nodes[1].name, "split");
  EXPECT_TRUE(graph.nodes[1].outputs[0].is_list);
  EXPECT_FALSE(graph.nodes[1].outputs[0].values[1].valid());
  EXPECT_EQ(graph.nodes[3].inputs[1].value.constant(), IValue(0));
  EXPECT_EQ(graph.nodes[4].kind, NodeKind::kScalar);
  EXPECT_EQ(graph.nodes[7].name, "node_7");
  EXPECT_EQ(graph.nodes[8].kind, NodeKind::kEngine);
  EXPECT_EQ(graph.nodes[8].target, "engine_0");
  EXPECT_EQ(graph.nodes[8].inputs[1].name, "1");
  const Value& y = graph.value(graph.nodes[0].outputs[0].values[0]);
  EXPECT_EQ(y.name, "y");
  EXPECT_EQ(y.producer, NodeId(0));
  EXPECT_EQ(y.meta->strides, (std::vector<Expr>{Expr(4), Expr(1)}));
  EXPECT_EQ(graph.value(graph.nodes[4].outputs[0].values[0]).expr.to_string(), "s0 + 1");
  EXPECT_EQ(graph.outputs[4].kind, GraphOutput::Kind::kBufferMutation);
  EXPECT_EQ(graph.outputs[5].target, "x");
}

TEST(Text, LineBreaksBlanksAndCommentsMeanNothing) {
  const Graph graph = parse_graph("# one\ngraph ( % x : f32 [ 2 ] )\n:  %y=aten::relu\n(self=%x)# two\n return(%y)");
  EXPECT_EQ(to_text(graph), "graph(%x: f32[2]):\n  %y = aten::relu(self=%x)\n  return (%y)\n");
}

TEST(Text, AnEmptyGraphIsAGraph) { EXPECT_EQ(to_text(parse_graph("graph(): return ()")), "graph():\n  return ()\n"); }

TEST(Text, PrintsOneNodeAlone) {
  const Graph graph = parse_graph(kExample);
  EXPECT_EQ(to_text(graph, graph.nodes[0]), "%y: f32[s0, 4] = aten::linear(input=%x, weight=%w)");
  EXPECT_EQ(to_text(graph, graph.nodes[7]), "aten::_assert_scalar(self=%g, assert_msg=\"r > 0\") as node_7");
}

/// The constant as it comes back from the text of a graph that holds it.
Argument round_trip(const Argument& argument, const std::string& parameter = "value") {
  Graph graph;
  graph.values.push_back({.name = "x", .kind = ValueKind::kTensor, .producer = {}, .meta = {}, .expr = {}});
  graph.inputs.push_back({.value = ValueId(0), .target = "", .name = "x", .constant = {}});
  graph.nodes.push_back({.name = "node_0", .target = "my::op", .inputs = {{parameter, argument}}, .outputs = {}});
  const Graph again = parse_graph(to_text(graph));
  EXPECT_EQ(to_text(again), to_text(graph));
  return again.nodes[0].inputs[0].value;
}

std::string text_of(const Argument& argument, const std::string& parameter = "value") {
  Graph graph;
  graph.values.push_back({.name = "x", .kind = ValueKind::kTensor, .producer = {}, .meta = {}, .expr = {}});
  const std::string text = to_text(graph, Node{.name = "n", .target = "my::op", .inputs = {{parameter, argument}}, .outputs = {}});
  const size_t begin = text.find('=') + 1;
  return text.substr(begin, text.rfind(')') - begin);
}

void expect_argument_round_trip(const Argument& argument, const char* text) {
  EXPECT_EQ(text_of(argument), text);
  EXPECT_TRUE(same_argument(round_trip(argument), argument)) << text;
}

void expect_round_trip(const IValue& constant, const char* text) { expect_argument_round_trip({constant}, text); }

TEST(Text, EveryKindOfConstantRoundTrips) {
  constexpr double kInf = std::numeric_limits<double>::infinity();
  expect_round_trip(IValue(), "None");
  expect_round_trip(true, "True");
  expect_round_trip(false, "False");
  expect_round_trip(int64_t{0}, "0");
  expect_round_trip(std::numeric_limits<int64_t>::min(), "-9223372036854775808");
  expect_round_trip(std::numeric_limits<int64_t>::max(), "9223372036854775807");
  expect_round_trip(1.0, "1.0");
  expect_round_trip(-0.0, "-0.0");
  expect_round_trip(0.1, "0.1");
  expect_round_trip(1e300, "1e+300");
  expect_round_trip(1e-5, "1e-05");
  expect_round_trip(std::numeric_limits<double>::denorm_min(), "5e-324");
  expect_round_trip(1.0 / 3, "0.3333333333333333");
  expect_round_trip(kInf, "inf");
  expect_round_trip(-kInf, "-inf");
  expect_round_trip(std::numeric_limits<double>::quiet_NaN(), "nan");
  expect_round_trip(c10::complex<double>(1.5, -kInf), "complex(1.5, -inf)");
  expect_round_trip("", "\"\"");
  expect_round_trip("a \"b\" \\ \n\t\r\x01\x7f # é", R"("a \"b\" \\ \n\t\r\x01\x7f # é")");
  expect_round_trip(std::string("nul\0l", 5), R"("nul\x00l")");
  expect_round_trip(at::Device(at::kCPU), "device cpu");
  expect_round_trip(at::Device(at::kCUDA, 3), "device cuda:3");
  expect_round_trip(c10::List<int64_t>({1, -2}), "[1, -2]");
  expect_round_trip(c10::List<int64_t>(), "int[]");
  expect_round_trip(c10::List<double>({1.0, kInf}), "[1.0, inf]");
  expect_round_trip(c10::List<double>(), "float[]");
  expect_round_trip(c10::List<bool>({true, false}), "[True, False]");
  expect_round_trip(c10::List<bool>(), "bool[]");
  expect_round_trip(c10::List<std::string>({"a", "b,"}), "[\"a\", \"b,\"]");
  expect_round_trip(c10::List<std::string>(), "str[]");
  expect_round_trip(c10::List<c10::List<int64_t>>({c10::List<int64_t>({1, 2}), c10::List<int64_t>()}), "[[1, 2], int[]]");
  expect_round_trip(c10::List<c10::List<int64_t>>(), "int[][]");
}

TEST(Text, ListsWithValuesAndNoneRoundTrip) {
  const Argument x{ValueId(0)}, none{IValue()}, one{IValue(1)}, ones{IValue(c10::List<int64_t>({1}))};
  using List = Argument::List;
  expect_argument_round_trip({List{}}, "[]");
  expect_argument_round_trip({List{x, one}}, "[%x, 1]");
  expect_argument_round_trip({List{one, x}}, "[1, %x]");
  expect_argument_round_trip({List{none, x, none}}, "[None, %x, None]");
  expect_argument_round_trip({List{none}}, "[None]");
  expect_argument_round_trip({List{one, one}}, "list[1, 1]");
  expect_argument_round_trip({List{one, {IValue(2.0)}}}, "[1, 2.0]");
  expect_argument_round_trip({List{ones}}, "list[[1]]");
  expect_argument_round_trip({List{{List{x}}, {List{}}, ones}}, "[[%x], [], [1]]");
}

TEST(Text, EnumsAreNamedWhereTheParameterTellsThem) {
  EXPECT_EQ(text_of({IValue(static_cast<int64_t>(at::kFloat))}, "dtype"), "dtype f32");
  EXPECT_EQ(text_of({IValue(static_cast<int64_t>(at::kBFloat16))}, "out_dtype"), "dtype bf16");
  EXPECT_EQ(text_of({IValue(static_cast<int64_t>(at::kStrided))}, "layout"), "layout strided");
  EXPECT_EQ(text_of({IValue(static_cast<int64_t>(at::MemoryFormat::ChannelsLast))}, "memory_format"),
            "memory_format channels_last");
  EXPECT_EQ(text_of({IValue(int64_t{6})}, "dim"), "6");
  EXPECT_EQ(text_of({IValue(int64_t{6})}, "mydtype"), "6");
  EXPECT_EQ(text_of({IValue(int64_t{1000})}, "dtype"), "1000");
}

TEST(Text, EveryEnumValueRoundTrips) {
  for (const std::string parameter : {"dtype", "layout", "memory_format"})
    for (int64_t value = -1; value < 60; ++value)
      EXPECT_EQ(round_trip({IValue(value)}, parameter).constant(), IValue(value)) << parameter;
}

TEST(Text, OddNamesAreQuoted) {
  Graph graph;
  graph.values.push_back({.name = "1 x\"", .kind = ValueKind::kTensor, .producer = {}, .meta = {}, .expr = {}});
  graph.values.push_back({.name = "y.z", .kind = ValueKind::kTensor, .producer = NodeId(0), .meta = {}, .expr = {}});
  graph.inputs.push_back({.value = ValueId(0), .target = "", .name = "the input", .constant = {}});
  graph.inputs.push_back({.kind = GraphInput::Kind::kUserConstant, .value = {}, .target = "", .name = "a=b", .constant = 3});
  graph.nodes.push_back({.name = "a b",
                         .kind = NodeKind::kScalar,
                         .target = "f",
                         .inputs = {{"an arg", {ValueId(0)}}},
                         .outputs = {{false, {ValueId(1)}}}});
  graph.outputs.push_back({.value = {ValueId(1)}, .target = ""});
  graph.symbol_ranges["s 0"] = {};
  verify(graph);
  const std::string text = to_text(graph);
  EXPECT_THAT(text, HasSubstr(R"(%"1 x\"" as "the input", "a=b" = 3)"));
  EXPECT_THAT(text, HasSubstr(R"(%y.z = scalar "f"("an arg"=%"1 x\"") as "a b")"));
  const Graph again = parse_graph(text);
  expect_equal(again, graph);
  EXPECT_EQ(to_text(again), text);
}

TEST(Text, TypesSayStridesOffsetAndDeviceUnlessTheyAreTheDefault) {
  const char* text = R"(graph(
      %a: f16[2, s0, 3],
      %b: c64[2, 3] strides [1, 2] offset (s0 + 4) device cuda:1,
      %c: b8[],
      %d: Float8_e4m3fn[0, 5],
      %e: f32[2, s1, s0, 4],
      %f: f32[s0, s0//2, 3]):
  return ()
)";
  const Graph graph = parse_graph(text);
  EXPECT_EQ(to_text(graph), text);
  const auto stride = [&](size_t value, size_t dim) { return graph.values[value].meta->strides[dim].to_string(); };
  EXPECT_EQ(stride(0, 0), "3*s0");
  EXPECT_EQ(stride(3, 0), "5");
  EXPECT_EQ(stride(4, 0), "4*s0*s1");
  EXPECT_EQ(stride(5, 0), "3*(s0//2)");
  EXPECT_EQ(graph.values[1].meta->device, at::Device(at::kCUDA, 1));
  EXPECT_EQ(graph.values[1].meta->storage_offset.to_string(), "s0 + 4");
  // As torch.export writes the strides of a contiguous tensor.
  EXPECT_EQ(graph.values[4].meta->strides[0], Expr::parse("Mul(Integer(4), Symbol('s0'), Symbol('s1'))"));
}

TEST(Text, RangesMayBeOpen) {
  const char* text = "graph():\n  where s0 <= 7\n  where -2 <= s1\n  where s2\n  return ()\n";
  const Graph graph = parse_graph(text);
  EXPECT_EQ(to_text(graph), text);
  EXPECT_EQ(graph.symbol_ranges.at("s1").min, -2);
  EXPECT_EQ(graph.symbol_ranges.at("s1").max, std::nullopt);
}

TEST(Text, AConstantThatNoFileHoldsIsShownAsItsKind) { EXPECT_EQ(text_of({IValue(at::ones({1}))}), "<Tensor>"); }

struct Mistake {
  const char* text;
  const char* where;
  const char* what;
};

TEST(Text, MistakesAreReportedWithLineAndColumn) {
  static constexpr Mistake kMistakes[] = {
      {"", "line 1, column 1", "expected 'graph'"},
      {"graph(", "line 1, column 7", "expected a name"},
      {"graph(%x, a = %x):", "line 1, column 15", "expected a constant"},
      {"graph(%x: f99[1]):", "line 1, column 11", "'f99' is no dtype"},
      {"graph(%x: f32[1)):", "line 1, column 15", ""},
      {"graph(%x: f32[1 +]):", "line 1, column 15", "position"},
      {"graph(%x: f32[1], %x):", "line 1, column 19", "value %x is made twice"},
      {"graph(%x) :\n  %y = aten::relu(self=%q)\n  return ()", "line 2, column 24", "value %q is used before it is made"},
      {"graph(%x):\n  %y = aten::relu(self=%y)\n  return ()", "line 2, column 24", "value %y is used before it is made"},
      {"graph(%x):\n  %x = aten::relu(self=%x)\n  return ()", "line 2, column 3", "value %x is made twice"},
      {"graph(%x):\n  %y = relu(%x)\n  return ()", "line 2, column 8", "'relu' is neither an operator"},
      {"graph(%x):\n  %y = aten::relu(self=%x\n  return ()", "line 3, column 3", "expected ','"},
      {"graph(%x):\n  %y = aten::relu(self=nope)\n  return ()", "line 2, column 24", "'nope' is no constant"},
      {"graph(%x):\n  %y = aten::relu(dtype=dtype f33)\n  return ()", "line 2, column 31", "'f33' is unknown"},
      {"graph(%x):\n  %y = aten::relu(d=device moon:1)\n  return ()", "line 2, column 28", "'moon:1' is no device"},
      {"graph(%x):\n  %y = aten::relu(s=\"abc)\n  return ()", "line 2, column 21", "the string is not closed"},
      {"graph(%x):\n  %y = aten::relu(s=\"\\q\")\n  return ()", "line 2, column 22", "unknown escape"},
      {"graph(%x):\n  %y = aten::relu(s=\"\\x0g\")\n  return ()", "line 2, column 22", "two hexadecimal digits"},
      {"graph(%x):\n  %y = aten::relu(s=12345678901234567890)\n  return ()", "line 2, column 21", "does not fit"},
      {"graph(%x):\n  %y = aten::relu(s=1.5.5)\n  return ()", "line 2, column 21", "expected a number"},
      {"graph(%x):\n  %y = aten::relu(s=cat[])\n  return ()", "line 2, column 24", "no lists of cat"},
      {"graph(%x):\n  %\"\" = aten::relu()\n  return ()", "line 2, column 3", "a value needs a name"},
      {"graph(%x):\n  where 1.5 <= s0\n  return ()", "line 2, column 9", "expected an integer"},
      {"graph(%x):\n  where s0\n  where s0\n  return ()", "line 3, column 9", "symbol s0 has two ranges"},
      {"graph(%x = weight \"w\"):\n  return ()", "line 1, column 12", "expected 'parameter'"},
      {"graph(%x):\n  %y = aten::relu(self=%x)\n", "line 3, column 1", "expected 'return'"},
      {"graph(%x):\n  return (%x) return", "line 2, column 15", "unexpected text"},
      {"graph(%x):\n  aten::f([[[[[[[[[[[[[[[[[[[[", "line 2, column", "nested too deeply"},
  };
  for (const Mistake& mistake : kMistakes) {
    try {
      parse_graph(mistake.text);
      ADD_FAILURE() << mistake.text << " parsed";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBadFile) << mistake.text;
      EXPECT_THAT(error.what(), HasSubstr(mistake.where)) << mistake.text;
      EXPECT_THAT(error.what(), HasSubstr(mistake.what)) << mistake.text;
    }
  }
}

TEST(Text, EveryTruncationOfAGraphIsRefused) {
  const std::string text = kExample;
  for (size_t length = 0; length + 2 < text.size(); ++length) EXPECT_THROW(parse_graph(text.substr(0, length)), Error) << length;
}

TEST(Text, WhatParsesIsAlsoVerified) {
  EXPECT_THROW(parse_graph("graph(%x): return (buffer \"n\" = %x)"), Error);
  EXPECT_THROW(parse_graph("graph(%x): aten::f(%x) as a aten::f(%x) as a return ()"), Error);
}

}  // namespace
}  // namespace tenure
