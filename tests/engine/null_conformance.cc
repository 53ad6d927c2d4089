#include "tests/engine/conformance.h"

namespace tenure::testing {

const ConformanceEngine kNull = {.backend = "null", .tolerance = 0};

INSTANTIATE_TEST_SUITE_P(Null, EngineConformance, ::testing::Values(kNull));
INSTANTIATE_TEST_SUITE_P(Null, EnginePartConformance,
                         ::testing::Combine(::testing::Values(kNull), ::testing::ValuesIn(part_names())), part_label);

}  // namespace tenure::testing
