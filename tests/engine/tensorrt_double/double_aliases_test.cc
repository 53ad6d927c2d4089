// The double of a version whose engines name the inputs that outputs are written into.
#include "tests/engine/tensorrt_double/fixture.h"

namespace tenure::testing::trt {

TEST_F(TensorRtDouble, WantsAnAliasedOutputWhereItsInputIs) {
  auto& context = load("identity", {.aliases = {{"output_1", "input_0"}}});
  EXPECT_STREQ(engine_->getAliasedInputTensor("output_1"), "input_0");
  EXPECT_EQ(engine_->getAliasedInputTensor("output_0"), nullptr);
  const at::Tensor x = at::randn({5, 4});
  const Aligned in(x), out(at::zeros_like(x));
  bind_input("input_0", in);
  context.setTensorAddress("output_0", out.data);
  context.setTensorAddress("output_1", out.data);
  expect_refused("output_1 is not bound to the address of input_0");
  context.setTensorAddress("output_1", in.data);
  EXPECT_TRUE(context.enqueueV3(kStream));
  EXPECT_TRUE(at::equal(out.tensor, x));
  EXPECT_TRUE(at::equal(in.tensor, x + 1));
}

}  // namespace tenure::testing::trt
