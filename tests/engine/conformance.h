// tests/engine/conformance.h: what every engine must do. Written once; each engine instantiates it (see null_conformance.cc).
#pragma once

#include <c10/core/Device.h>
#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <tuple>

namespace tenure::testing {

struct ConformanceEngine {
  std::string backend;
  double tolerance = 0;  // relative and absolute, for floating-point results; 0: bit for bit
  c10::DeviceType device = c10::kCPU;
};

inline void PrintTo(const ConformanceEngine& engine, std::ostream* out) { *out << engine.backend; }

/// Skips the test where no such device is.
void skip_without(c10::DeviceType device);

/// Claims about an engine as such.
class EngineConformance : public ::testing::TestWithParam<ConformanceEngine> {
 protected:
  void SetUp() override { skip_without(GetParam().device); }
};

/// Claims that hold for every part: an engine and the name of a part.
class EnginePartConformance : public ::testing::TestWithParam<std::tuple<ConformanceEngine, std::string>> {
 protected:
  void SetUp() override { skip_without(std::get<0>(GetParam()).device); }
};

/// The second parameter: names of all parts.
std::vector<std::string> part_names();

inline std::string part_label(const ::testing::TestParamInfo<EnginePartConformance::ParamType>& info) {
  return std::get<1>(info.param);
}

}  // namespace tenure::testing
