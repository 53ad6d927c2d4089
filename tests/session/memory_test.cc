// What a session's memory grows to, what bounds it, and how it is given back.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <thread>

#include "tenure/session/region.h"
#include "tests/session/operators.h"
#include "tests/session/support.h"

namespace tenure {
namespace {

using namespace tenure::testing;

constexpr const char* kNet = R"(
graph(%x: f32[s0, 64]):
  where 1 <= s0 <= 4096
  %a: f32[s0, 64] = aten::sin(self=%x)
  %b: f32[s0, 64] = aten::cos(self=%a)
  %c: f32[s0, 64] = aten::add.Tensor(self=%a, other=%b)
  return (%c)
)";

at::Tensor answer(const at::Tensor& x) { return at::sin(x) + at::cos(at::sin(x)); }

void expect_right(Session& session, int64_t rows) {
  const at::Tensor x = at::randn({rows, 64});
  expect_same(session.run({x}), {answer(x)});
}

TEST(Memory, ShapesThatAlternateReallocateNothingAfterTheFirstOfEach) {
  Session session(make_program(kNet));
  for (int64_t rows : {100, 7, 100, 7}) expect_right(session, rows);
  const Stats before = session.stats();
  for (int run = 0; run < 10; ++run) {
    expect_right(session, run % 2 == 0 ? 100 : 7);
    EXPECT_EQ(session.stats().last_run_allocations, 0);
  }
  EXPECT_EQ(session.stats().standing_bytes, before.standing_bytes);
  EXPECT_EQ(session.stats().leased_bytes, before.leased_bytes);
  EXPECT_EQ(session.stats().observing_runs, 2);
}

TEST(Memory, AShapeThatShrinksUsesTheCapacityThatIsThere) {
  Session session(make_program(kNet));
  for (int run = 0; run < 2; ++run) expect_right(session, 1000);
  const Stats large = session.stats();
  for (int64_t rows = 900; rows > 0; rows -= 100)
    for (int run = 0; run < 2; ++run) expect_right(session, rows);
  EXPECT_EQ(session.stats().standing_bytes, large.standing_bytes);
  EXPECT_EQ(session.stats().leased_bytes, large.leased_bytes);
}

TEST(Memory, TrimGivesEverythingBackThatIsNotHeldAndForgetsNoPlan) {
  Session session(make_program(kNet));
  for (int run = 0; run < 2; ++run) expect_right(session, 1000);
  const at::Tensor x = at::randn({1000, 64}), held = session.run({x})[0];
  const Stats before = session.stats();
  const size_t used = arena_region().used() + cell_region().used();
  const int64_t given_back = session.trim();
  const Stats after = session.stats();
  EXPECT_EQ(given_back, before.standing_bytes) << "the only slot is held";
  EXPECT_EQ(after.standing_bytes, 0);
  EXPECT_EQ(after.held_slots, 1);
  EXPECT_EQ(after.leased_bytes, before.leased_bytes);
  EXPECT_LE(arena_region().used() + cell_region().used(), used - static_cast<size_t>(given_back)) << "to the system";
  expect_same({held}, {answer(x)});
  for (int run = 0; run < 2; ++run) expect_right(session, 1000);
  EXPECT_EQ(session.stats().observing_runs, 1);
  EXPECT_EQ(session.stats().last_run_allocations, 0);
  expect_same({held}, {answer(x)});
}

TEST(Memory, ASlotThatIsHeldWhenItIsTrimmedGoesWhenItIsLetGo) {
  Session session(make_program(kNet));
  for (int run = 0; run < 2; ++run) expect_right(session, 10);
  at::Tensor held = session.run({at::randn({10, 64})})[0];
  session.trim();
  session.trim();
  held = at::Tensor();
  session.trim();
  EXPECT_EQ(session.stats().slots, 0);
  EXPECT_EQ(session.stats().leased_bytes, 0);
}

TEST(Memory, TrimWhileOthersRunTakesNothingFromThem) {
  Session session(make_program(kNet));
  std::atomic<bool> done = false;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      Tensors held, wanted;
      for (int run = 0; run < 200; ++run) {
        const at::Tensor x = at::full({1 + (run + t) % 7, 64}, 0.01 * run);
        held.push_back(session.run({x})[0]);
        wanted.push_back(answer(x));
        if (held.size() > 5) held.erase(held.begin()), wanted.erase(wanted.begin());
        for (size_t i = 0; i < held.size(); ++i) wrong += !same_bits(held[i], wanted[i]);
      }
      done = true;
    });
  }
  while (!done) session.trim();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  session.trim();
  EXPECT_EQ(session.stats().slots, 0);
}

TEST(Memory, PlansBeyondTheBudgetGoAndTheirPreparedCallsWithThem) {
  Session unbounded(make_program(kNet));
  for (int run = 0; run < 2; ++run) expect_right(unbounded, 5);
  const int64_t one = unbounded.stats().plan_bytes;
  Session session(make_program(kNet), {.max_plan_bytes = 3 * one + one / 2});
  for (int round = 0; round < 3; ++round)
    for (int64_t rows = 1; rows <= 6; ++rows) expect_right(session, rows);
  EXPECT_EQ(session.stats().plans, 3);
  EXPECT_EQ(session.stats().observing_runs, 18) << "six in turn never find their plan among the last three";
  for (int round = 0; round < 3; ++round)
    for (int64_t rows = 4; rows <= 6; ++rows) expect_right(session, rows);
  EXPECT_EQ(session.stats().observing_runs, 18) << "three do";
}

TEST(Memory, ACallerThatKeepsEverythingPinsNoMoreThanTheSlotsAllow) {
  Session session(make_program(kNet), {.max_output_slots = 3});
  Tensors held, wanted;
  for (int run = 0; run < 10; ++run) {
    const at::Tensor x = at::randn({5, 64});
    held.push_back(session.run({x})[0]);
    wanted.push_back(answer(x));
  }
  expect_same(held, wanted);
  const Stats stats = session.stats();
  EXPECT_EQ(stats.slots, 3);
  EXPECT_EQ(stats.held_slots, 3);
  EXPECT_EQ(stats.leased_bytes, 3 * 5 * 64 * 4);
  EXPECT_EQ(stats.slot_overflows, 6) << "of nine replays three got a slot";
  EXPECT_EQ(stats.last_run_allocations, 1);
  held.clear();
  expect_right(session, 5);
  EXPECT_EQ(session.stats().slot_overflows, 6);
  EXPECT_EQ(session.stats().last_run_allocations, 0);
}

// What the caller does to a result's storage is his affair: the slot's memory comes back through its deleter or not at all.
TEST(Memory, ASlotWhoseTensorTheCallerResizedSetOrMovedAwayHoldsNoOldMemory) {
  Session session(make_program(kNet));
  for (int run = 0; run < 2; ++run) expect_right(session, 5);
  for (int run = 0; run < 12; ++run) {
    const at::Tensor x = at::randn({5, 64});
    at::Tensor got = session.run({x})[0];
    const at::Tensor wanted = answer(x);
    if (run % 3 == 0) {
      got.resize_({50, 64});
      EXPECT_TRUE(at::equal(got.narrow(0, 0, 5), wanted));
      got.fill_(7);
    } else if (run % 3 == 1) {
      const at::Tensor other = at::full({3}, 7.0);
      got.set_(other);
      expect_right(session, 5);
      EXPECT_TRUE(at::equal(got, at::full({3}, 7.0)));
    } else {
      c10::DataPtr moved = got.storage().set_data_ptr(at::full({5, 64}, 7.0).storage().set_data_ptr(c10::DataPtr()));
      expect_right(session, 5);
      EXPECT_TRUE(at::equal(got, at::full({5, 64}, 7.0)));
      EXPECT_EQ(std::memcmp(moved.get(), wanted.const_data_ptr(), wanted.nbytes()), 0) << "moved away, it is still held";
    }
    expect_right(session, 5);
  }
  EXPECT_EQ(session.stats().held_slots, 0);
  EXPECT_LE(session.stats().slots, 2);
}

TEST(Memory, StatsInsideARunWaitForNothing) {
  const OperatorSwitches switches;
  Session session(make_program("graph(%x: f32[4]): %y: f32[4] = tenure_test::call_back(x=%x) return (%y)"));
  Stats seen;
  on_call_back = [&] { seen = session.stats(), session.explain(); };
  for (int run = 0; run < 3; ++run) session.run({at::ones({4})});
  EXPECT_EQ(seen.runs, 2);
}

TEST(Memory, ARunInsideARunOfTheSameSessionGetsAFrameOfItsOwnOrAnError) {
  const OperatorSwitches switches;
  const auto program = make_program("graph(%x: f32[4]): %y: f32[4] = tenure_test::call_back(x=%x) return (%y)");
  Session two(program, {.max_frames = 2}), one(program, {.max_frames = 1});
  for (Session* session : {&two, &one}) {
    std::string refused;
    int depth = 0;
    on_call_back = [&] {
      if (++depth > 1) return;
      try {
        expect_same(session->run({at::full({4}, 2.0)}), {at::full({4}, 3.0)});
      } catch (const Error& error) {
        refused = error.what();
      }
    };
    for (int run = 0; run < 3; ++run) {
      depth = 0;
      expect_same(session->run({at::ones({4})}), {at::full({4}, 2.0)});
    }
    EXPECT_EQ(refused.empty(), session == &two) << refused;
  }
}

}  // namespace
}  // namespace tenure
