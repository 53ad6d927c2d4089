#include "tests/engine/conformance.h"

namespace tenure::testing {

const ConformanceEngine kTensorRt = {.backend = "tensorrt", .tolerance = 1e-5, .device = c10::kCUDA};

INSTANTIATE_TEST_SUITE_P(TensorRt, EngineConformance, ::testing::Values(kTensorRt));
INSTANTIATE_TEST_SUITE_P(TensorRt, EnginePartConformance,
                         ::testing::Combine(::testing::Values(kTensorRt), ::testing::ValuesIn(part_names())), part_label);

}  // namespace tenure::testing
