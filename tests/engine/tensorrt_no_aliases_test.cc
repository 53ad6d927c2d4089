// A TensorRT whose engines never write outputs into inputs.
#include "tests/engine/tensorrt_fixture.h"

namespace tenure::testing {

TEST_F(TensorRtEngine, AnOutputThatIsToLieInTheMemoryOfAnInputIsRefused) {
  EngineSpec spec = spec_of("two_outputs");
  spec.outputs[0].aliases_input = 0;
  EXPECT_EQ(error_of([&] { load(spec); }).code(), ErrorCode::kUnsupported);
}

}  // namespace tenure::testing
