#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <random>

#include "tenure/base/error.h"
#include "tenure/plan/plan.h"

namespace tenure::plan {
namespace {

using testing::ElementsAre;

constexpr Planner kPlanners[] = {&greedy_by_size};

Buffer bytes(Time begin, Time end, Bytes size) { return {.begin = begin, .end = end, .size = size, .alignment = 1}; }

// Pisarchyk and Lee, figure 6: first and last operator (both inclusive) and size of each tensor.
const std::vector<Buffer> kFigure6 = {bytes(0, 2, 32), bytes(1, 5, 28), bytes(2, 6, 36), bytes(3, 6, 16),
                                      bytes(4, 6, 8),  bytes(5, 8, 64), bytes(6, 9, 10), bytes(7, 9, 40)};

TEST(GreedyBySize, PacksTheExampleOfItsPaperIntoPeakLive) {
  const Layout layout = greedy_by_size(kFigure6);
  EXPECT_EQ(find_violation(kFigure6, layout), std::nullopt);
  EXPECT_EQ(peak_live(kFigure6), 124);
  EXPECT_EQ(layout.arena_size, 124);
}

TEST(GreedyBySize, NeedsNothingForNoBuffers) {
  const Layout layout = greedy_by_size({});
  EXPECT_TRUE(layout.offsets.empty());
  EXPECT_EQ(layout.arena_size, 0);
}

TEST(GreedyBySize, LivesThatOnlyTouchShareMemory) {
  const Layout layout = greedy_by_size({bytes(0, 3, 8), bytes(3, 5, 8), bytes(5, 6, 4)});
  EXPECT_THAT(layout.offsets, ElementsAre(0, 0, 0));
  EXPECT_EQ(layout.arena_size, 8);
}

TEST(GreedyBySize, BuffersAliveTogetherLieSideBySide) {
  const Layout layout = greedy_by_size({bytes(0, 3, 4), bytes(2, 5, 8)});
  EXPECT_THAT(layout.offsets, ElementsAre(8, 0));
  EXPECT_EQ(layout.arena_size, 12);
}

TEST(GreedyBySize, TakesTheSmallestGapThatFits) {
  // From time 10 on there are gaps of 30 bytes at 100 and of 20 bytes at 160. Were 20 bytes put into the lower one, 215 would be
  // needed.
  const std::vector<Buffer> buffers = {bytes(0, 20, 100), bytes(0, 10, 30),  bytes(0, 20, 30),  bytes(0, 10, 20),
                                       bytes(0, 20, 20),  bytes(10, 20, 20), bytes(10, 20, 15), bytes(10, 20, 15)};
  const Layout layout = greedy_by_size(buffers);
  EXPECT_EQ(find_violation(buffers, layout), std::nullopt);
  EXPECT_EQ(layout.arena_size, peak_live(buffers));
}

TEST(GreedyBySize, RespectsEachAlignment) {
  const std::vector<Buffer> buffers = {{.begin = 0, .end = 2, .size = 100, .alignment = 1},
                                       {.begin = 0, .end = 2, .size = 10, .alignment = 64},
                                       {.begin = 0, .end = 2, .size = 5, .alignment = 4096}};
  const Layout layout = greedy_by_size(buffers);
  EXPECT_THAT(layout.offsets, ElementsAre(0, 128, 4096));
  EXPECT_EQ(layout.arena_size, 4101);
}

TEST(GreedyBySize, EmptyBuffersOccupyNothing) {
  const std::vector<Buffer> buffers = {bytes(0, 2, 0), bytes(0, 2, 16), bytes(0, 2, 0)};
  const Layout layout = greedy_by_size(buffers);
  EXPECT_EQ(layout.arena_size, 16);
  EXPECT_EQ(find_violation(buffers, layout), std::nullopt);
}

TEST(GreedyBySize, RefusesBuffersThatAreNone) {
  EXPECT_THROW(greedy_by_size({bytes(2, 2, 1)}), Error);
  EXPECT_THROW(greedy_by_size({bytes(0, 1, -1)}), Error);
  EXPECT_THROW(greedy_by_size({{.begin = 0, .end = 1, .size = 1, .alignment = 3}}), Error);
  EXPECT_THROW(greedy_by_size({{.begin = 0, .end = 1, .size = 1, .alignment = 0}}), Error);
  EXPECT_THROW(greedy_by_size({bytes(0, 2, INT64_MAX), bytes(1, 2, 1)}), Error);
}

TEST(PeakLive, IsTheLargestSumAliveAtOneInstant) {
  EXPECT_EQ(peak_live({}), 0);
  EXPECT_EQ(peak_live({bytes(0, 3, 4), bytes(2, 5, 8), bytes(3, 4, 5)}), 13);
  EXPECT_THROW(peak_live({bytes(0, 2, INT64_MAX), bytes(1, 2, 1)}), Error);
}

std::vector<Buffer> random_buffers(std::mt19937_64& random, size_t count) {
  const auto below = [&](int64_t n) { return static_cast<int64_t>(random() % static_cast<uint64_t>(n)); };
  const Time span = 1 + below(100);
  std::vector<Buffer> buffers(count);
  for (Buffer& buffer : buffers) {
    buffer.begin = below(span) - span / 2;
    buffer.end = buffer.begin + 1 + below(1 + span / 4);
    buffer.size = below(10) == 0 ? 0 : below(int64_t{1} << (1 + below(20)));
    buffer.alignment = int64_t{1} << below(9);
  }
  return buffers;
}

TEST(EveryPlanner, MakesValidLayoutsOfAtLeastPeakLiveForRandomBuffers) {
  std::mt19937_64 random(7);
  for (const Planner planner : kPlanners) {
    for (int i = 0; i < 300; ++i) {
      const std::vector<Buffer> buffers = random_buffers(random, random() % 120);
      const Layout layout = planner(buffers);
      ASSERT_EQ(find_violation(buffers, layout), std::nullopt) << "instance " << i;
      ASSERT_GE(layout.arena_size, peak_live(buffers));
    }
  }
}

TEST(EveryPlanner, GivesTheSameLayoutEachTime) {
  std::mt19937_64 random(8);
  const std::vector<Buffer> buffers = random_buffers(random, 200);
  for (const Planner planner : kPlanners) EXPECT_EQ(planner(buffers).offsets, planner(buffers).offsets);
}

TEST(EveryPlanner, PlansThousandsOfBuffersWithinSeconds) {
  std::mt19937_64 random(9);
  const std::vector<Buffer> buffers = random_buffers(random, 2000);
  for (const Planner planner : kPlanners) {
    const auto start = std::chrono::steady_clock::now();
    const Layout layout = planner(buffers);
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
    EXPECT_EQ(find_violation(buffers, layout), std::nullopt);
  }
}

}  // namespace
}  // namespace tenure::plan
