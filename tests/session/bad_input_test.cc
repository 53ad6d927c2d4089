// Every kind of bad input names what, where and what to do, and the next good run works.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/session/support.h"

namespace tenure {
namespace {

using namespace tenure::testing;
using ::testing::AllOf;
using ::testing::HasSubstr;

class BadInput : public ::testing::Test {
 protected:
  /// Before and after: the session answers a good question from its plan.
  void TearDown() override {
    const Stats before = session_.stats();
    expect_good();
    EXPECT_EQ(session_.stats().replays, before.replays + 1) << "bad input made it forget its plan";
    EXPECT_EQ(session_.stats().held_slots, 0);
  }

  void expect_good() {
    const at::Tensor x = at::randn({3, 4}), y = at::randn({3});
    const std::vector<c10::IValue> got = session_.run_values({x, y, 2, c10::IValue()});
    expect_same({got[0].toTensor()}, {at::relu(x) * 2});
  }

  std::string refusal(std::vector<c10::IValue> inputs) {
    for (int run = 0; run < 2; ++run) expect_good();
    const Error error = error_of([&] { session_.run_values(inputs); });
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument) << error.what();
    EXPECT_EQ(error_of([&] { session_.run_values(inputs); }).what(), std::string(error.what())) << "the second time, too";
    return error.what();
  }

  at::Tensor x_ = at::ones({3, 4}), y_ = at::ones({3});
  c10::IValue two_ = 2, none_;
  Session session_{make_program(R"(
graph(%x: f32[s0, 4] as image, %y: f32[s0], %n: int(s1), mask = None):
  where 2 <= s0 <= 10
  where 1 <= s1 <= 5
  %r: f32[s0, 4] = aten::relu(self=%x)
  %z: f32[s0, 4] = aten::mul.Scalar(self=%r, other=%n)
  return (%z, %n)
)")};
};

TEST_F(BadInput, WrongNumber) {
  EXPECT_THAT(refusal({x_, y_, two_}), AllOf(HasSubstr("takes 4 inputs"), HasSubstr("image"), HasSubstr("3 were given")));
  EXPECT_THAT(refusal({x_, y_, two_, none_, none_}), HasSubstr("5 were given"));
  EXPECT_THAT(refusal({}), HasSubstr("0 were given"));
}

TEST_F(BadInput, WrongDtype) {
  EXPECT_THAT(refusal({x_.to(at::kDouble), y_, two_, none_}),
              AllOf(HasSubstr("image"), HasSubstr("f32"), HasSubstr("f64"), HasSubstr(".to()")));
}

TEST_F(BadInput, WrongRank) {
  EXPECT_THAT(refusal({x_[0], y_, two_, none_}), AllOf(HasSubstr("image"), HasSubstr("expected 2 dimensions, got 1")));
}

TEST_F(BadInput, WrongSize) {
  EXPECT_THAT(refusal({at::ones({3, 5}), y_, two_, none_}),
              AllOf(HasSubstr("image"), HasSubstr("dimension 1 is 5, but must be 4")));
}

TEST_F(BadInput, SizesThatContradictEachOther) {
  EXPECT_THAT(refusal({x_, at::ones({4}), two_, none_}),
              AllOf(HasSubstr("input 1 (y)"), HasSubstr("dimension 0 is 4, but must be 3")));
}

TEST_F(BadInput, ASizeOutsideTheExportedRange) {
  EXPECT_THAT(refusal({at::ones({11, 4}), at::ones({11}), two_, none_}), AllOf(HasSubstr("is 11"), HasSubstr("2 to 10")));
  EXPECT_THAT(refusal({at::ones({1, 4}), at::ones({1}), two_, none_}), AllOf(HasSubstr("is 1"), HasSubstr("2 to 10")));
  EXPECT_THAT(refusal({at::ones({0, 4}), at::ones({0}), two_, none_}), HasSubstr("2 to 10"));
}

TEST_F(BadInput, ANumberOutsideTheExportedRange) {
  EXPECT_THAT(refusal({x_, y_, 6, none_}), AllOf(HasSubstr("input 2 (n)"), HasSubstr("6"), HasSubstr("1 to 5")));
}

TEST_F(BadInput, WrongKind) {
  EXPECT_THAT(refusal({1.5, y_, two_, none_}), AllOf(HasSubstr("image"), HasSubstr("expected a tensor")));
  EXPECT_THAT(refusal({none_, y_, two_, none_}), HasSubstr("expected a tensor, got None"));
  EXPECT_THAT(refusal({x_, y_, x_, none_}), AllOf(HasSubstr("input 2 (n)"), HasSubstr("got a tensor")));
  EXPECT_THAT(refusal({x_, y_, 2.0, none_}), HasSubstr("input 2 (n)"));
  EXPECT_THAT(refusal({"text", y_, two_, none_}), HasSubstr("image"));
}

TEST_F(BadInput, AnUndefinedTensor) {
  EXPECT_THAT(refusal({at::Tensor(), y_, two_, none_}), AllOf(HasSubstr("image"), HasSubstr("undefined tensor")));
}

TEST_F(BadInput, AnotherConstantThanItWasExportedWith) {
  EXPECT_THAT(refusal({x_, y_, two_, x_}), AllOf(HasSubstr("input 3 (mask)"), HasSubstr("exported for the constant None")));
  EXPECT_THAT(refusal({x_, y_, two_, 1}), HasSubstr("mask"));
  EXPECT_THAT(refusal({x_, y_, two_, at::Tensor()}), HasSubstr("mask"));
  EXPECT_THAT(refusal({x_, y_, two_, c10::List<int64_t>({1})}), HasSubstr("mask"));
  EXPECT_THAT(refusal({x_, y_, two_, "text"}), HasSubstr("mask"));
}

TEST_F(BadInput, ASparseTensor) {
  EXPECT_THAT(refusal({x_.to_sparse(), y_, two_, none_}), AllOf(HasSubstr("strided"), HasSubstr(".to_dense()")));
}

TEST_F(BadInput, ATensorOnAnotherDevice) {
  const at::Tensor meta = at::empty({3, 4}, at::TensorOptions().device(at::kMeta));
  EXPECT_THAT(refusal({meta, y_, two_, none_}), AllOf(HasSubstr("image"), HasSubstr("cpu"), HasSubstr("meta")));
}

// The slope between the sizes for s = 0 and s = 1 wraps around to -1, and the least integer divided by that stops the process.
TEST(BadProgram, ASizeExpressionAtTheLimitsOfIntegersIsNotSolved) {
  Session session(make_program(R"(
graph(%x: f32[0 - 9223372036854775807 - 1 + 9223372036854775807*s + 9223372036854775807*s + s]):
  %y: f32[0] = aten::sin(self=%x)
  return (%y)
)"));
  EXPECT_EQ(session.run({at::zeros({0})}).at(0).numel(), 0);
}

TEST(BadProgram, SizesThatNoMemoryHasAreExplainedAsUnknown) {
  Session session(make_program(R"(
graph(%x: f32[n, 8]):
  where n
  %y: f32[n, 8] = aten::sin(self=%x)
  %z: f32[n, 8] = aten::cos(self=%y)
  return (%z)
)"));
  for (int bits = 50; bits < 63; ++bits) {
    const Explanation explanation = session.explain({{"n", int64_t{1} << bits}});
    for (const ValueExplanation& value : explanation.values)
      EXPECT_TRUE(!value.bytes || *value.bytes == int64_t{32} << bits) << value.value << " at 2^" << bits;
    EXPECT_GE(explanation.arena_bytes.value_or(0), 0);
  }
}

TEST(BadProgram, AnUnknownOperatorNamesTheNodeAndTheWayOut) {
  const Error error = error_of([] { make_program("graph(%x: f32[4]): %y = no_such_library::op(x=%x) as crop return (%y)"); });
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("test"), HasSubstr("crop"), HasSubstr("no_such_library"), HasSubstr("load")));
}

TEST(BadProgram, AFunctionOnSizesWithTooFewArgumentsIsNamed) {
  const Error error = error_of([] {
    make_program(R"(
graph(%x: f32[s0]):
  %n: int = aten::sym_size.int(self=%x, dim=0)
  %m: int = _operator.mul(a=%n)
  return (%m)
)");
  });
  EXPECT_EQ(error.code(), ErrorCode::kBadFile);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("_operator.mul"), HasSubstr("takes 2"), HasSubstr("given 1")));
}

TEST(BadProgram, AnEngineThatTheFileLacksIsNamed) {
  const Error error = error_of([] { make_program(R"(graph(%x: f32[4]): %y = engine "engine_7"(%x) as part return (%y))"); });
  EXPECT_EQ(error.code(), ErrorCode::kBadFile);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("part"), HasSubstr("engine_7")));
}

TEST(BadProgram, ABackendThatIsNotBuiltInIsNamed) {
  ProgramFile file;
  file.engines.push_back({{.name = "engine_0", .backend = "abacus", .inputs = {}, .outputs = {}, .options = {}}, {}});
  const Error error = error_of([&] { Program::make(std::move(file), "model.pt2"); });
  EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("model.pt2"), HasSubstr("engine_0"), HasSubstr("abacus"), HasSubstr("null")));
}

TEST(BadProgram, AFileThatIsNotThereIsNamed) {
  const Error error = error_of([] { Program::load("/nowhere/model.pt2"); });
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_THAT(error.what(), HasSubstr("/nowhere/model.pt2"));
}

TEST(BadProgram, ALibraryThatIsNotThereIsNamed) {
  const Error error = error_of([] { Program::load("/nowhere/model.pt2", {.custom_op_libraries = {"libno_such.so"}}); });
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_THAT(error.what(), HasSubstr("libno_such.so"));
}

TEST(BadProgram, AListAmongTheOutputsIsRefused) {
  EXPECT_THROW(Session(make_program("graph(%x: f32[4]): %y: f32[4] = aten::relu(self=%x) return ([%x, %y])")), Error);
}

}  // namespace
}  // namespace tenure
