#include "tenure/engine/engine.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "tenure/base/error.h"
#include "tests/error_of.h"

namespace tenure {
namespace {

using ::testing::ElementsAre;
using testing::error_of;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class IdleEngine final : public CompiledEngine {
 public:
  std::unique_ptr<EngineContext> make_context() override { throw Error(ErrorCode::kUnsupported, "this engine does not run"); }
};

std::vector<Expr> sizes(std::initializer_list<const char*> texts) {
  std::vector<Expr> exprs;
  for (const char* text : texts) exprs.push_back(Expr::parse(text));
  return exprs;
}

Binding binding(std::string name, at::ScalarType dtype, std::initializer_list<const char*> texts) {
  return {.name = std::move(name), .dtype = dtype, .sizes = sizes(texts), .aliases_input = std::nullopt};
}

EngineSpec two_in_three_out() {
  return {.name = "engine_0",
          .backend = "idle",
          .inputs = {binding("x", at::kFloat, {"Symbol('i0_0')", "3"}), binding("y", at::kLong, {"Symbol('i1_0')"})},
          .outputs = {binding("a", at::kFloat, {"Add(Symbol('i0_0'), Mul(Integer(2), Symbol('i1_0')))", "3"}),
                      binding("b", at::kBool, {}), binding("c", at::kFloat, {"Add(Symbol('i0_0'), Integer(-2))"})},
          .options = {}};
}

Engine make_engine(EngineSpec spec) { return Engine(std::move(spec), std::make_unique<IdleEngine>()); }

std::vector<at::Tensor> inputs(int64_t x, int64_t y) { return {at::zeros({x, 3}), at::zeros({y}, at::kLong)}; }

TEST(EngineOutputSizes, FollowFromTheSizesOfTheInputs) {
  const Engine engine = make_engine(two_in_three_out());
  EXPECT_THAT(engine.output_sizes(0, inputs(5, 7)), ElementsAre(19, 3));
  EXPECT_THAT(engine.output_sizes(1, inputs(5, 7)), IsEmpty());
  EXPECT_THAT(engine.output_sizes(2, inputs(5, 7)), ElementsAre(3));
  EXPECT_THAT(engine.output_sizes(0, inputs(0, 0)), ElementsAre(0, 3));
}

TEST(EngineOutputSizes, ANegativeSizeIsAnErrorThatNamesTheOutputAndTheExpression) {
  const Engine engine = make_engine(two_in_three_out());
  const Error error = error_of([&] { engine.output_sizes(2, inputs(1, 0)); });
  EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(error.what(), HasSubstr("engine \"engine_0\": output 2 \"c\""));
  EXPECT_THAT(error.what(), HasSubstr("(-1)"));
}

TEST(EngineOutputSizes, InputsThatDoNotFitAreErrorsThatNameTheInputWhatWasExpectedAndWhatCame) {
  const Engine engine = make_engine(two_in_three_out());
  const auto message = [&](const std::vector<at::Tensor>& in) {
    const Error error = error_of([&] { engine.output_sizes(0, in); });
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return std::string(error.what());
  };
  const at::Tensor x = at::zeros({2, 3});
  const at::Tensor y = at::zeros({4}, at::kLong);
  EXPECT_THAT(message({x}), HasSubstr("engine \"engine_0\": expected 2 inputs, got 1"));
  EXPECT_THAT(message({x, x}), HasSubstr("input 1 \"y\": expected contiguous Long [?], got Float [2, 3]"));
  EXPECT_THAT(message({at::zeros({2, 4}), y}), HasSubstr("input 0 \"x\": expected contiguous Float [?, 3], got Float [2, 4]"));
  EXPECT_THAT(message({x.unsqueeze(0), y}), HasSubstr("got Float [1, 2, 3]"));
  EXPECT_THAT(message({x.to(at::kDouble), y}), HasSubstr("got Double [2, 3]"));
  EXPECT_THAT(message({at::Tensor(), y}), HasSubstr("got an undefined tensor"));
}

TEST(EngineOutputSizes, AnOutputThatDoesNotExistIsAnError) {
  const Engine engine = make_engine(two_in_three_out());
  EXPECT_THAT(error_of([&] { engine.output_sizes(3, inputs(2, 2)); }).what(), HasSubstr("output 3 is out of range"));
}

TEST(EngineSpecCheck, ASizeInTermsOfSomethingThatIsNoInputDimensionIsABadFile) {
  for (const char* size :
       {"Symbol('i0_2')", "Symbol('i2_0')", "Symbol('s0')", "Symbol('i0')", "Symbol('i0_0x')", "Symbol('i_0')"}) {
    EngineSpec spec = two_in_three_out();
    spec.outputs[2].sizes = sizes({size});
    const Error error = error_of([&] { make_engine(spec); });
    EXPECT_EQ(error.code(), ErrorCode::kBadFile) << size;
    EXPECT_THAT(error.what(), HasSubstr("output \"c\""));
  }
}

TEST(EngineOwnership, AnOutputIsUnownedIfAndOnlyIfItEscapes) {
  Engine engine = make_engine(two_in_three_out());
  EXPECT_FALSE(engine.are_output_tensors_unowned());
  engine.set_output_escapes(1, "returned as output 0");
  EXPECT_FALSE(engine.are_output_tensors_unowned(0));
  EXPECT_TRUE(engine.are_output_tensors_unowned(1));
  EXPECT_FALSE(engine.are_output_tensors_unowned());
  engine.set_output_escapes(0, "returned as output 1");
  engine.set_output_escapes(2, "returned as output 2");
  EXPECT_TRUE(engine.are_output_tensors_unowned());
}

TEST(EngineOwnership, AnOutputThatStaysInsideMayBeMadeUnownedAndOwnedAgain) {
  Engine engine = make_engine(two_in_three_out());
  engine.set_output_tensors_as_unowned(2, true);
  EXPECT_TRUE(engine.are_output_tensors_unowned(2));
  EXPECT_FALSE(engine.are_output_tensors_unowned(0));
  engine.set_output_tensors_as_unowned(true);
  EXPECT_TRUE(engine.are_output_tensors_unowned());
  engine.set_output_tensors_as_unowned(false);
  for (size_t output = 0; output < 3; ++output) EXPECT_FALSE(engine.are_output_tensors_unowned(output));
}

TEST(EngineOwnership, AnOutputThatEscapesCannotBecomeOwnedAndTheErrorSaysWhy) {
  Engine engine = make_engine(two_in_three_out());
  engine.set_output_escapes(1, "returned as output 0 through %view");
  const Error error = error_of([&] { engine.set_output_tensors_as_unowned(1, false); });
  EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(error.what(), HasSubstr("engine \"engine_0\": output 1 \"b\""));
  EXPECT_THAT(error.what(), HasSubstr("returned as output 0 through %view"));
  EXPECT_THAT(error.what(), HasSubstr("overwritten by the next run"));
  EXPECT_TRUE(engine.are_output_tensors_unowned(1));
}

TEST(EngineOwnership, ARefusedChangeOfAllOutputsChangesNone) {
  Engine engine = make_engine(two_in_three_out());
  engine.set_output_tensors_as_unowned(0, true);
  engine.set_output_escapes(2, "returned as output 0");
  const uint64_t version = engine.ownership_version();
  EXPECT_EQ(error_of([&] { engine.set_output_tensors_as_unowned(false); }).code(), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(engine.are_output_tensors_unowned(0));
  EXPECT_EQ(engine.ownership_version(), version);
}

TEST(EngineOwnership, AnOutputThatDoesNotExistIsAnError) {
  Engine engine = make_engine(two_in_three_out());
  EXPECT_THAT(error_of([&] { engine.set_output_tensors_as_unowned(3, true); }).what(), HasSubstr("output 3 is out of range"));
  EXPECT_THAT(error_of([&] { engine.are_output_tensors_unowned(3); }).what(), HasSubstr("output 3 is out of range"));
  EXPECT_THAT(error_of([&] { engine.set_output_escapes(3, "returned"); }).what(), HasSubstr("output 3 is out of range"));
}

TEST(EngineOwnership, TheVersionGrowsWithEachChange) {
  Engine engine = make_engine(two_in_three_out());
  uint64_t last = engine.ownership_version();
  const auto grew = [&] { return std::exchange(last, engine.ownership_version()) < engine.ownership_version(); };
  engine.set_output_tensors_as_unowned(true);
  EXPECT_TRUE(grew());
  engine.set_output_tensors_as_unowned(1, false);
  EXPECT_TRUE(grew());
  engine.set_output_escapes(1, "returned as output 0");
  EXPECT_TRUE(grew());
}

TEST(EngineOwnership, ASwitchOfAllOutputsIsSeenAsAWholeByOtherThreads) {
  Engine engine = make_engine(two_in_three_out());
  engine.set_output_tensors_as_unowned(true);
  std::thread writer([&] {
    for (int i = 0; i < 2000; ++i) engine.set_output_tensors_as_unowned(0, true);
  });
  bool all = true;
  for (int i = 0; i < 2000; ++i) all &= engine.are_output_tensors_unowned();
  writer.join();
  EXPECT_TRUE(all);
}

}  // namespace
}  // namespace tenure
