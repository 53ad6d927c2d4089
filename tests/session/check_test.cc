// SessionOptions::check_ownership: what it finds, and that it is silent where all is well.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tenure/session/allocator.h"
#include "tests/session/operators.h"
#include "tests/session/support.h"

namespace tenure {
namespace {

using namespace tenure::testing;

constexpr const char* kTrespass = R"(
graph(%x: f32[8]):
  %a: f32[8] = aten::sin(self=%x)
  %b: f32[8] = aten::cos(self=%x)
  %t: f32[8] = OPERATOR(x=%b) as trespasser
  %c: f32[8] = aten::add.Tensor(self=%a, other=%t)
  return (%c)
)";

std::shared_ptr<const Program> trespassing_with(const std::string& op) {
  std::string text = kTrespass;
  return make_program(text.replace(text.find("OPERATOR"), 8, op));
}

/// The Error of the first of a few runs that throws one, once `other_way` is set.
Error violation(Session& session) {
  for (int run = 0; run < 3; ++run) session.run({at::randn({8})});
  other_way = true;
  return error_of([&] {
    for (int run = 0; run < 3; ++run) session.run({at::randn({8})});
  });
}

void expect_names(const Error& error, const std::vector<std::string>& words) {
  EXPECT_EQ(error.code(), ErrorCode::kOwnership) << error.what();
  for (const std::string& word : words) EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
}

TEST(Check, AnOperatorThatWritesBehindItsResultIsNamedWithTheRun) {
  const OperatorSwitches switches;
  Session session(trespassing_with("aten::_tenure_test_overrun"), {.check_ownership = true});
  expect_names(violation(session), {"trespasser", "run 4", "not its to write"});
}

TEST(Check, SoIsTheValueThatItWroteInto) {
  const OperatorSwitches switches;
  Session session(trespassing_with("aten::_tenure_test_underrun"), {.check_ownership = true});
  expect_names(violation(session), {"trespasser", "of the arena"});
}

TEST(Check, AnOperatorThatWritesToAnOperandThatItsSchemaOnlyReadsIsNamed) {
  const OperatorSwitches switches;
  Session session(trespassing_with("tenure_test::scribble"), {.check_ownership = true});
  expect_names(violation(session), {"trespasser", "wrote to its operand b"});
}

TEST(Check, AWriteBehindASlotIsFound) {
  const OperatorSwitches switches;
  Session session(make_program(R"(
graph(%x: f32[8]):
  %y: f32[8] = aten::_tenure_test_overrun(x=%x) as trespasser
  return (%y)
)"),
                  {.check_ownership = true});
  expect_names(violation(session), {"trespasser", "memory behind a buffer of trespasser"});
}

TEST(Check, AWriteBehindAResultThatIsSmallerThanItsSlotIsFound) {
  const OperatorSwitches switches;
  Session session(make_program(R"(
graph(%x: f32[n]):
  where n
  %y: f32[n] = aten::_tenure_test_overrun(x=%x) as trespasser
  return (%y)
)"),
                  {.check_ownership = true});
  for (int run = 0; run < 3; ++run) session.run({at::randn({64})});
  expect_names(violation(session), {"trespasser", "memory behind a buffer of trespasser"});
}

TEST(Check, AWriteToAResultThatWasLetGoIsFoundByTheNextRun) {
  Session session(make_program("graph(%x: f32[8]): %y: f32[8] = aten::sin(self=%x) as maker return (%y)"),
                  {.check_ownership = true});
  session.run({at::randn({8})});
  float* stale = nullptr;
  stale = session.run({at::randn({8})})[0].data_ptr<float>();
  stale[3] = 1;
  expect_names(error_of([&] { session.run({at::randn({8})}); }), {"run 3", "a free buffer of maker", "let it go"});
}

TEST(Check, AValueThatIsReadAfterItsLifeIsPoison) {
  Session session(make_program("graph(%x: f32[8]): %y: f32[8] = aten::sin(self=%x) return (%y)"), {.check_ownership = true});
  session.run({at::randn({8})});
  const float* stale = session.run({at::randn({8})})[0].const_data_ptr<float>();
  EXPECT_NE(stale[0], stale[0]) << "a NaN";
}

TEST(Check, AnOperatorThatKeepsPlannedMemoryIsFoundAtTheRunsEnd) {
  const OperatorSwitches switches;
  Session session(make_program(R"(
graph(%x: f32[8]):
  %y: f32[8] = aten::_tenure_test_keep(x=%x)
  %s: f32[8] = aten::sin(self=%y)
  return (%s)
)"),
                  {.check_ownership = true});
  for (int run = 0; run < 2; ++run) session.run({at::randn({8})});
  keep_output = true;
  expect_names(error_of([&] { session.run({at::randn({8})}); }), {"kept memory of the arena"});
}

TEST(Check, TheSessionGoesOnAfterAViolation) {
  const OperatorSwitches switches;
  Session session(trespassing_with("aten::_tenure_test_overrun"), {.check_ownership = true});
  violation(session);
  other_way = false;
  for (int run = 0; run < 3; ++run) {
    const at::Tensor x = at::randn({8});
    expect_same(session.run({x}), {at::sin(x) + at::cos(x) * 2});
  }
}

}  // namespace
}  // namespace tenure
