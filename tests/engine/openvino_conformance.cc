#include "tests/engine/conformance.h"

namespace tenure::testing {

const ConformanceEngine kOpenVino = {.backend = "openvino", .tolerance = 1e-5};

INSTANTIATE_TEST_SUITE_P(OpenVino, EngineConformance, ::testing::Values(kOpenVino));
INSTANTIATE_TEST_SUITE_P(OpenVino, EnginePartConformance,
                         ::testing::Combine(::testing::Values(kOpenVino), ::testing::ValuesIn(part_names())), part_label);

}  // namespace tenure::testing
