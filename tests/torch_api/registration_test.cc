// The engine as PyTorch sees it: an object that can be pickled and an operator that takes it.
#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/jit/serialization/pickle.h>

#include <string>

#include "tenure/base/error.h"
#include "tests/torch_api/support.h"

namespace tenure {
namespace {

using namespace tenure::testing;
using ::testing::HasSubstr;

Tensors execute(const Tensors& inputs, const EnginePtr& engine) {
  const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("tenure::execute_engine", "");
  torch::jit::Stack stack = {c10::IValue(inputs), c10::IValue(engine)};
  op.callBoxed(stack);
  return stack.at(0).toTensorVector();
}

EnginePtr through_pickle(const EnginePtr& engine) {
  const std::vector<char> bytes = torch::jit::pickle_save(c10::IValue(engine));
  return torch::jit::pickle_load_obj(std::string_view(bytes.data(), bytes.size())).toCustomClass<StandaloneEngine>();
}

template <typename Make>
std::string message_of(ErrorCode code, const Make& make) {
  try {
    make();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  return "no error";
}

TEST(ExecuteEngine, RunsTheEngineThroughPyTorchsDispatcher) {
  const EnginePtr engine = make_engine("two_outputs");
  const at::Tensor x = at::randn({2, 3}), y = at::randn({2, 3});
  expect_same(execute({x, y}, engine), {x + y, x * y});
}

TEST(ExecuteEngine, ComputesWhatTheBlobSaysUnderAutocastAndInferenceMode) {
  const EnginePtr engine = make_engine("linear");
  const at::Tensor x = at::randn({2, 8});
  const Tensors wanted = execute({x}, engine);
  at::autocast::set_autocast_enabled(at::kCPU, true);
  const Tensors in_autocast = execute({x}, engine);
  at::autocast::set_autocast_enabled(at::kCPU, false);
  expect_same(in_autocast, wanted);
  const c10::InferenceMode inference;
  expect_same(execute({x}, engine), wanted);
}

TEST(ExecuteEngine, ReadsTheValuesOfConjugatedAndNegatedTensors) {
  const EnginePtr engine = make_engine("relu");
  const at::Tensor x = at::randn({3, 4});
  expect_same(execute({at::_neg_view(x)}, engine), {(-x).relu()});
}

TEST(EngineObject, KeepsItsSwitchesAndItsAnswersThroughPickling) {
  const EnginePtr engine = make_engine("two_outputs");
  engine->engine().set_output_tensors_as_unowned(1, true);
  engine->set_use_pre_allocated_outputs(false);
  const EnginePtr copy = through_pickle(through_pickle(engine));
  EXPECT_FALSE(copy->engine().are_output_tensors_unowned(0));
  EXPECT_TRUE(copy->engine().are_output_tensors_unowned(1));
  EXPECT_FALSE(copy->use_pre_allocated_outputs());
  EXPECT_EQ(copy->spec_json(), engine->spec_json());
  const at::Tensor x = at::randn({2, 3}), y = at::randn({2, 3});
  expect_same(execute({x, y}, copy), {x + y, x * y});
  EXPECT_EQ(engine->stats().calls, 0) << "counters and memory are each object's own";
}

TEST(EngineObject, ACopyInTheSameProcessSharesTheLoadedEngineAndNothingElse) {
  EnginePtr engine = make_engine("two_outputs");
  const auto [spec_json, blob] = std::get<1>(engine->state());
  std::weak_ptr<const LoadedEngine> loaded = load_engine(spec_json, blob);
  EXPECT_EQ(loaded.lock(), load_engine(spec_json, blob));
  EXPECT_NE(loaded.lock(), load_engine(spec_json, blob.clone())) << "bytes elsewhere may be changed by others";
  EnginePtr copy = c10::make_intrusive<StandaloneEngine>(engine->state());
  copy->engine().set_output_tensors_as_unowned(true);
  EXPECT_FALSE(engine->engine().are_output_tensors_unowned());
  engine.reset();
  const at::Tensor x = at::randn({2, 3}), y = at::randn({2, 3});
  expect_same(copy->run({x, y}), {x + y, x * y});
  EXPECT_EQ(loaded.lock(), load_engine(spec_json, blob));
  copy.reset();
  EXPECT_TRUE(loaded.expired());
}

TEST(EngineObject, RefusesAStateThatDoesNotFitTogether) {
  const EnginePtr engine = make_engine("two_outputs");
  const StandaloneEngine::State good = engine->state();
  const auto changed = [&](auto change) {
    StandaloneEngine::State state = good;
    change(state);
    return [state] { c10::make_intrusive<StandaloneEngine>(state); };
  };
  EXPECT_THAT(message_of(ErrorCode::kUnsupported, changed([](auto& state) { std::get<0>(state) = 7; })), HasSubstr("format 7"));
  const auto one_flag = [](auto& state) { std::get<0>(std::get<2>(state)) = c10::List<bool>({true}); };
  EXPECT_THAT(message_of(ErrorCode::kBadFile, changed(one_flag)), HasSubstr("1 ownership flags for 2 outputs"));
  const auto no_json = [](auto& state) { std::get<0>(std::get<1>(state)) = "{"; };
  EXPECT_THAT(message_of(ErrorCode::kBadFile, changed(no_json)), HasSubstr("engine description"));
  const auto floats = [](auto& state) { std::get<1>(std::get<1>(state)) = at::zeros({4}); };
  EXPECT_THAT(message_of(ErrorCode::kInvalidArgument, changed(floats)), HasSubstr("uint8"));
  const auto zeros = [](auto& state) { std::get<1>(std::get<1>(state)) = at::zeros({400}, at::kByte); };
  EXPECT_THAT(message_of(ErrorCode::kBadFile, changed(zeros)), HasSubstr("engine two_outputs"));
}

TEST(EngineObject, RefusesABackendThatThisBuildLacksAndOutputsInAnInputsMemory) {
  std::string json = part_json("relu");
  json.replace(json.find("\"null\""), 6, "\"other\"");
  EXPECT_THAT(message_of(ErrorCode::kUnsupported, [&] { StandaloneEngine(json, "blob"); }), HasSubstr("other"));
  json = part_json("relu");
  json.replace(json.find("\"aliases_input\":null"), 20, "\"aliases_input\":0");
  EXPECT_THAT(message_of(ErrorCode::kUnsupported, [&] { StandaloneEngine(json, "blob"); }), HasSubstr("into an input"));
}

}  // namespace
}  // namespace tenure
