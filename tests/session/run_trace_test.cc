// What a traced session notes of its runs.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <set>
#include <thread>

#include "tests/session/support.h"

namespace tenure {
namespace {

using namespace tenure::testing;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr const char* kNet = R"(
graph(%x: f32[3, 4]):
  %r: f32[3, 4] = engine "relu"(%x)
  %v: f32[4, 3] = aten::t(self=%r)
  %s: f32[4, 3] = aten::sin(self=%v)
  %t: f32[4, 3] = aten::add.Tensor(self=%s, other=%s)
  return (%t)
)";

std::vector<Span> of_kind(const Trace& trace, Span::Kind kind) {
  std::vector<Span> found;
  for (Span& span : trace.spans())
    if (span.kind == kind) found.push_back(std::move(span));
  return found;
}

std::vector<std::string> names(const std::vector<Span>& spans) {
  std::vector<std::string> names;
  for (const Span& span : spans) names.push_back(span.name);
  return names;
}

TEST(RunTrace, EachRunTellsHowItWasMadeAndItsNodesLieWithinIt) {
  Session session(make_program(kNet, {}, {"relu"}));
  const auto trace = std::make_shared<Trace>();
  session.set_trace(trace);
  for (int run = 0; run < 2; ++run) session.run({at::randn({3, 4})});
  session.set_pre_allocated_outputs(false);
  session.run({at::randn({3, 4})});
  const std::vector<Span> runs = of_kind(*trace, Span::Kind::kRun);
  EXPECT_THAT(names(runs), ElementsAre("observing run", "replay", "plain run"));
  for (const Span& span : trace->spans()) {
    const Span& run = runs.at(static_cast<size_t>(span.run) - 1);
    EXPECT_GE(span.begin_ns, run.begin_ns) << span.name;
    EXPECT_LE(span.begin_ns + span.duration_ns, run.begin_ns + run.duration_ns) << span.name;
    EXPECT_EQ(span.clock, Span::Clock::kHost);
  }
  const std::vector<Span> engines = of_kind(*trace, Span::Kind::kEngine);
  ASSERT_EQ(engines.size(), 3u);
  EXPECT_EQ(engines[0].name, "r");
  EXPECT_EQ(engines[0].target, "relu");
}

TEST(RunTrace, WhatASteadyRunDoesNotExecuteIsNotThere) {
  Session session(make_program(kNet, {}, {"relu"}));
  session.run({at::randn({3, 4})});
  const auto trace = std::make_shared<Trace>();
  session.set_trace(trace);
  session.run({at::randn({3, 4})});
  EXPECT_THAT(names(of_kind(*trace, Span::Kind::kOperator)), ElementsAre("s", "t")) << "%v is a view of fixed memory";
}

TEST(RunTrace, TracingChangesNoAnswerAndAllocatesNothing) {
  Session session(make_program(kNet, {}, {"relu"}));
  session.set_trace(std::make_shared<Trace>());
  const at::Tensor x = at::randn({3, 4}), s = at::sin(x.relu().t());
  expect_answers(session, {x}, {s + s});
  EXPECT_EQ(session.stats().last_run_allocations, 0);
}

TEST(RunTrace, CountersTellTheMemoryAfterEachRun) {
  Session session(make_program(kNet, {}, {"relu"}));
  const auto trace = std::make_shared<Trace>();
  session.set_trace(trace);
  for (int run = 0; run < 3; ++run) session.run({at::randn({3, 4})});
  std::vector<int64_t> allocations, standing;
  for (const Counter& counter : trace->counters()) {
    if (counter.name == "allocations") allocations.push_back(counter.value);
    if (counter.name == "standing bytes") standing.push_back(counter.value);
  }
  ASSERT_EQ(allocations.size(), 3u);
  EXPECT_GT(allocations[0], 0);
  EXPECT_EQ(allocations[2], 0);
  EXPECT_EQ(standing.back(), session.stats().standing_bytes);
}

TEST(RunTrace, AfterTheTraceIsTakenAwayNothingIsNoted) {
  Session session(make_program(kNet, {}, {"relu"}));
  const auto trace = std::make_shared<Trace>();
  session.set_trace(trace);
  session.set_trace(nullptr);
  session.run({at::randn({3, 4})});
  EXPECT_THAT(trace->spans(), IsEmpty());
  EXPECT_EQ(trace.use_count(), 1);
}

TEST(RunTrace, ARunThatThrowsIsNotNotedAndTheNextOneIs) {
  Session session(make_program(R"(
graph(%x: f32[4], %i: i64[2]):
  %a: f32[4] = aten::sin(self=%x)
  %b: f32[2] = aten::index_select(self=%a, dim=0, index=%i)
  return (%b)
)"));
  const auto trace = std::make_shared<Trace>();
  session.set_trace(trace);
  const at::Tensor x = at::randn({4});
  EXPECT_THROW(session.run({x, at::full({2}, 9, at::kLong)}), Error);
  EXPECT_THAT(trace->spans(), IsEmpty());
  session.run({x, at::zeros({2}, at::kLong)});
  EXPECT_EQ(of_kind(*trace, Span::Kind::kRun).size(), 1u);
}

TEST(RunTrace, RunsOfSeveralThreadsHaveTracksOfTheirOwn) {
  Session session(make_program(kNet, {}, {"relu"}));
  const auto trace = std::make_shared<Trace>();
  session.set_trace(trace);
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i)
    threads.emplace_back([&] {
      for (int run = 0; run < 20; ++run) session.run({at::randn({3, 4})});
    });
  for (std::thread& thread : threads) thread.join();
  std::set<int64_t> seen, numbers;
  const std::vector<Span> runs = of_kind(*trace, Span::Kind::kRun);
  for (const Span& run : runs) {
    seen.insert(run.thread);
    numbers.insert(run.run);
  }
  EXPECT_EQ(runs.size(), 60u);
  EXPECT_EQ(seen.size(), 3u);
  EXPECT_EQ(numbers.size(), 60u);
}

}  // namespace
}  // namespace tenure
