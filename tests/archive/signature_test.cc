// Inputs and outputs of exported programs: weights, mutations, constants, structure.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/archive/support.h"

namespace tenure::test {
namespace {

using ::testing::HasSubstr;

TEST(ReadSignature, WeightsAndUserInputsAreInputsOfTheGraph) {
  const ProgramFile file = read_archive(archive_path("small"));
  const auto& inputs = file.graph.inputs;
  ASSERT_EQ(inputs.size(), 4u);
  EXPECT_EQ(inputs[0].kind, GraphInput::Kind::kParameter);
  EXPECT_EQ(inputs[0].target, "weight");
  EXPECT_EQ(inputs[1].kind, GraphInput::Kind::kBuffer);
  EXPECT_EQ(inputs[1].target, "scale");
  EXPECT_EQ(inputs[2].kind, GraphInput::Kind::kConstant);
  EXPECT_EQ(inputs[2].target, "shift");
  EXPECT_EQ(inputs[3].kind, GraphInput::Kind::kUser);
  EXPECT_EQ(inputs[3].name, "x");
  EXPECT_FALSE(file.graph.value(inputs[3].value).producer.valid());
  EXPECT_FALSE(file.has_manifest);
}

TEST(ReadSignature, InPlaceOperatorsStayNodes) {
  const ProgramFile file = read_archive(archive_path("in_place"));
  EXPECT_EQ(node_of(file.graph, "aten::add_.Tensor").inputs.size(), 2u);
  ASSERT_EQ(file.graph.outputs.size(), 1u);
  EXPECT_EQ(file.graph.outputs[0].kind, GraphOutput::Kind::kUser);
}

TEST(ReadSignature, ChangedBuffersAndInputsAreOutputsThatNameThem) {
  const ProgramFile file = read_archive(archive_path("mutations"));
  const auto& outputs = file.graph.outputs;
  ASSERT_EQ(outputs.size(), 3u);
  EXPECT_EQ(outputs[0].kind, GraphOutput::Kind::kBufferMutation);
  EXPECT_EQ(outputs[0].target, "count");
  EXPECT_EQ(name_of(file.graph, outputs[0].value), "add");
  EXPECT_EQ(outputs[1].kind, GraphOutput::Kind::kInputMutation);
  EXPECT_EQ(outputs[1].target, "x");
  EXPECT_EQ(outputs[2].kind, GraphOutput::Kind::kUser);
}

TEST(ReadSignature, ConstantResultsAreConstants) {
  const Graph graph = read_archive(archive_path("nested")).graph;
  ASSERT_EQ(graph.outputs.size(), 5u);
  EXPECT_EQ(name_of(graph, graph.outputs[0].value), "mul");
  EXPECT_TRUE(graph.outputs[1].value.constant().isNone());
  EXPECT_EQ(graph.outputs[2].value.constant().toInt(), 5);
  EXPECT_EQ(graph.outputs[4].value.constant().toStringRef(), "text");
}

TEST(ReadSignature, ConstantInputsKeepTheirNameAndValue) {
  const Graph graph = read_archive(archive_path("number_input")).graph;
  ASSERT_EQ(graph.inputs.size(), 3u);
  EXPECT_EQ(graph.inputs[1].kind, GraphInput::Kind::kUserConstant);
  EXPECT_EQ(graph.inputs[1].name, "flag");
  EXPECT_TRUE(graph.inputs[1].constant.isNone());
  EXPECT_FALSE(graph.inputs[1].value.valid());
  const Graph nested = read_archive(archive_path("nested")).graph;
  EXPECT_EQ(nested.inputs[1].name, "scale");
  EXPECT_DOUBLE_EQ(nested.inputs[1].constant.toDouble(), 1.5);
}

TEST(ReadSignature, NumbersThatMayChangeAreInputs) {
  const Graph graph = read_archive(archive_path("number_input")).graph;
  EXPECT_EQ(graph.inputs[2].kind, GraphInput::Kind::kUser);
  EXPECT_EQ(graph.inputs[2].name, "times");
  EXPECT_EQ(graph.value(graph.inputs[2].value).kind, ValueKind::kSymInt);
  EXPECT_TRUE(graph.value(graph.inputs[2].value).expr.symbol().has_value());
}

TEST(ReadSignature, TheStructureOfInputsAndResultsIsKeptForPython) {
  const ProgramFile file = read_archive(archive_path("nested"));
  EXPECT_THAT(file.in_spec, HasSubstr("scale"));
  EXPECT_THAT(file.out_spec, HasSubstr("pair"));
}

TEST(ReadSignature, TrainingOutputsAreRefused) {
  const Error error = error_of_reading(replace_in(archive_bytes("small"), "models/model.json",
                                                  R"({"user_output": {"arg": {"as_tensor": {"name": "add"}}}})",
                                                  R"({"loss_output": {"arg": {"name": "add"}}})"));
  EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  EXPECT_THAT(error.what(), HasSubstr("output 0"));
}

TEST(ReadSignature, ScriptObjectsAreRefusedByName) {
  const Error error = error_of_reading(
      replace_in(archive_bytes("small"), "models/model.json",
                 R"({"buffer": {"arg": {"name": "b_scale"}, "buffer_name": "scale", "persistent": true}})",
                 R"({"custom_obj": {"arg": {"name": "b_scale", "class_fqn": "c"}, "custom_obj_name": "tokenizer"}})"));
  EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  EXPECT_THAT(error.what(), HasSubstr("tokenizer"));
}

TEST(ChooseModel, TakesTheOneNamedModel) {
  const ProgramFile file = read_archive(archive_path("two_models"));
  EXPECT_TRUE(file.weights.contains("weight"));
  EXPECT_EQ(file.graph.inputs.size(), 4u);
}

TEST(ChooseModel, NamesTheChoicesWhenThereIsNoneOfThatName) {
  const Error error = error_of_reading(archive_bytes("unnamed_models"));
  EXPECT_THAT(error.what(), HasSubstr("first, second"));
}

}  // namespace
}  // namespace tenure::test
