// What the caller holds never changes, and comes back when it is dropped.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "tests/session/support.h"

namespace tenure {
namespace {

using namespace tenure::testing;

constexpr const char* kNet = R"(
graph(%x: f32[16, 8]):
  %r: f32[16, 8] = aten::relu(self=%x)
  %s: f32[16, 8] = aten::sin(self=%r)
  %y: f32[16, 8] = aten::add.Tensor(self=%s, other=%x)
  %v: f32[8, 16] = aten::view(self=%s, size=[8, 16])
  return (%y, %v)
)";

Tensors net(const at::Tensor& x) {
  const at::Tensor s = at::sin(at::relu(x));
  return {s + x, s.view({8, 16})};
}

TEST(HeldResult, DoesNotChangeOver1000LaterRunsNorDoesAViewOfIt) {
  Session session(make_program(kNet));
  for (int warm_up = 0; warm_up < 3; ++warm_up) session.run({at::randn({16, 8})});
  const at::Tensor x = at::randn({16, 8});
  Tensors held = session.run({x});
  const at::Tensor row = session.run({x})[0].select(0, 3);
  for (int run = 0; run < 1000; ++run) session.run({at::randn({16, 8})});
  expect_same(held, net(x));
  expect_same({row}, {net(x)[0].select(0, 3)});
  EXPECT_EQ(session.stats().held_slots, 3);
  EXPECT_EQ(session.stats().last_run_allocations, 0);
}

TEST(HeldResult, OfTheObservingRunDoesNotChangeEither) {
  Session session(make_program(kNet));
  const at::Tensor x = at::randn({16, 8});
  const Tensors held = session.run({x});
  for (int run = 0; run < 20; ++run) session.run({at::randn({16, 8})});
  expect_same(held, net(x));
}

TEST(HeldResult, ResultsDroppedInRandomOrderStayRightWhileTheyAreHeld) {
  Session session(make_program(kNet));
  std::mt19937 random(3);
  std::vector<std::pair<Tensors, Tensors>> held;
  for (int run = 0; run < 500; ++run) {
    const at::Tensor x = at::randn({16, 8});
    held.emplace_back(session.run({x}), net(x));
    if (random() % 3 == 0) held.back().first.erase(held.back().first.begin()), held.back().second.erase(held.back().second.begin());
    while (held.size() > random() % 30) {
      std::swap(held[random() % held.size()], held.back());
      expect_same(held.back().first, held.back().second);
      held.pop_back();
    }
  }
  for (const auto& [got, wanted] : held) expect_same(got, wanted);
  held.clear();
  EXPECT_EQ(session.stats().held_slots, 0);
  EXPECT_LE(session.stats().slots, 2 * 32);
}

TEST(HeldResult, MoreThanMaxOutputSlotsAreOrdinaryTensors) {
  Session session(make_program(kNet), {.max_output_slots = 3});
  std::vector<std::pair<Tensors, Tensors>> held;
  for (int run = 0; run < 20; ++run) {
    const at::Tensor x = at::randn({16, 8});
    held.emplace_back(session.run({x}), net(x));
  }
  EXPECT_EQ(session.stats().slots, 6);
  EXPECT_EQ(session.stats().held_slots, 6);
  EXPECT_EQ(session.stats().last_run_allocations, 2);
  for (const auto& [got, wanted] : held) expect_same(got, wanted);
  held.clear();
  session.run({at::randn({16, 8})});
  EXPECT_EQ(session.stats().last_run_allocations, 0);
}

TEST(HeldResult, OutlivesTheSessionAndTheProgram) {
  const at::Tensor x = at::randn({16, 8});
  Tensors held;
  {
    Session session(make_program(kNet));
    for (int run = 0; run < 3; ++run) held = session.run({x});
  }
  expect_same(held, net(x));
  std::thread([&] { held.clear(); }).join();
}

TEST(HeldResult, MayBeChangedByTheCaller) {
  Session session(make_program(kNet));
  const at::Tensor x = at::randn({16, 8});
  for (int run = 0; run < 5; ++run) {
    Tensors results = session.run({x});
    expect_same(results, net(x));
    results[0].fill_(99);
    results[1].resize_({1000});
  }
}

TEST(HeldResult, IsAnObjectOfItsOwnInEachRun) {
  Session session(make_program(kNet));
  const at::Tensor x = at::randn({16, 8});
  const Tensors first = session.run({x}), second = session.run({x}), third = session.run({x});
  EXPECT_FALSE(first[0].is_same(second[0]));
  EXPECT_FALSE(second[0].is_same(third[0]));
  EXPECT_FALSE(second[0].requires_grad());
}

TEST(HeldResult, MayBeTheNextInput) {
  Session session(make_program(kNet));
  at::Tensor x = at::randn({16, 8}), wanted = x;
  for (int run = 0; run < 50; ++run) {
    x = session.run({x})[0];
    wanted = net(wanted)[0];
    expect_same({x}, {wanted});
  }
}

TEST(HeldResult, ReturnsToItsSlotWhenDroppedByAnotherThread) {
  Session session(make_program(kNet));
  for (int run = 0; run < 50; ++run) {
    Tensors results = session.run({at::randn({16, 8})});
    std::thread([dropped = std::move(results)]() mutable { dropped.clear(); }).join();
  }
  EXPECT_EQ(session.stats().held_slots, 0);
  EXPECT_EQ(session.stats().slots, 2);
}

}  // namespace
}  // namespace tenure
