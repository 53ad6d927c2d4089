// Session::explain(): what it tells of scratch, of results that are state too, and of sizes that depend on data.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/session/support.h"

namespace tenure {
namespace {

using namespace tenure::testing;

bool says(const ValueExplanation& value, const std::string& words) { return value.reason.find(words) != std::string::npos; }

TEST(Explain, ScratchOfAnOperatorHasARow) {
  Session session(make_program(R"(
graph(%x: f32[4, 64]):
  %y: f32[4, 64] = aten::layer_norm(input=%x, normalized_shape=[64]) as norm
  return (%y)
)"));
  for (int run = 0; run < 2; ++run) session.run({at::randn({4, 64})});
  const Explanation explanation = session.explain();
  const ValueExplanation row = explain_value(session, "scratch of norm");  // means and deviations, which nobody asked for
  EXPECT_EQ(row.ownership, Ownership::kStanding);
  EXPECT_GE(row.bytes, 2 * 4 * 4);
  EXPECT_LE(*row.arena_offset + *row.bytes, *explanation.arena_bytes);
  EXPECT_EQ(row.first_node, row.last_node);
}

TEST(Explain, AResultWhoseSizeDependsOnDataSaysSoAfterARunToo) {
  Session session(make_program("graph(%x: f32[8]): %y: i64[u0, 1] = aten::nonzero(self=%x) return (%y)"));
  for (int run = 0; run < 2; ++run) session.run({at::ones({8})});
  const ValueExplanation value = explain_value(session, "y");
  EXPECT_TRUE(says(value, "depends on data")) << value.reason;
}

TEST(Explain, AResultThatIsABuffersNewContentTooSaysSo) {
  Session session(make_program(R"(
graph(%x: f32[8], %n: f32[8] = buffer "n"):
  %y: f32[8] = aten::add.Tensor(self=%x, other=%n)
  return (%y, buffer "n" = %y)
)",
                               {{"n", at::zeros({8})}}));
  for (int run = 0; run < 2; ++run) session.run({at::ones({8})});
  const ValueExplanation value = explain_value(session, "y");
  EXPECT_TRUE(says(value, "returned to the caller as output 0")) << value.reason;
  EXPECT_TRUE(value.where == "state" || says(value, "copied into n at the end of the run")) << value.where << ": " << value.reason;
}

}  // namespace
}  // namespace tenure
