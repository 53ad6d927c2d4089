// What TensorRT is told, and when: the engine against a double of TensorRT's runtime that computes on the CPU.
#include <NvInferVersion.h>
#include <gmock/gmock.h>

#include "tests/engine/tensorrt_fixture.h"

namespace tenure::testing {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST_F(TensorRtEngine, EveryPartGivesTheBitsOfPyTorchWithAndWithoutScratchMemory) {
  for (const Part& part : parts()) {
    for (const int64_t scratch : {0, 300}) {
      const auto engine = load(spec_of(part.name), {.scratch_bytes = {scratch}});
      const auto context = engine->make_context();
      for (const int64_t size : {5, 5, 2, 0, 7}) expect_run(*engine, *context, size);
    }
  }
}

TEST_F(TensorRtEngine, BindingsAreFoundByNameWhateverTheirOrderInTheBlob) {
  EngineSpec spec = spec_of("two_outputs");
  spec.outputs[0].name = "output_1";
  spec.outputs[1].name = "output_0";
  const auto engine = load(spec);
  const auto context = engine->make_context();
  const Tensors inputs = aligned(part("two_outputs").make_inputs(1)), outputs = empty_outputs(*engine, inputs);
  run(*context, inputs, outputs);
  expect_answer("two_outputs", inputs, {outputs[1], outputs[0]});
}

TEST_F(TensorRtEngine, MemoryThatIsNotAlignedIsCopiedAndNothingAroundItWritten) {
  for (const Part& part : parts()) {
    const auto engine = load(spec_of(part.name), {.scratch_bytes = {300}});
    const auto context = engine->make_context();
    for (int round = 0; round < 3; ++round) {
      std::vector<Fenced> fenced;
      Tensors inputs, outputs;
      for (const at::Tensor& input : part.make_inputs(5)) inputs.push_back(fenced.emplace_back(input).tensor());
      for (Fenced& output : make_outputs(*engine, inputs)) outputs.push_back(fenced.emplace_back(std::move(output)).tensor());
      run(*context, inputs, outputs);
      expect_answer(part.name, inputs, outputs);
      for (const Fenced& each : fenced) EXPECT_TRUE(each.fence_is_intact()) << part.name;
    }
  }
}

TEST_F(TensorRtEngine, ASteadyRunCallsNothingButEnqueue) {
  const auto engine = load(spec_of("dynamic_batch"));
  const auto context = engine->make_context();
  const Tensors inputs = aligned(part("dynamic_batch").make_inputs(3)), outputs = empty_outputs(*engine, inputs);
  run(*context, inputs, outputs);
  trt::forget_calls();
  for (int i = 0; i < 3; ++i) run(*context, inputs, outputs);
  EXPECT_EQ(names_of_calls(), std::vector<std::string>(3, "enqueueV3"));
}

TEST_F(TensorRtEngine, OtherMemoryOfTheSameSizesCostsOneCallABinding) {
  const auto engine = load(spec_of("two_outputs"));
  const auto context = engine->make_context();
  const Tensors inputs = aligned(part("two_outputs").make_inputs(0));
  Tensors outputs = empty_outputs(*engine, inputs);
  run(*context, inputs, outputs);
  outputs[1] = aligned(at::zeros_like(outputs[1]));
  trt::forget_calls();
  run(*context, inputs, outputs);
  EXPECT_EQ(names_of_calls(), (std::vector<std::string>{"setTensorAddress", "enqueueV3"}));
  EXPECT_EQ(trt::calls("setTensorAddress").at(0).address, outputs[1].data_ptr());
  expect_answer("two_outputs", inputs, outputs);
}

TEST_F(TensorRtEngine, ThePartsOfAProfileAreToldOnceAndEachProfileHasAContext) {
  const trt::Profile small = {{"input_0", {{1, 8}, {2, 8}, {4, 8}}}}, large = {{"input_0", {{5, 8}, {9, 8}, {50, 8}}}};
  const auto engine = load(spec_of("dynamic_batch"), {.profiles = {small, large}, .scratch_bytes = {256, 4096}});
  const auto context = engine->make_context();
  for (const int64_t size : {3, 20, 4, 50, 1, 5}) expect_run(*engine, *context, size);
  EXPECT_EQ(trt::calls("createExecutionContext").size(), 2u);
  const auto chosen = trt::calls("setOptimizationProfileAsync");
  ASSERT_EQ(chosen.size(), 1u) << "the first profile is chosen already";
  EXPECT_EQ(chosen[0].number, 1);
  const Error error = error_of([&] { expect_run(*engine, *context, 51); });
  EXPECT_THAT(error.what(), AllOf(HasSubstr("engine \"dynamic_batch\""), HasSubstr("[51, 8]"), HasSubstr("[1, 8] to [4, 8]"),
                                  HasSubstr("[5, 8] to [50, 8]")));
  expect_run(*engine, *context, 2);
}

TEST_F(TensorRtEngine, AnErrorOfEachCallNamesTheEngineAndGivesTheLogAndTheNextRunIsRight) {
  for (const char* method : {"createExecutionContext", "setInputShape", "setTensorAddress", "inferShapes",
                             "updateDeviceMemorySizeForShapes", "enqueueV3"}) {
    SCOPED_TRACE(method);
    const auto engine = load(spec_of("dynamic_batch"), {.scratch_bytes = {300}});
    const auto context = engine->make_context();
    trt::fail_next(method);
    const Error error = error_of([&] { expect_run(*engine, *context, 3); });
    EXPECT_EQ(error.code(), ErrorCode::kEngine);
    EXPECT_THAT(error.what(), AllOf(HasSubstr("dynamic_batch"), HasSubstr("TensorRT could not")));
    expect_run(*engine, *context, 3);
    expect_run(*engine, *context, 6);
  }
}

TEST_F(TensorRtEngine, TheBackendTellsTheProductAndTheVersionOfTheLibrary) {
  EXPECT_THAT(make_tensorrt_backend()->runtime(),
              ::testing::MatchesRegex(concat("TensorRT(-RTX)? ", NV_TENSORRT_MAJOR, "\\.", NV_TENSORRT_MINOR, "\\.[0-9]+")));
}

TEST_F(TensorRtEngine, LayersAreTimedByAContextOfTheirOwnOnlyInTheRunThatAsksForIt) {
  const auto engine = load(spec_of("relu"), {.scratch_bytes = {300}});
  const auto context = engine->make_context();
  const Tensors inputs = aligned(part("relu").make_inputs(0)), outputs = empty_outputs(*engine, inputs);
  run(*context, inputs, outputs);
  trt::forget_calls();
  for (int round = 0; round < 3; ++round) {
    outputs[0].zero_();
    const std::vector<LayerTime> times = context->enqueue_and_time();
    ASSERT_EQ(times.size(), 2u);
    EXPECT_EQ(times[0].name, "first layer");
    EXPECT_EQ(times[1].nanoseconds, 500'000);
    expect_answer("relu", inputs, outputs);
    outputs[0].zero_();
    run(*context, inputs, outputs);
    expect_answer("relu", inputs, outputs);
  }
  EXPECT_EQ(trt::calls("createExecutionContext").size(), 1u);
  const auto told = trt::calls("setProfiler");
  ASSERT_EQ(told.size(), 1u);
  const auto ran = trt::calls("enqueueV3");
  ASSERT_EQ(ran.size(), 6u);
  for (size_t i = 0; i < ran.size(); ++i) EXPECT_EQ(ran[i].object == told[0].object, i % 2 == 0) << "run " << i;
}

TEST_F(TensorRtEngine, ATimedRunThatFailsIsAnErrorAndTheNextRunsAreRight) {
  const auto engine = load(spec_of("dynamic_batch"));
  const auto context = engine->make_context();
  const Tensors inputs = aligned(part("dynamic_batch").make_inputs(3)), outputs = empty_outputs(*engine, inputs);
  run(*context, inputs, outputs);
  for (const char* method : {"createExecutionContext", "enqueueV3"}) {
    trt::fail_next(method);
    EXPECT_EQ(error_of([&] { context->enqueue_and_time(); }).code(), ErrorCode::kEngine);
    outputs[0].zero_();
    run(*context, inputs, outputs);
    expect_answer("dynamic_batch", inputs, outputs);
    EXPECT_EQ(context->enqueue_and_time().size(), 2u);
  }
}

TEST_F(TensorRtEngine, AnEngineForAnotherGpuIsRefusedWithTensorRtsOwnWordsAndTheGpusName) {
  const Error error = error_of([&] { load(spec_of("relu"), {.other_compute_capability = "8.6"}); });
  EXPECT_EQ(error.code(), ErrorCode::kEngine);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("engine \"relu\""), HasSubstr("8.6"), HasSubstr("compute capability 9.0")));
}

// What positives computes of `x` in `context`: places of positive numbers, taken; x * 2 is checked.
at::Tensor places_of_positives(EngineContext& context, const at::Tensor& x) {
  const at::Tensor input = aligned(x), doubled = aligned(at::zeros_like(x));
  context.bind_input(0, input);
  context.bind_output(1, doubled);
  context.enqueue();
  EXPECT_TRUE(at::equal(doubled, x * 2));
  return context.take_output(0);
}

TEST_F(TensorRtEngine, WhatDependsOnDataIsMadeInMemoryOfItsOwnInEachRun) {
  const auto engine = load(spec_of("positives"));
  const auto context = engine->make_context();
  const at::Tensor x = at::randn({5, 4}), want = at::nonzero(x > 0);
  const at::Tensor input = aligned(x), doubled = aligned(at::zeros_like(x));
  const auto run_again = [&] {
    context->bind_input(0, input);
    context->bind_output(1, doubled);
    context->enqueue();
  };
  run_again();
  const at::Tensor first = context->take_output(0);
  EXPECT_EQ(trt::calls("setOutputAllocator").size(), 1u);
  trt::forget_calls();
  for (int run = 0; run < 3; ++run) {
    run_again();
    if (run == 1) continue;  // nobody takes what that run made
    EXPECT_TRUE(at::equal(context->take_output(0), want));
  }
  EXPECT_EQ(names_of_calls(), std::vector<std::string>(3, "enqueueV3"));
  EXPECT_TRUE(at::equal(doubled, x * 2));
  EXPECT_TRUE(at::equal(places_of_positives(*context, -at::ones({2, 4})), at::empty({0, 2}, at::kLong)));
  EXPECT_TRUE(at::equal(first, want)) << "held since the first run";
}

TEST_F(TensorRtEngine, AfterAnErrorNothingIsTakenAndTheNextRunMakesItAgain) {
  for (const char* method : {"setOutputAllocator", "enqueueV3"}) {
    SCOPED_TRACE(method);
    const auto engine = load(spec_of("positives"));
    const auto context = engine->make_context();
    const at::Tensor x = at::randn({5, 4});
    trt::fail_next(method);
    EXPECT_EQ(error_of([&] { places_of_positives(*context, x); }).code(), ErrorCode::kEngine);
    EXPECT_EQ(error_of([&] { context->take_output(0); }).code(), ErrorCode::kEngine);
    EXPECT_TRUE(at::equal(places_of_positives(*context, x), at::nonzero(x > 0)));
  }
}

TEST_F(TensorRtEngine, WeightStreamingIsGivenItsBudgetWhereTheEngineHasIt) {
  EngineSpec spec = spec_of("linear");
  spec.options["weight_streaming_budget"] = "100";
  const auto engine = load(spec, {.streamable_weights = 1000});
  const auto told = trt::calls("setWeightStreamingBudgetV2");
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].number, 100);
  expect_run(*engine, *engine->make_context(), 0);
  EXPECT_THAT(error_of([&] { load(spec); }).what(), HasSubstr("not built for weight streaming"));
  spec.options["weight_streaming_budget"] = "half";
  EXPECT_EQ(error_of([&] { load(spec, {.streamable_weights = 1000}); }).code(), ErrorCode::kInvalidArgument);
}

}  // namespace tenure::testing
