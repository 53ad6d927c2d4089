// What is OpenVINO's own. The rest is in the conformance suite.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include "tenure/base/error.h"
#include "tenure/engine/registry.h"
#include "tests/engine/parts.h"
#include "tests/error_of.h"

namespace tenure::testing {
namespace {

using ::testing::HasSubstr;

Error load_error(const EngineSpec& spec) {
  return error_of([&] { find_backend("openvino").load(spec, part_blob("openvino", "relu"), {}); });
}

TEST(OpenVino, RefusesFloat64SinceItWouldComputeItInFloat32) {
  EngineSpec spec = part_spec("openvino", "relu");
  spec.inputs[0].dtype = at::kDouble;
  const Error error = load_error(spec);
  EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  EXPECT_THAT(error.what(), HasSubstr("engine \"relu\": input 0 \"input_0\""));
}

TEST(OpenVino, RefusesDtypesThatItDoesNotHave) {
  EngineSpec spec = part_spec("openvino", "relu");
  spec.outputs[0].dtype = at::kComplexFloat;
  EXPECT_EQ(load_error(spec).code(), ErrorCode::kUnsupported);
}

TEST(OpenVino, RefusesAManifestWhoseDtypeOrSizesTheBlobContradicts) {
  EngineSpec wrong_dtype = part_spec("openvino", "relu");
  wrong_dtype.inputs[0].dtype = at::kInt;
  EXPECT_EQ(load_error(wrong_dtype).code(), ErrorCode::kBadFile);
  EngineSpec wrong_size = part_spec("openvino", "relu");
  wrong_size.outputs[0].sizes[1] = Expr(5);
  const Error error = load_error(wrong_size);
  EXPECT_EQ(error.code(), ErrorCode::kBadFile);
  EXPECT_THAT(error.what(), HasSubstr("the manifest says Float [3, 5], the blob f32 [3, 4]"));
}

TEST(OpenVino, TakesItsOwnPropertiesAsOptions) {
  EngineSpec spec = part_spec("openvino", "linear");
  spec.options = {{"INFERENCE_NUM_THREADS", "1"}, {"NUM_STREAMS", "1"}};
  const Engine engine(spec, find_backend("openvino").load(spec, part_blob("openvino", "linear"), {}));
  const auto context = engine.make_context();
  const std::vector<at::Tensor> inputs = part("linear").make_inputs(0);
  const Fenced output({2, 4}, at::kFloat);
  context->bind_input(0, inputs[0]);
  context->bind_output(0, output.tensor());
  context->enqueue();
  EXPECT_TRUE(at::allclose(output.tensor(), part("linear").reference(inputs)[0], 1e-5, 1e-5));
}

TEST(OpenVino, LeavesTheCallersThreadOnItsCores) {
  const auto cores = [] {
    cpu_set_t set;
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof set, &set);
    return CPU_COUNT(&set);
  };
  const int before = cores();
  const auto engine = load_part("openvino", "relu");
  const auto context = engine->make_context();
  const at::Tensor x = at::zeros({3, 4}), y = at::zeros({3, 4});
  context->bind_input(0, x);
  context->bind_output(0, y);
  context->enqueue();
  EXPECT_EQ(cores(), before);
}

}  // namespace
}  // namespace tenure::testing
