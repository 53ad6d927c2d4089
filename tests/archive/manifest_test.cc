// Engines and the manifest of archives that Tenure wrote.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/archive/support.h"

namespace tenure::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kManifest[] = "data/tenure/manifest.json";

TEST(ReadManifest, GivesTheEngineItsBindingsOptionsAndBlob) {
  const ProgramFile file = read_archive(archive_path("engines"));
  EXPECT_TRUE(file.has_manifest);
  EXPECT_THAT(file.custom_op_libraries, ElementsAre("torchvision"));
  ASSERT_EQ(file.engines.size(), 1u);
  const EngineSpec& spec = file.engines[0].spec;
  EXPECT_EQ(spec.name, "engine_0");
  EXPECT_EQ(spec.backend, "null");
  EXPECT_EQ(spec.options.at("precision"), "f32");
  ASSERT_EQ(spec.inputs.size(), 2u);
  EXPECT_EQ(spec.inputs[0].sizes[0].symbol(), "i0_0");
  EXPECT_EQ(spec.inputs[0].sizes[1].constant(), 3);
  ASSERT_EQ(spec.outputs.size(), 2u);
  EXPECT_EQ(spec.outputs[0].aliases_input, 1u);
  EXPECT_EQ(spec.outputs[1].aliases_input, std::nullopt);
  EXPECT_EQ(spec.outputs[1].dtype, at::kBFloat16);
  EXPECT_EQ(spec.outputs[1].sizes[0].evaluate([](std::string_view) { return 4; }), 5);
  ASSERT_EQ(file.engines[0].blob.size(), 200u);
  EXPECT_EQ(file.engines[0].blob[100], 100);
}

TEST(ReadManifest, EngineCallsAreNodesWithOneArgumentAndOneOutputATensor) {
  const Graph graph = read_archive(archive_path("engines")).graph;
  const Node& call = node_of(graph, "engine_0");
  EXPECT_EQ(call.kind, NodeKind::kEngine);
  ASSERT_EQ(call.inputs.size(), 2u);
  EXPECT_EQ(name_of(graph, call.inputs[0].value), "add");
  EXPECT_EQ(name_of(graph, call.inputs[1].value), "x");
  ASSERT_EQ(call.outputs.size(), 2u);
  EXPECT_FALSE(call.outputs[0].is_list);
  EXPECT_TRUE(call.outputs[1].values[0].valid());
}

TEST(ReadManifest, ANewerFormatIsRefusedWithItsWriter) {
  const Error error = error_of_reading(archive_bytes("newer_manifest"));
  EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  EXPECT_THAT(error.what(), HasSubstr("format version 2"));
  EXPECT_THAT(error.what(), HasSubstr("Tenure 9.0"));
}

TEST(ReadManifest, AMissingBlobIsNamed) {
  const Error error = error_of_reading(archive_bytes("missing_blob"));
  EXPECT_EQ(error.code(), ErrorCode::kBadFile);
  EXPECT_THAT(error.what(), HasSubstr("data/tenure/engines/engine_0.blob is missing"));
}

TEST(ReadManifest, AnEngineThatIsCalledMustBeThere) {
  for (const char* name : {"no_manifest", "other_engines"}) {
    const Error error = error_of_reading(archive_bytes(name));
    EXPECT_EQ(error.code(), ErrorCode::kBadFile) << name;
    EXPECT_THAT(error.what(), HasSubstr("node call_engine calls engine engine_0")) << name;
  }
}

TEST(ReadManifest, ContradictionsAreRefused) {
  const auto engines = archive_bytes("engines");
  EXPECT_EQ(error_of_reading(archive_bytes("wrong_type")).code(), ErrorCode::kBadFile);
  const std::string dynamic = R"-("sizes": ["Symbol('i1_0', integer=True)")-";
  const std::vector<std::pair<std::string, std::string>> lies = {
      {R"("format_version": 1)", R"("format_version": "1")"},
      {R"("format_version": 1)", R"("format_version": 1.5)"},
      {R"("format_version": 1, )", ""},
      {R"("custom_op_libraries": ["torchvision"])", R"("custom_op_libraries": [5])"},
      {R"("blob_bytes": 200)", R"("blob_bytes": 199)"},
      {R"("blob_bytes": 200)", R"("blob_bytes": -1)"},
      {R"("backend": "null")", R"("backend": 5)"},
      {R"("dtype": 7)", R"("dtype": true)"},
      {dynamic, R"-("sizes": ["Symbol('i2_0', integer=True)")-"},
      {dynamic, R"-("sizes": ["Symbol('i1_0'")-"},
      {dynamic, R"("sizes": [3)"},
      {R"("aliases_input": 1)", R"("aliases_input": 2)"},
      {R"("aliases_input": 1)", R"("aliases_input": -1)"},
      {R"("name": "b")", R"("name": "a")"},
      {R"("options": {"precision": "f32"})", R"("options": {"precision": 32})"},
      {R"("name": "engine_0")", R"("name": "")"}};
  for (const auto& [from, to] : lies) {
    const Error error = error_of_reading(replace_in(engines, kManifest, from, to));
    EXPECT_EQ(error.code(), ErrorCode::kBadFile) << to << " " << error.what();
    EXPECT_THAT(error.what(), HasSubstr(kManifest)) << to;
  }
}

TEST(ReadManifest, UnknownDtypesAreUnsupported) {
  const Error error = error_of_reading(replace_in(archive_bytes("engines"), kManifest, R"("dtype": 7)", R"("dtype": 77)"));
  EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace tenure::test
