// TensorRT, which is not TensorRT-RTX.
#include <gmock/gmock.h>

#include "tests/engine/tensorrt_fixture.h"

namespace tenure::testing {

TEST_F(TensorRtEngine, ARuntimeCacheIsRefusedWhereEnginesHoldTheirKernels) {
  EngineSpec spec = spec_of("relu");
  spec.options["runtime_cache"] = "kernels.cache";
  const Error error = error_of([&] { load(spec); });
  EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  EXPECT_THAT(error.what(), ::testing::HasSubstr("runtime_cache is an option of TensorRT-RTX"));
}

}  // namespace tenure::testing
