// A TensorRT whose engines name the inputs that outputs are written into.
#include "tests/engine/tensorrt_fixture.h"

namespace tenure::testing {

TEST_F(TensorRtEngine, AnOutputInTheMemoryOfAnInputIsBoundThereOrRefused) {
  EngineSpec spec = spec_of("two_outputs");
  spec.outputs[0].aliases_input = 0;
  const trt::BlobOptions options = {.aliases = {{"output_0", "input_0"}}};
  const auto engine = load(spec, options);
  const auto context = engine->make_context();
  const Tensors inputs = aligned(part("two_outputs").make_inputs(0)), want = part("two_outputs").reference(inputs);
  const at::Tensor product = aligned(at::zeros_like(want[1]));
  run(*context, inputs, {inputs[0], product});
  EXPECT_TRUE(at::equal(inputs[0], want[0]));
  EXPECT_TRUE(at::equal(product, want[1]));
  const at::Tensor elsewhere = aligned(at::zeros_like(want[0]));
  EXPECT_EQ(error_of([&] { run(*context, inputs, {elsewhere, product}); }).code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(error_of([&] { load(spec_of("two_outputs"), options); }).code(), ErrorCode::kBadFile) << "the manifest is silent";
  EXPECT_EQ(error_of([&] { load(spec); }).code(), ErrorCode::kUnsupported) << "the blob does not do it";
}

}  // namespace tenure::testing
