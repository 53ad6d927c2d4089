// SessionOptions::check_ownership: an operator or an engine that writes into what is not its own is named, in every kind of run.
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/library.h>

#include <optional>

#include "tests/session/operators.h"
#include "tests/session/support.h"

namespace tenure {
namespace {

using namespace tenure::testing;

/// An engine computes by PyTorch's operators here; this one also calls on_call_back.
at::Tensor straying_linear(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
  if (on_call_back) on_call_back();
  return at::addmm(*bias, x, weight.t());
}

/// Who trespasses, the program that he is in, and his name.
struct Trespasser {
  const char* name;
  const char* text;
  std::vector<std::string> parts;

  friend void PrintTo(const Trespasser& one, std::ostream* out) { *out << one.name; }
};

constexpr const char* kOperator = R"(
graph(%x: f32[2, 8], %aside: f32[2, 8], %w: f32[2, 8] = parameter "w"):
  %a: f32[2, 8] = aten::add.Tensor(self=%x, other=%w)
  %b: f32[2, 8] = tenure_test::call_back(x=%x) as trespasser
  %c: f32[2, 8] = aten::sub.Tensor(self=%b, other=%aside)
  return (%a, %c)
)";
constexpr const char* kEngine = R"(
graph(%x: f32[2, 8], %aside: f32[2, 8], %w: f32[2, 8] = parameter "w"):
  %a: f32[2, 8] = aten::add.Tensor(self=%x, other=%w)
  %b: f32[2, 4] = engine "linear"(%x) as trespasser
  %c: f32[2, 8] = aten::mul.Tensor(self=%aside, other=%aside)
  return (%a, %b, %c)
)";

class Trespass : public ::testing::TestWithParam<Trespasser> {
 protected:
  Trespass() : library_(torch::Library::IMPL, "aten", c10::DispatchKey::CPU, __FILE__, __LINE__) {
    library_.impl("linear", &straying_linear);
    session_.emplace(make_program(GetParam().text, {{"w", weight_}}, GetParam().parts), SessionOptions{.check_ownership = true});
  }
  ~Trespass() override { on_call_back = nullptr; }

  Tensors run() { return session_->run({x_, aside_}); }

  /// That the next run throws, and says who wrote where.
  void expect_found(const std::string& what, const at::Tensor& target) {
    uint32_t* const stray = reinterpret_cast<uint32_t*>(target.data_ptr<float>()) + 3;
    on_call_back = [stray] { *stray ^= 0xffffffff; };
    const std::string run_number = "run " + std::to_string(session_->stats().runs + 1) + ":";
    const Error error = error_of([&] { run(); });
    EXPECT_EQ(error.code(), ErrorCode::kOwnership) << error.what();
    for (const std::string& word : {what, run_number, std::string("trespasser"), std::string("byte 12")})
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << word << " is not in " << error.what();
    on_call_back = nullptr;
    *stray ^= 0xffffffff;
    expect_all_is_well();
  }

  void expect_all_is_well() { expect_same(Tensors{run()[0]}, {x_ + weight_}); }

  const OperatorSwitches switches_;
  torch::Library library_;
  const at::Tensor weight_ = at::randn({2, 8}), x_ = at::randn({2, 8}), aside_ = at::randn({2, 8});
  std::optional<Session> session_;
};

TEST_P(Trespass, IntoAWeightIsFoundInTheFirstRunInAReplayAndInAPlainRun) {
  expect_found("the weight w", weight_);
  expect_found("the weight w", weight_);
  session_->set_pre_allocated_outputs(false);
  expect_found("the weight w", weight_);
}

TEST_P(Trespass, IntoAnInputThatIsNoOperandIsFound) {
  expect_found("the input aside", aside_);
  run();
  expect_found("the input aside", aside_);
}

TEST_P(Trespass, IntoAResultOfAnEarlierRunThatSomebodyHoldsIsFound) {
  run();
  const Tensors held = run();
  const Tensors before = copies(held);
  expect_found("a result of an earlier run that is still held", held[0]);
  session_->set_pre_allocated_outputs(false);
  expect_found("a result of an earlier run that is still held", held[1]);
  expect_same(held, before);
}

TEST_P(Trespass, IntoWhatTheCallerGaveBackIsFound) {
  run();
  Tensors held = run();
  float* const stray = held[0].data_ptr<float>();
  at::Tensor once_more = run()[0];  // in memory of its own, as the first is held
  held.clear();
  on_call_back = [stray] { stray[3] = 7; };
  const Error error = error_of([&] { run(), run(); });
  EXPECT_EQ(error.code(), ErrorCode::kOwnership) << error.what();
  EXPECT_NE(std::string(error.what()).find("trespasser"), std::string::npos) << error.what();
}

TEST_P(Trespass, TheCallerMayWriteIntoWhatHeHoldsBetweenRuns) {
  for (int i = 0; i < 4; ++i) {
    const Tensors held = run();
    held[0].fill_(i);
    x_.fill_(i);
    weight_.fill_(i);
    expect_all_is_well();
    expect_same({held[0]}, {at::full({2, 8}, float(i))});
  }
}

INSTANTIATE_TEST_SUITE_P(By, Trespass,
                         ::testing::Values(Trespasser{"AnOperator", kOperator, {}}, Trespasser{"AnEngine", kEngine, {"linear"}}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Trespass, IntoALargeWeightIsFoundWhenTheRunEnds) {
  const OperatorSwitches switches;
  const at::Tensor weight = at::zeros({1 << 19});
  Session session(make_program(R"(
graph(%x: f32[8], %w: f32[524288] = parameter "w"):
  %a: f32[8] = tenure_test::call_back(x=%x)
  %b: f32[] = aten::sum(self=%w)
  return (%a, %b)
)",
                               {{"w", weight}}),
                  {.check_ownership = true});
  session.run({at::randn({8})});
  on_call_back = [&] { weight[5] = 1; };
  const Error error = error_of([&] { session.run({at::randn({8})}); });
  EXPECT_NE(std::string(error.what()).find("an operator or engine wrote to the weight w at byte 2"), std::string::npos)
      << error.what();
  on_call_back = nullptr;
}

}  // namespace
}  // namespace tenure
