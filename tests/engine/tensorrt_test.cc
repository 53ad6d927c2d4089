// What TensorRT is told, and when: the engine against a double of TensorRT's runtime that computes on the CPU.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "tenure/base/error.h"
#include "tenure/engine/tensorrt/tensorrt_backend.h"
#include "tests/engine/parts.h"
#include "tests/engine/tensorrt_double/double.h"
#include "tests/error_of.h"

namespace tenure::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Tensors = std::vector<at::Tensor>;

EngineSpec spec_of(const std::string& part) {
  EngineSpec spec = part_spec("null", part);
  spec.backend = "tensorrt";
  return spec;
}

std::unique_ptr<Engine> load(const EngineSpec& spec, const trt::BlobOptions& options = {}) {
  return std::make_unique<Engine>(spec, make_tensorrt_backend()->load(spec, trt::make_blob(part_blob("null", spec.name), options)));
}

/// The same content in memory that TensorRT takes.
at::Tensor aligned(const at::Tensor& source) {
  void* const p = std::aligned_alloc(256, (source.nbytes() + 256) / 256 * 256);
  return at::from_blob(p, source.sizes(), [](void* memory) { std::free(memory); }, source.options()).copy_(source);
}

Tensors aligned(Tensors tensors) {
  for (at::Tensor& tensor : tensors) tensor = aligned(tensor);
  return tensors;
}

Tensors empty_outputs(const Engine& engine, const Tensors& inputs) {
  Tensors outputs;
  for (size_t i = 0; i < engine.spec().outputs.size(); ++i)
    outputs.push_back(aligned(at::zeros(engine.output_sizes(i, inputs), engine.spec().outputs[i].dtype)));
  return outputs;
}

void run(EngineContext& context, const Tensors& inputs, const Tensors& outputs) {
  for (size_t i = 0; i < inputs.size(); ++i) context.bind_input(i, inputs[i]);
  for (size_t i = 0; i < outputs.size(); ++i) context.bind_output(i, outputs[i]);
  context.enqueue();
}

// From memory as the double computes from: kernels give other last bits for memory that is aligned otherwise.
void expect_answer(const std::string& name, const Tensors& inputs, const Tensors& outputs) {
  const Tensors want = part(name).reference(aligned(inputs));
  for (size_t i = 0; i < want.size(); ++i) EXPECT_TRUE(at::equal(outputs[i], want[i])) << name << ", output " << i;
}

void expect_run(const Engine& engine, EngineContext& context, int64_t size) {
  const Tensors inputs = aligned(part(engine.spec().name).make_inputs(size)), outputs = empty_outputs(engine, inputs);
  run(context, inputs, outputs);
  expect_answer(engine.spec().name, inputs, outputs);
}

std::vector<std::string> names_of_calls() {
  std::vector<std::string> names;
  for (const trt::Call& call : trt::calls()) names.push_back(call.name);
  return names;
}

class TensorRtEngine : public ::testing::Test {
 protected:
  void SetUp() override {
    make_tensorrt_backend()->load(spec_of("relu"), trt::make_blob(part_blob("null", "relu")));  // starts the runtime
    trt::forget_calls();
    before_ = trt::live_objects();
  }
  void TearDown() override {
    EXPECT_THAT(trt::unexpected_calls(), IsEmpty());
    EXPECT_EQ(trt::live_objects(), before_);
  }

 private:
  trt::LiveObjects before_;
};

}  // namespace

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

TEST_F(TensorRtEngine, AnEngineForAnotherGpuIsRefusedWithTensorRtsOwnWordsAndTheGpusName) {
  const Error error = error_of([&] { load(spec_of("relu"), {.other_compute_capability = "8.6"}); });
  EXPECT_EQ(error.code(), ErrorCode::kEngine);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("engine \"relu\""), HasSubstr("8.6"), HasSubstr("compute capability 9.0")));
}

TEST_F(TensorRtEngine, AnOutputInTheMemoryOfAnInputIsBoundThereOrRefused) {
  EngineSpec spec = spec_of("two_outputs");
  spec.outputs[0].aliases_input = 0;
  const trt::BlobOptions options = {.aliases = {{"output_0", "input_0"}}};
  const auto engine = load(spec, options);
  const auto context = engine->make_context();
  const Tensors inputs = aligned(part("two_outputs").make_inputs(0)), want = part("two_outputs").reference(inputs);
  const at::Tensor product = aligned(at::zeros_like(want[1]));
  run(*context, inputs, {inputs[0], product});
  EXPECT_TRUE(at::equal(inputs[0], want[0]));
  EXPECT_TRUE(at::equal(product, want[1]));
  const at::Tensor elsewhere = aligned(at::zeros_like(want[0]));
  EXPECT_EQ(error_of([&] { run(*context, inputs, {elsewhere, product}); }).code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(error_of([&] { load(spec_of("two_outputs"), options); }).code(), ErrorCode::kBadFile) << "the manifest is silent";
  EXPECT_EQ(error_of([&] { load(spec); }).code(), ErrorCode::kUnsupported) << "the blob does not do it";
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
  const at::Tensor first = places_of_positives(*context, x);
  EXPECT_EQ(trt::calls("setOutputAllocator").size(), 1u);
  trt::forget_calls();
  const at::Tensor input = aligned(x), doubled = aligned(at::zeros_like(x));
  for (int run = 0; run < 3; ++run) {
    context->bind_input(0, input);
    context->bind_output(1, doubled);
    context->enqueue();
    if (run == 1) continue;  // nobody takes what that run made
    EXPECT_TRUE(at::equal(context->take_output(0), want));
  }
  const std::vector<std::string> want_calls = {"setTensorAddress", "setTensorAddress", "enqueueV3", "enqueueV3", "enqueueV3"};
  EXPECT_EQ(names_of_calls(), want_calls);
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
