// Nodes, arguments and values of exported programs, read from files that torch.export.save wrote.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tenure/graph/operator.h"
#include "tests/archive/support.h"

namespace tenure::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Graph graph_of(const std::string& name) { return read_archive(archive_path(name)).graph; }

const Value& value_named(const Graph& graph, const std::string& name) {
  for (const Value& value : graph.values) {
    if (value.name == name) return value;
  }
  throw std::runtime_error("no value " + name);
}

const TensorMeta& node_meta(const Graph& graph, const std::string& target) {
  return graph.value(node_of(graph, target).outputs.at(0).values.at(0)).meta.value();
}

int64_t evaluate(const Expr& expr, const std::map<std::string, int64_t, std::less<>>& symbols) {
  return expr
      .evaluate([&](std::string_view symbol) -> std::optional<int64_t> {
        const auto found = symbols.find(symbol);
        return found == symbols.end() ? std::nullopt : std::optional(found->second);
      })
      .value();
}

TEST(ReadNodes, AreNamedAsTheDispatcherNamesThem) {
  const Graph graph = graph_of("small");
  std::vector<std::string> targets;
  for (const Node& node : graph.nodes) targets.push_back(node.target);
  EXPECT_THAT(targets, ElementsAre("aten::matmul", "aten::mul.Tensor", "aten::add.Tensor"));
  EXPECT_EQ(graph.nodes[1].name, "mul");
  EXPECT_EQ(name_of(graph, argument_of(graph.nodes[1], "self")), "matmul");
}

TEST(ReadNodes, ArgumentsFitTheSchemasOfTheirOperators) {
  for (const char* name :
       {"small", "dynamic", "data_dependent", "lists", "constants", "resized", "shared", "in_place", "mutations", "nested"}) {
    const Graph graph = graph_of(name);
    for (const Node& node : graph.nodes) {
      if (node.kind == NodeKind::kOperator) {
        EXPECT_NO_THROW(resolve_call(node)) << name << " " << node.name;
      }
    }
  }
}

TEST(ReadNodes, PythonFunctionsOnSizesAreScalarNodes) {
  const Graph graph = graph_of("dynamic");
  for (const char* target : {"_operator.floordiv", "_operator.mul", "_operator.add", "_operator.mod", "torch.sym_max"}) {
    EXPECT_EQ(node_of(graph, target).kind, NodeKind::kScalar) << target;
  }
  const Node& floordiv = node_of(graph, "_operator.floordiv");
  EXPECT_EQ(name_of(graph, argument_of(floordiv, "a")), "sym_size_int_1");
  EXPECT_EQ(argument_of(floordiv, "b").constant().toInt(), 2);
  EXPECT_EQ(node_of(graph, "aten::sym_size.int").kind, NodeKind::kOperator);
}

TEST(ReadValues, SizesAreExpressionsOverSymbols) {
  const Graph graph = graph_of("dynamic");
  const std::string rows(value_named(graph, "x").meta->sizes[0].symbol().value());
  EXPECT_EQ(graph.symbol_ranges.at(rows).min, 3);
  EXPECT_EQ(graph.symbol_ranges.at(rows).max, 50);
  EXPECT_EQ(value_named(graph, "x").meta->sizes[1].constant(), 3);
  const TensorMeta& padded = *value_named(graph, "pad").meta;
  EXPECT_EQ(evaluate(padded.sizes[0], {{rows, 7}}), 7 + 1 + 3);
  EXPECT_EQ(padded.dtype, at::kFloat);
  EXPECT_EQ(padded.device, at::Device(at::kCPU));
  const Value& add = value_named(graph, "add");
  EXPECT_EQ(add.kind, ValueKind::kSymInt);
  EXPECT_EQ(evaluate(add.expr, {{rows, 7}}), 15);
}

TEST(ReadValues, DataDependentSizesAreSymbolsOfTheirOwn) {
  const Graph graph = graph_of("data_dependent");
  const std::string found(value_named(graph, "nonzero").meta->sizes[0].symbol().value());
  EXPECT_EQ(graph.symbol_ranges.at(found).min, 0);
  EXPECT_EQ(graph.symbol_ranges.at(found).max, 6);
  EXPECT_EQ(value_named(graph, "item").kind, ValueKind::kSymInt);
  EXPECT_EQ(value_named(graph, "item_1").kind, ValueKind::kSymFloat);
  EXPECT_EQ(value_named(graph, "ge_1").kind, ValueKind::kSymBool);
  const Node& check = node_of(graph, "aten::_assert_scalar");
  EXPECT_EQ(name_of(graph, argument_of(check, "self")), "ge_1");
  EXPECT_TRUE(check.outputs.empty());
  const Argument& size = argument_of(node_of(graph, "aten::ones"), "size");
  ASSERT_TRUE(size.is_list());
  EXPECT_EQ(name_of(graph, size.list()[0]), "item");
}

TEST(ReadValues, SizesMayGoThroughFloatingPoint) {
  const Graph graph = graph_of("resized");
  const std::string rows(value_named(graph, "x").meta->sizes[2].symbol().value());
  EXPECT_EQ(evaluate(node_meta(graph, "aten::upsample_nearest2d.vec").sizes[2], {{rows, 9}}), 13);
  const Node& fill = node_of(graph, "aten::full");
  EXPECT_EQ(graph.value(argument_of(fill, "fill_value").value()).kind, ValueKind::kSymFloat);
}

TEST(ReadValues, SizesOfUnknownFunctionsAreUnknownUntilTheRun) {
  const Graph graph =
      read_archive(replace_in(archive_bytes("resized"), "models/model.json", "TruncToInt(", "OfTomorrow("), "test.pt2").graph;
  const TensorMeta& meta = node_meta(graph, "aten::upsample_nearest2d.vec");
  ASSERT_TRUE(meta.sizes[2].symbol().has_value());
  EXPECT_FALSE(graph.symbol_ranges.contains(std::string(*meta.sizes[2].symbol())));
  EXPECT_EQ(meta.sizes[3].constant(), 12);
}

TEST(ReadArguments, ListsMayMixSizesAndNumbers) {
  const Graph graph = graph_of("dynamic");
  const Argument::List& pad = argument_of(node_of(graph, "aten::pad"), "pad").list();
  ASSERT_EQ(pad.size(), 4u);
  EXPECT_EQ(pad[2].constant().toInt(), 1);
  EXPECT_EQ(name_of(graph, pad[3]), "floordiv");
}

TEST(ReadArguments, ListsOfTensorsMayHoldNone) {
  const Graph graph = graph_of("lists");
  const Argument::List& joined = argument_of(node_of(graph, "aten::cat"), "tensors").list();
  ASSERT_EQ(joined.size(), 2u);
  EXPECT_EQ(name_of(graph, joined[1]), "getitem_2");
  const Argument::List& indices = argument_of(node_of(graph, "aten::index.Tensor"), "indices").list();
  ASSERT_EQ(indices.size(), 2u);
  EXPECT_TRUE(indices[0].constant().isNone());
  EXPECT_EQ(name_of(graph, indices[1]), "index");
}

TEST(ReadOutputs, AListOfTensorsIsOneOutputAndSeveralResultsAreSeveral) {
  const Graph graph = graph_of("lists");
  const Node& split = node_of(graph, "aten::split_with_sizes");
  ASSERT_EQ(split.outputs.size(), 1u);
  EXPECT_TRUE(split.outputs[0].is_list);
  EXPECT_EQ(split.outputs[0].values.size(), 3u);
  const Node& max = node_of(graph, "aten::max.dim");
  ASSERT_EQ(max.outputs.size(), 2u);
  EXPECT_FALSE(max.outputs[1].is_list);
  EXPECT_EQ(graph.value(max.outputs[1].values[0]).meta->dtype, at::kLong);
}

TEST(ReadArguments, EnumsAreThoseOfC10) {
  const Graph graph = graph_of("constants");
  EXPECT_EQ(argument_of(node_of(graph, "aten::to.dtype"), "dtype").constant().toScalarType(), at::kDouble);
  const Node& zeros = node_of(graph, "aten::zeros");
  EXPECT_EQ(argument_of(zeros, "dtype").constant().toScalarType(), at::kBFloat16);
  EXPECT_EQ(argument_of(zeros, "layout").constant().toLayout(), at::kStrided);
  EXPECT_EQ(argument_of(zeros, "device").constant().toDevice(), at::Device(at::kCPU));
  EXPECT_EQ(argument_of(node_of(graph, "aten::contiguous"), "memory_format").constant().toMemoryFormat(),
            at::MemoryFormat::ChannelsLast);
  EXPECT_EQ(argument_of(node_of(graph, "aten::clone"), "memory_format").constant().toMemoryFormat(), at::MemoryFormat::Preserve);
}

TEST(ReadArguments, NumbersStringsAndNoneAreConstants) {
  const Graph graph = graph_of("constants");
  EXPECT_EQ(argument_of(node_of(graph, "aten::einsum"), "equation").constant().toStringRef(), "bchw,bchw->bc");
  const Node& resize = node_of(graph, "aten::upsample_bilinear2d.vec");
  EXPECT_TRUE(argument_of(resize, "output_size").constant().isNone());
  EXPECT_FALSE(argument_of(resize, "align_corners").constant().toBool());
  EXPECT_THAT(argument_of(resize, "scale_factors").constant().toDoubleVector(), ElementsAre(2.0, 1.5));
  const Node& full = node_of(graph, "aten::full");
  EXPECT_EQ(argument_of(full, "fill_value").constant().toComplexDouble(), c10::complex<double>(1, 2));
  EXPECT_THAT(argument_of(full, "size").constant().toIntVector(), ElementsAre(2));
}

TEST(ReadNodes, CustomOperatorsNeedNoLibraryToBeRead) {
  const Graph graph = graph_of("nms");
  const Node& nms = node_of(graph, "torchvision::nms");
  EXPECT_EQ(nms.kind, NodeKind::kOperator);
  EXPECT_DOUBLE_EQ(argument_of(nms, "iou_threshold").constant().toDouble(), 0.5);
}

TEST(ReadNodes, HigherOrderOperatorsAreRefusedByName) {
  const Error error = error_of([] { graph_of("cond"); });
  EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  EXPECT_THAT(error.what(), HasSubstr("cond.pt2"));
  EXPECT_THAT(error.what(), HasSubstr("node cond"));
}

TEST(ReadNodes, AnotherSchemaMajorVersionIsRefusedAndANewerMinorIsNot) {
  const auto small = archive_bytes("small");
  const std::string version = R"("schema_version": {"major": 8, "minor": 17})";
  const Error error =
      error_of_reading(replace_in(small, "models/model.json", version, R"("schema_version": {"major": 9, "minor": 0})"));
  EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  EXPECT_THAT(error.what(), HasSubstr("schema version 9"));
  EXPECT_NO_THROW(
      read_archive(replace_in(small, "models/model.json", version, R"("schema_version": {"major": 8, "minor": 99})"), "newer.pt2"));
}

TEST(ReadArguments, WhatCannotRunIsRefusedByNodeAndArgument) {
  const auto small = archive_bytes("small");
  const std::string other = R"("name": "other", "arg": {"as_tensor": {"name": "b_scale"}})";
  for (const std::string& replacement : std::vector<std::string>{
           R"({"as_operator": "torch.ops.aten.sin.default"})", R"({"as_custom_obj": {"name": "o", "class_fqn": "c"}})",
           R"({"as_string_to_argument": {"k": {"as_int": 1}}})", R"({"as_of_tomorrow": 1})"}) {
    const Error error =
        error_of_reading(replace_in(small, "models/model.json", other, R"("name": "other", "arg": )" + replacement));
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported) << replacement;
    EXPECT_THAT(error.what(), HasSubstr("node mul: argument other of aten::mul.Tensor")) << replacement;
  }
}

TEST(ReadArguments, AValueThatNothingMakesIsRefusedByName) {
  const Error error = error_of_reading(replace_in(archive_bytes("small"), "models/model.json",
                                                  R"("name": "other", "arg": {"as_tensor": {"name": "b_scale"}})",
                                                  R"("name": "other", "arg": {"as_tensor": {"name": "add"}})"));
  EXPECT_EQ(error.code(), ErrorCode::kBadFile);
  EXPECT_THAT(error.what(), HasSubstr("value add is used before anything makes it"));
}

TEST(ReadNodes, UnknownFunctionsAreRefusedByName) {
  const Error error = error_of_reading(replace_in(archive_bytes("small"), "models/model.json",
                                                  R"("target": "torch.ops.aten.matmul.default")", R"("target": "os.system")"));
  EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  EXPECT_THAT(error.what(), HasSubstr("node matmul"));
  EXPECT_THAT(error.what(), HasSubstr("os.system"));
}

}  // namespace
}  // namespace tenure::test
