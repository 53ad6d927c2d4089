// What a session computes, and that it replays.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/session/support.h"

namespace tenure {
namespace {

using namespace tenure::testing;

constexpr const char* kNet = R"(
graph(%x: f32[s0, 8], %w: f32[8, 8] = parameter "w", %b: f32[8] = parameter "b"):
  where 1 <= s0 <= 64
  %h: f32[s0, 8] = aten::linear(input=%x, weight=%w, bias=%b)
  %r: f32[s0, 8] = aten::relu(self=%h)
  %s: f32[s0, 8] = aten::sin(self=%r)
  %t: f32[s0, 8] = aten::add.Tensor(self=%s, other=%h)
  %p: f32[s0, 8] = aten::softmax.int(self=%t, dim=-1)
  return (%t, %p)
)";

struct Net {
  Net() { at::manual_seed(1); }
  at::Tensor w = at::randn({8, 8}), b = at::randn({8});
  std::shared_ptr<const Program> program = make_program(kNet, {{"w", w}, {"b", b}});
  Tensors operator()(const at::Tensor& x) const {
    const at::Tensor h = at::linear(x, w, b), t = at::sin(at::relu(h)) + h;
    return {t, at::softmax(t, -1)};
  }
};

TEST(Session, AnswersEqualEagerBitForBitOverManyRunsWithChangingInputs) {
  const Net net;
  Session session(net.program);
  for (int run = 0; run < 200; ++run) {
    const at::Tensor x = at::randn({1 + run % 7, 8});
    expect_same(session.run({x}), net(x));
  }
  EXPECT_EQ(session.stats().runs, 200);
  EXPECT_EQ(session.stats().deviations, 0);
}

TEST(Session, TheFirstRunOfASignatureObservesAndLaterOnesReplay) {
  const Net net;
  Session session(net.program);
  for (int run = 0; run < 10; ++run) session.run({at::randn({3, 8})});
  const Stats stats = session.stats();
  EXPECT_EQ(stats.observing_runs, 1);
  EXPECT_EQ(stats.replays, 9);
  EXPECT_EQ(stats.plans, 1);
  EXPECT_EQ(stats.frames, 1);
  EXPECT_EQ(stats.last_run_allocations, 0);
  EXPECT_GT(stats.standing_bytes, 0);
}

TEST(Session, AlternatingShapesObserveOnlyOnceEach) {
  const Net net;
  Session session(net.program);
  for (int run = 0; run < 20; ++run) {
    const at::Tensor x = at::randn({run % 2 == 0 ? 3 : 64, 8});
    expect_same(session.run({x}), net(x));
  }
  EXPECT_EQ(session.stats().observing_runs, 2);
  EXPECT_EQ(session.stats().replays, 18);
  EXPECT_EQ(session.stats().last_run_allocations, 0);
}

TEST(Session, StridesAreAPartOfTheSignature) {
  const Net net;
  Session session(net.program);
  for (int run = 0; run < 6; ++run) {
    const at::Tensor x = run % 2 == 0 ? at::randn({5, 8}) : at::randn({8, 5}).t();
    expect_same(session.run({x}), net(x));
  }
  EXPECT_EQ(session.stats().observing_runs, 2);
}

TEST(Session, MemoryStaysConstantInASteadyState) {
  const Net net;
  Session session(net.program);
  const at::Tensor x = at::randn({5, 8});
  for (int run = 0; run < 3; ++run) session.run({x});
  const Stats before = session.stats();
  for (int run = 0; run < 100; ++run) session.run({x});
  EXPECT_EQ(session.stats().standing_bytes, before.standing_bytes);
  EXPECT_EQ(session.stats().leased_bytes, before.leased_bytes);
  EXPECT_EQ(session.stats().slots, before.slots);
  EXPECT_EQ(session.stats().held_slots, 0);
}

TEST(Session, PreAllocatedOutputsOffGivesTheSameBits) {
  const Net net;
  Session session(net.program);
  Session plain(net.program, {.pre_allocated_outputs = false});
  EXPECT_FALSE(plain.pre_allocated_outputs());
  for (int run = 0; run < 10; ++run) {
    const at::Tensor x = at::randn({5, 8});
    session.set_pre_allocated_outputs(run % 3 != 0);
    const Tensors got = session.run({x});
    expect_same(got, plain.run({x}));
    expect_same(got, net(x));
  }
  EXPECT_EQ(plain.stats().replays + plain.stats().observing_runs, 0);
  EXPECT_EQ(plain.stats().runs, 10);
}

TEST(Session, WithPreAllocatedOutputsOffItTellsHowManyAllocationsARunMade) {
  const Net net;
  Session session(net.program);
  const at::Tensor x = at::randn({5, 8});
  session.run({x});
  EXPECT_GE(session.stats().last_run_allocations, 5) << "the observing run allocates everything";
  session.run({x});
  EXPECT_EQ(session.stats().last_run_allocations, 0);
  session.set_pre_allocated_outputs(false);
  session.run({x});
  EXPECT_GE(session.stats().last_run_allocations, 5);
}

TEST(Session, MorePlansThanTheBudgetHoldsGiveRightAnswers) {
  const Net net;
  Session one(net.program);
  for (int run = 0; run < 2; ++run) one.run({at::randn({3, 8})});
  const int64_t budget = one.stats().plan_bytes * 5 / 2;
  Session session(net.program, {.max_plan_bytes = budget});
  for (int run = 0; run < 30; ++run) {
    const at::Tensor x = at::randn({1 + run % 5, 8});
    expect_same(session.run({x}), net(x));
    EXPECT_LE(session.stats().plan_bytes, budget);
  }
  EXPECT_EQ(session.stats().plans, 2);
}

TEST(Session, TheLastPlanStaysHoweverSmallTheBudget) {
  const Net net;
  Session session(net.program, {.max_plan_bytes = 1});
  const at::Tensor x = at::randn({3, 8});
  for (int run = 0; run < 4; ++run) expect_same(session.run({x}), net(x));
  EXPECT_EQ(session.stats().observing_runs, 1);
  EXPECT_EQ(session.stats().plans, 1);
}

TEST(Session, OperatorsThatTakeScratchReplay) {
  at::manual_seed(2);
  const at::Tensor w = at::randn({4, 3, 3, 3}), g = at::randn({4}), b = at::randn({4});
  Session session(make_program(R"(
graph(%x: f32[2, 3, 16, 16], %w: f32[4, 3, 3, 3] = parameter "w", %g: f32[4] = parameter "g", %b: f32[4] = parameter "b"):
  %c: f32[2, 4, 16, 16] = aten::conv2d(input=%x, weight=%w, bias=%b, padding=[1, 1])
  %n: f32[2, 4, 16, 16], %m: f32[4], %v: f32[4] = aten::native_batch_norm(input=%c, weight=%g, bias=%b, running_mean=%b, running_var=%g, training=False, momentum=0.1, eps=100000.0)
  %p: f32[2, 4, 8, 8], None = aten::max_pool2d_with_indices(self=%n, kernel_size=[2, 2])
  %l: f32[2, 4, 8, 8] = aten::layer_norm(input=%p, normalized_shape=[8])
  %f: f32[2, 256] = aten::flatten.using_ints(self=%l, start_dim=1)
  return (%f)
)",
                               {{"w", w}, {"g", g}, {"b", b}}));
  for (int run = 0; run < 5; ++run) {
    const at::Tensor x = at::randn({2, 3, 16, 16});
    const at::Tensor n = std::get<0>(at::native_batch_norm(at::conv2d(x, w, b, 1, 1), g, b, b, g, false, 0.1, 1e5));
    const at::Tensor p = std::get<0>(at::max_pool2d_with_indices(n, {2, 2}));
    expect_same(session.run({x}), {at::layer_norm(p, {8}).flatten(1)});
  }
  EXPECT_EQ(session.stats().replays, 4);
  EXPECT_EQ(session.stats().last_run_allocations, 0);
}

TEST(Session, EmptyAndScalarTensorsAreTensors) {
  Session session(make_program(R"(
graph(%x: f32[s0, 3], %k: f32[]):
  %r: f32[s0, 3] = aten::relu(self=%x)
  %s: f32[] = aten::sum(self=%r)
  %p: f32[] = aten::mul.Tensor(self=%s, other=%k)
  %v: f32[3*s0] = aten::view(self=%r, size=[-1])
  return (%r, %p, %v)
)"));
  for (int64_t rows : {0, 2, 0, 2, 0, 1}) {
    const at::Tensor x = at::randn({rows, 3}), k = at::randn({});
    const at::Tensor r = at::relu(x);
    expect_same(session.run({x, k}), {r, r.sum() * k, r.view({-1})});
  }
  EXPECT_EQ(session.stats().deviations, 0);
}

TEST(Session, DataDependentSizesMayBeNoneOneOrMany) {
  Session session(make_program(R"(
graph(%x: f32[8]):
  %m: b8[8] = aten::gt.Scalar(self=%x, other=0)
  %p: f32[u0] = aten::masked_select(self=%x, mask=%m)
  %q: f32[u0] = aten::mul.Tensor(self=%p, other=%p)
  %n: i64[u1, 1] = aten::nonzero(self=%m)
  %s: f32[] = aten::sum(self=%q)
  %y: f32[] = aten::sin(self=%s)
  return (%q, %n, %y)
)"));
  Tensors held, wanted;
  for (int run = 0; run < 60; ++run) {
    const int64_t positive = run % 3 == 0 ? 0 : run % 3 == 1 ? 1 : 1 + run % 8;
    at::Tensor x = -at::rand({8}) - 0.1;
    x.narrow(0, 0, positive).neg_();
    const at::Tensor p = at::masked_select(x, x > 0);
    const Tensors expected = {p * p, at::nonzero(x > 0), (p * p).sum().sin()};
    const Tensors got = session.run({x});
    expect_same(got, expected);
    if (run % 5 == 0)
      held.insert(held.end(), got.begin(), got.end()), wanted.insert(wanted.end(), expected.begin(), expected.end());
  }
  expect_same(held, wanted);
  EXPECT_EQ(session.stats().deviations, 0);
  EXPECT_EQ(session.stats().observing_runs, 1);
}

TEST(Session, NeedsAProgramAndSensibleOptions) {
  EXPECT_THROW(Session(nullptr), Error);
  const Net net;
  EXPECT_THROW(Session(net.program, {.max_frames = 0}), Error);
  EXPECT_THROW(Session(net.program, {.max_output_slots = 0}), Error);
}

TEST(Session, CanBeMoved) {
  const Net net;
  Session first(net.program);
  const at::Tensor x = at::randn({5, 8});
  first.run({x});
  Session second = std::move(first);
  expect_answers(second, {x}, net(x));
  EXPECT_EQ(second.stats().runs, 4);
}

TEST(Explain, TellsWhereEachValueLies) {
  const Net net;
  Session session(net.program);
  EXPECT_EQ(session.explain().signature, "");
  EXPECT_EQ(explain_value(session, "h").bytes, std::nullopt) << "unknown before a run";
  session.run({at::randn({5, 8})});
  const ValueExplanation h = explain_value(session, "h"), t = explain_value(session, "t");
  EXPECT_EQ(session.explain().signature, "f32[5, 8]");
  EXPECT_EQ(h.ownership, Ownership::kStanding);
  EXPECT_EQ(h.where, "arena");
  EXPECT_EQ(h.bytes, 5 * 8 * 4);
  EXPECT_TRUE(h.arena_offset.has_value());
  EXPECT_EQ(h.target, "aten::linear");
  EXPECT_EQ(t.ownership, Ownership::kLeased);
  EXPECT_EQ(t.where, "slot 0");
  EXPECT_EQ(explain_value(session, "x").where, "caller");
  EXPECT_EQ(explain_value(session, "w").where, "weight");
  EXPECT_NE(session.explain().table().find("standing"), std::string::npos);
}

}  // namespace
}  // namespace tenure
