#include "tests/engine/conformance.h"

namespace tenure::testing {

// TensorRT-RTX 1.4 multiplies float32 in TF32, ten bits of mantissa, also where the engine was built without that flag.
const ConformanceEngine kTensorRt = {.backend = "tensorrt", .tolerance = 4e-3, .device = c10::kCUDA};

INSTANTIATE_TEST_SUITE_P(TensorRt, EngineConformance, ::testing::Values(kTensorRt));
INSTANTIATE_TEST_SUITE_P(TensorRt, EnginePartConformance,
                         ::testing::Combine(::testing::Values(kTensorRt), ::testing::ValuesIn(part_names())), part_label);

}  // namespace tenure::testing
