// Engines (the null engine) inside programs: who owns their outputs.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/session/support.h"

namespace tenure {
namespace {

using namespace tenure::testing;
using ::testing::HasSubstr;

constexpr const char* kTwo = R"(
graph(%x: f32[2, 3], %y: f32[2, 3]):
  %s: f32[2, 3], %p: f32[2, 3] = engine "two_outputs"(%x, %y)
  %r: f32[2, 3] = aten::relu(self=%p)
  return (%s, %r)
)";

TEST(EngineBlock, OutputsThatAreReturnedAreLeasedAndTheOthersStand) {
  const auto program = make_program(kTwo, {}, {"two_outputs"});
  Session session(program);
  std::vector<std::pair<Tensors, Tensors>> held;
  for (int run = 0; run < 10; ++run) {
    const at::Tensor x = at::randn({2, 3}), y = at::randn({2, 3});
    held.emplace_back(session.run({x, y}), Tensors{x + y, at::relu(x * y)});
  }
  for (const auto& [got, wanted] : held) expect_same(got, wanted);
  EXPECT_EQ(session.stats().last_run_allocations, 0);
  EXPECT_EQ(session.stats().engine_blocks, 1);
  EXPECT_EQ(session.stats().aten_blocks, 1);
  EXPECT_EQ(explain_value(session, "s").ownership, Ownership::kLeased);
  EXPECT_EQ(explain_value(session, "p").ownership, Ownership::kStanding);
  EXPECT_EQ(explain_value(session, "p").where, "arena");
  const Engine& engine = *program->engines().at("two_outputs");
  EXPECT_TRUE(engine.are_output_tensors_unowned(0));
  EXPECT_FALSE(engine.are_output_tensors_unowned(1));
  held.clear();
  EXPECT_EQ(session.stats().held_slots, 0) << "the engine's context must hold no slot";
}

TEST(EngineBlock, TheOwnershipSwitchesChangePlacementAtTheNextRun) {
  const auto program = make_program(kTwo, {}, {"two_outputs"});
  Session session(program);
  const at::Tensor x = at::randn({2, 3}), y = at::randn({2, 3});
  const Tensors wanted = {x + y, at::relu(x * y)};
  expect_answers(session, {x, y}, wanted);
  EXPECT_EQ(explain_value(session, "p").where, "arena");
  program->engines().at("two_outputs")->set_output_tensors_as_unowned(true);
  expect_answers(session, {x, y}, wanted);
  EXPECT_EQ(explain_value(session, "p").where, "slot 1");
  EXPECT_THAT(explain_value(session, "p").reason, HasSubstr("set_output_tensors_as_unowned"));
  program->engines().at("two_outputs")->set_output_tensors_as_unowned(1, false);
  expect_answers(session, {x, y}, wanted);
  EXPECT_EQ(explain_value(session, "p").where, "arena");
  EXPECT_EQ(session.stats().observing_runs, 3);
  EXPECT_EQ(session.stats().last_run_allocations, 0);
  EXPECT_THROW(program->engines().at("two_outputs")->set_output_tensors_as_unowned(0, false), Error) << "it is returned";
}

TEST(EngineBlock, AViewOfAnOutputThatIsReturnedKeepsTheOutput) {
  const auto program = make_program(R"(
graph(%x: f32[2, 3], %y: f32[2, 3]):
  %s: f32[2, 3], %p: f32[2, 3] = engine "two_outputs"(%x, %y)
  %v: f32[3, 2] = aten::view(self=%s, size=[3, 2])
  %t: f32[2] offset (2) = aten::select.int(self=%v, dim=0, index=1)
  return (%t)
)",
                                    {}, {"two_outputs"});
  Session session(program);
  std::vector<std::pair<Tensors, Tensors>> held;
  for (int run = 0; run < 10; ++run) {
    const at::Tensor x = at::randn({2, 3}), y = at::randn({2, 3});
    held.emplace_back(session.run({x, y}), Tensors{(x + y).view({3, 2})[1]});
  }
  for (const auto& [got, wanted] : held) expect_same(got, wanted);
  EXPECT_TRUE(program->engines().at("two_outputs")->are_output_tensors_unowned(0));
  EXPECT_EQ(explain_value(session, "s").where, "slot 0");
  EXPECT_EQ(explain_value(session, "p").where, "arena");
  EXPECT_THAT(explain_value(session, "s").reason, HasSubstr("through"));
}

// A KV cache that an engine updates: one aliased binding, while the other outputs go on being standing and leased.
TEST(EngineBlock, AnAliasedBindingIsWrittenInPlaceAndTurnsNoReuseOffForTheOthers) {
  Session session(make_program(R"(
graph(%x: f32[2, 3], %cache: f32[2, 3] = buffer "cache"):
  %sum: f32[2, 3], %product: f32[2, 3] = engine "two_outputs"(%x, %cache)
  %r: f32[2, 3] = aten::relu(self=%product)
  return (%r, buffer "cache" = %sum)
)",
                               {{"cache", at::ones({2, 3})}}, {"two_outputs"}, AliasedBinding{.output = 0, .input = 1}));
  at::Tensor cache = at::ones({2, 3});
  Tensors held, wanted;
  for (int run = 0; run < 8; ++run) {
    const at::Tensor x = at::randn({2, 3});
    held.push_back(session.run({x})[0]);
    wanted.push_back(at::relu(x * cache));
    cache = x + cache;
    expect_same({session.state_dict().at("cache")}, {cache});
  }
  expect_same(held, wanted);
  EXPECT_EQ(explain_value(session, "sum").where, "view of cache");
  EXPECT_EQ(explain_value(session, "product").where, "arena");
  EXPECT_EQ(explain_value(session, "r").where, "slot 0");
  held.clear();
  session.run({at::randn({2, 3})});
  EXPECT_EQ(session.stats().last_run_allocations, 0);
}

// The engine wants dense memory: the caller's strided tensor is brought into it and back.
TEST(EngineBlock, AnAliasedBindingOfAnInputThatIsNotContiguousReachesTheCaller) {
  Session session(make_program(R"(
graph(%x: f32[2, 3], %y: f32[2, 3]):
  %sum: f32[2, 3], %product: f32[2, 3] = engine "two_outputs"(%x, %y)
  return (%product)
)",
                               {}, {"two_outputs"}, AliasedBinding{.output = 0, .input = 1}));
  for (int run = 0; run < 5; ++run) {
    const at::Tensor x = at::randn({2, 3}), y = at::randn({3, 2}).t(), before = y.clone();
    expect_same(session.run({x, y}), {x * before});
    expect_same({y}, {x + before});
  }
}

TEST(EngineBlock, ChangingSizesAndInputsThatAreNotContiguous) {
  Session session(make_program(R"(
graph(%x: f32[s0, 8]):
  where 1 <= s0 <= 64
  %a: f32[s0, 8] = aten::relu(self=%x)
  %y: f32[s0, 4] = engine "dynamic_batch"(%a)
  %z: f32[s0, 4] = engine "dynamic_batch"(%x)
  %w: f32[s0, 4] = aten::add.Tensor(self=%y, other=%z)
  return (%w, %z)
)",
                               {}, {"dynamic_batch"}));
  Session plain(make_program(R"(
graph(%x: f32[s0, 8]): %z: f32[s0, 4] = engine "dynamic_batch"(%x) return (%z)
)",
                             {}, {"dynamic_batch"}),
                {.pre_allocated_outputs = false});
  const auto linear = [&](const at::Tensor& x) { return plain.run({x})[0]; };
  std::vector<std::pair<Tensors, Tensors>> held;
  for (int run = 0; run < 24; ++run) {
    const int64_t rows = 1 + run % 3 * 20;
    const at::Tensor x = run % 2 == 0 ? at::randn({rows, 8}) : at::randn({8, rows}).t();
    const at::Tensor z = linear(x);
    held.emplace_back(session.run({x}), Tensors{linear(at::relu(x)) + z, z});
  }
  for (const auto& [got, wanted] : held) expect_same(got, wanted);
  EXPECT_EQ(session.stats().last_run_allocations, 0);
  EXPECT_EQ(session.stats().deviations, 0);
}

TEST(EngineBlock, ThatTakesWhatDependsOnData) {
  Session session(make_program(R"(
graph(%x: f32[6, 4]):
  %c: f32[6] strides [4] = aten::select.int(self=%x, dim=1, index=0)
  %m: b8[6] = aten::gt.Scalar(self=%c, other=0)
  %i: i64[u0, 1] = aten::nonzero(self=%m)
  %j: i64[u0] = aten::view(self=%i, size=[-1])
  %r: f32[u0, 4] = aten::index.Tensor(self=%x, indices=[%j])
  %a: f32[u0, 4], %b: f32[u0, 4] = engine "identity"(%r)
  %s: f32[u0, 4] = aten::sin(self=%b)
  return (%a, %s)
)",
                               {}, {"identity"}));
  std::vector<std::pair<Tensors, Tensors>> held;
  for (int run = 0; run < 14; ++run) {
    at::Tensor x = -at::rand({6, 4}) - 0.1;
    x.narrow(0, 0, run % 7).neg_();
    const at::Tensor r = x.narrow(0, 0, run % 7);
    held.emplace_back(session.run({x}), copies({r, at::sin(r + 1)}));
  }
  for (const auto& [got, wanted] : held) expect_same(got, wanted);
  EXPECT_EQ(session.stats().deviations, 0);
}

TEST(EngineBlock, EveryOutputMayBeReturned) {
  Session session(make_program(R"(
graph(%x: f32[s0, 4]):
  %a: f32[s0, 4], %b: f32[s0, 4] = engine "identity"(%x)
  return (%b, %a, %x, %a)
)",
                               {}, {"identity"}));
  for (int run = 0; run < 5; ++run) {
    const at::Tensor x = at::randn({3, 4});
    const Tensors got = session.run({x});
    expect_same(got, {x + 1, x, x, x});
    EXPECT_FALSE(got[1].is_alias_of(x));
  }
}

TEST(EngineBlock, AnOutputThatNobodyReadsIsWrittenAllTheSame) {
  Session session(make_program(R"(
graph(%x: f32[s0, 4]):
  None, %b: f32[s0, 4] = engine "identity"(%x)
  %s: f32[s0, 4] = aten::sin(self=%b)
  return (%s)
)",
                               {}, {"identity"}));
  for (int run = 0; run < 6; ++run) {
    const at::Tensor x = at::randn({run % 2 == 0 ? 3 : 300, 4});
    session.set_pre_allocated_outputs(run < 4);
    expect_same(session.run({x}), {at::sin(x + 1)});
  }
}

TEST(EngineBlock, ThatRefusesItsInputNamesTheNodeAndLeavesTheSessionUsable) {
  Session session(make_program(R"(
graph(%x: f32[s0, 3], %y: f32[2, 3]):
  %r: f32[s0, 3] = aten::relu(self=%x)
  %s: f32[2, 3], None = engine "two_outputs"(%r, %y) as part
  return (%s)
)",
                               {}, {"two_outputs"}));
  for (int run = 0; run < 4; ++run) {
    const at::Tensor x = at::randn({2, 3}), y = at::randn({2, 3});
    expect_same(session.run({x, y}), {at::relu(x) + y});
    EXPECT_THAT(error_of([&] { session.run({at::randn({5, 3}), y}); }).what(), HasSubstr("part"));
  }
  EXPECT_EQ(session.stats().held_slots, 0);
}

constexpr const char* kPositives = R"(
graph(%x: f32[s0, 4]):
  %a: f32[s0, 4] = aten::sub.Scalar(self=%x, other=1)
  %p: i64[u0, 2], %d: f32[s0, 4] = engine "positives"(%a)
  %q: i64[u0, 2] = aten::mul.Tensor(self=%p, other=%p)
  %t: i64[2, u0] strides [1, 2] = aten::transpose.int(self=%p, dim0=0, dim1=1)
  %s: f32[] = aten::sum(self=%d)
  return (%t, %q, %s)
)";

Tensors positives(const at::Tensor& x) {
  const at::Tensor places = at::nonzero(x > 1);
  return {places.t(), places * places, at::sum((x - 1) * 2)};
}

TEST(EngineBlock, AnOutputWhoseSizeDependsOnDataLiesInABufferThatGrowsAndIsNeverCopied) {
  Session session(make_program(kPositives, {}, {"positives"}));
  std::vector<std::pair<Tensors, Tensors>> held;
  for (int run = 0; run < 20; ++run) {
    const at::Tensor x = at::randn({5, 4}) + (run % 3);
    held.emplace_back(session.run({x}), positives(x));
    if (run % 4 == 3) held.clear();
  }
  for (const auto& [got, wanted] : held) expect_same(got, wanted);
  held.clear();
  const at::Tensor most = at::full({5, 4}, 2.0), some = at::arange(20).to(at::kFloat).view({5, 4}) - 10;
  for (int run = 0; run < 3; ++run) session.run({most});
  for (int run = 0; run < 3; ++run) {
    expect_same(session.run({some}), positives(some));
    EXPECT_EQ(session.stats().last_run_allocations, 0) << "a buffer that was large enough once is so again";
  }
  EXPECT_EQ(session.stats().deviations, 0);
  EXPECT_EQ(session.stats().observing_runs, 1);
}

TEST(EngineBlock, AReturnedOutputWhoseSizeDependsOnDataIsNotOverwrittenWhileItIsHeld) {
  Session session(make_program(kPositives, {}, {"positives"}));
  const at::Tensor x = at::full({5, 4}, 2.0), y = -x;
  for (int run = 0; run < 3; ++run) session.run({x});
  const Tensors kept = session.run({x}), wanted = copies(kept);
  for (int run = 0; run < 3; ++run) session.run({run % 2 == 0 ? y : x});
  expect_same(kept, wanted);
}

}  // namespace
}  // namespace tenure
