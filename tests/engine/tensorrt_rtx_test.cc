// What only TensorRT-RTX is told.
#include <NvInferRuntime.h>
#include <gmock/gmock.h>

#include "tests/engine/tensorrt_fixture.h"

namespace tenure::testing {

using Specialization = nvinfer1::DynamicShapesKernelSpecializationStrategy;

int64_t specialization_told_with(const std::optional<std::string>& option) {
  trt::forget_calls();
  EngineSpec spec = spec_of("dynamic_batch");
  if (option) spec.options["shape_specialization"] = *option;
  const auto engine = load(spec);
  const auto told = trt::calls("setDynamicShapesKernelSpecializationStrategy");
  EXPECT_EQ(told.size(), 1u);
  expect_run(*engine, *engine->make_context(), 3);
  return told.at(0).number;
}

TEST_F(TensorRtEngine, KernelsAreNotSpecialisedForSizesUnlessAnOptionSaysSo) {
  EXPECT_EQ(specialization_told_with(std::nullopt), static_cast<int64_t>(Specialization::kNONE));
  EXPECT_EQ(specialization_told_with("eager"), static_cast<int64_t>(Specialization::kEAGER));
  EXPECT_EQ(specialization_told_with("lazy"), static_cast<int64_t>(Specialization::kLAZY));
  EXPECT_EQ(specialization_told_with("none"), static_cast<int64_t>(Specialization::kNONE));
  EngineSpec spec = spec_of("relu");
  spec.options["shape_specialization"] = "soon";
  const Error error = error_of([&] { load(spec); });
  EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(error.what(), ::testing::HasSubstr("none, lazy or eager"));
}

}  // namespace tenure::testing
