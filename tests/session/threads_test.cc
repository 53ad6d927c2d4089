// One session, many threads.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/session/operators.h"
#include "tests/session/support.h"

namespace tenure {
namespace {

using namespace tenure::testing;

constexpr const char* kNet = R"(
graph(%x: f32[s0, 16], %w: f32[16, 16] = parameter "w"):
  where 1 <= s0 <= 64
  %h: f32[s0, 16] = aten::linear(input=%x, weight=%w)
  %r: f32[s0, 16] = aten::relu(self=%h)
  %s: f32[s0, 16] = aten::add_.Tensor(self=%r, other=%h)
  %m: b8[s0, 16] = aten::gt.Scalar(self=%s, other=0)
  %p: f32[u0] = aten::masked_select(self=%s, mask=%m)
  %q: f32[u0] = aten::sin(self=%p)
  return (%s, %q)
)";

struct Net {
  at::Tensor w = at::arange(256).to(at::kFloat).sin().view({16, 16});
  std::shared_ptr<const Program> program = make_program(kNet, {{"w", w}});
  Tensors operator()(const at::Tensor& x) const {
    const at::Tensor h = at::linear(x, w), s = at::relu(h) + h;
    return {s, at::sin(at::masked_select(s, s > 0))};
  }
  /// The k-th question of thread t; the same in each test.
  static at::Tensor question(int thread, int k) {
    const int64_t rows = 1 + (thread + k) % 5;
    return (at::arange(rows * 16).to(at::kFloat) * (0.1 + thread) + k).sin().view({rows, 16});
  }
};

/// Runs body(thread) in `count` threads.
template <typename Body>
void in_threads(int count, const Body& body) {
  std::vector<std::thread> threads;
  for (int thread = 0; thread < count; ++thread) threads.emplace_back([&body, thread] { body(thread); });
  for (std::thread& thread : threads) thread.join();
}

bool all_same(const Tensors& got, const Tensors& wanted) {
  if (got.size() != wanted.size()) return false;
  for (size_t i = 0; i < got.size(); ++i)
    if (!same_bits(got[i], wanted[i])) return false;
  return true;
}

TEST(Threads, FourThreadsOnOneSessionEachGetTheirOwnSerialAnswer) {
  const Net net;
  Session session(net.program);
  std::atomic<int> wrong = 0;
  in_threads(4, [&](int thread) {
    std::vector<std::pair<Tensors, Tensors>> held;
    for (int k = 0; k < 60; ++k) {
      const at::Tensor x = Net::question(thread, k);
      held.emplace_back(session.run({x}), net(x));
      if (k % 7 == 0) held.erase(held.begin(), held.begin() + static_cast<long>(held.size() / 2));
    }
    for (const auto& [got, wanted] : held) wrong += !all_same(got, wanted);
  });
  EXPECT_EQ(wrong, 0);
  EXPECT_LE(session.stats().frames, 4);
  EXPECT_EQ(session.stats().runs, 240);
  EXPECT_EQ(session.stats().held_slots, 0);
  EXPECT_EQ(session.stats().deviations, 0);
}

TEST(Threads, ShortLivedThreadsShareTheFrames) {
  const Net net;
  Session session(net.program, {.max_frames = 2});
  std::atomic<int> wrong = 0;
  for (int round = 0; round < 20; ++round) {
    in_threads(3, [&](int thread) {
      const at::Tensor x = Net::question(thread, round);
      wrong += !all_same(session.run({x}), net(x));
    });
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_LE(session.stats().frames, 2);
}

TEST(Threads, OneFrameSerialisesTheRuns) {
  const OperatorSwitches switches;
  const auto program = make_program("graph(%x: f32[4]): %y: f32[4] = tenure_test::slow(x=%x) return (%y)");
  Session one(program, {.max_frames = 1}), two(program, {.max_frames = 2});
  const auto ask = [](Session& session) {
    most_at_once = 0;
    in_threads(4, [&](int thread) {
      for (int k = 0; k < 4; ++k) session.run({at::full({4}, static_cast<float>(thread))});
    });
    return most_at_once.load();
  };
  EXPECT_EQ(ask(one), 1);
  EXPECT_EQ(one.stats().frames, 1);
  EXPECT_LE(ask(two), 2);
}

TEST(Threads, ResultsAreDroppedWhileOthersRun) {
  const Net net;
  Session session(net.program, {.max_output_slots = 4});
  std::atomic<int> wrong = 0;
  for (int round = 0; round < 5; ++round) {
    std::vector<Tensors> results(8);
    in_threads(4, [&](int thread) {
      for (int k = 0; k < 2; ++k) results[static_cast<size_t>(2 * thread + k)] = session.run({Net::question(thread, k)});
    });
    in_threads(4, [&](int thread) {
      // Those of another thread.
      for (int k = 0; k < 2; ++k) {
        const int other = (thread + 1) % 4;
        Tensors& dropped = results[static_cast<size_t>(2 * other + k)];
        wrong += !all_same(dropped, net(Net::question(other, k)));
        dropped.clear();
        wrong += !all_same(session.run({Net::question(thread, k)}), net(Net::question(thread, k)));
      }
    });
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(session.stats().held_slots, 0);
}

TEST(Threads, StatsExplainAndTheSwitchMayBeUsedWhileOthersRun) {
  const Net net;
  Session session(net.program);
  std::atomic<int> wrong = 0;
  in_threads(4, [&](int thread) {
    for (int k = 0; k < 40; ++k) {
      if (thread == 3) {
        session.set_pre_allocated_outputs(k % 2 == 0);
        wrong += session.stats().frames > 4;
        wrong += session.explain().values.empty();
      } else {
        const at::Tensor x = Net::question(thread, k);
        wrong += !all_same(session.run({x}), net(x));
      }
    }
  });
  EXPECT_EQ(wrong, 0);
}

TEST(Threads, StateIsChangedByOneRunAtATime) {
  Session session(make_program(R"(
graph(%x: f32[4], %n: f32[4] = buffer "n"):
  %z: f32[4] = aten::add.Tensor(self=%n, other=%x)
  return (%z, buffer "n" = %z)
)",
                               {{"n", at::zeros({4})}}));
  in_threads(4, [&](int) {
    for (int k = 0; k < 25; ++k) session.run({at::ones({4})});
  });
  expect_same(session.run({at::zeros({4})}), {at::full({4}, 100.0)});
}

TEST(Threads, SessionsOfOneProgramRunAtOnce) {
  const Net net;
  std::atomic<int> wrong = 0;
  in_threads(4, [&](int thread) {
    Session session(net.program);
    for (int k = 0; k < 20; ++k) {
      const at::Tensor x = Net::question(thread, k);
      wrong += !all_same(session.run({x}), net(x));
    }
  });
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace tenure
