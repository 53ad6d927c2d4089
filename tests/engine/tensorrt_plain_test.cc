// TensorRT, which is not TensorRT-RTX.
#include <gmock/gmock.h>

#include "tests/engine/tensorrt_fixture.h"

namespace tenure::testing {

TEST_F(TensorRtEngine, OptionsOfKernelsThatAreCompiledHereAreRefusedWhereEnginesHoldTheirKernels) {
  for (const char* name : {"runtime_cache", "shape_specialization"}) {
    EngineSpec spec = spec_of("relu");
    spec.options[name] = "lazy";
    const Error error = error_of([&] { load(spec); });
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_THAT(error.what(), ::testing::HasSubstr(std::string(name) + " is an option of TensorRT-RTX"));
  }
}

}  // namespace tenure::testing
