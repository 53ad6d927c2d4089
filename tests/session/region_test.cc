#include "tenure/session/region.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <random>
#include <utility>
#include <vector>

namespace tenure {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

TEST(Region, ContainsItsChunksAndNothingElse) {
  Region region(kMiB);
  char* chunk = static_cast<char*>(region.allocate(100));
  ASSERT_NE(chunk, nullptr);
  const char local = 0;
  EXPECT_TRUE(region.contains(chunk));
  EXPECT_TRUE(region.contains(chunk + 99));
  EXPECT_FALSE(region.contains(&local));
  EXPECT_FALSE(region.contains(nullptr));
}

TEST(Region, ChunksAreZeroedAndPageAligned) {
  Region region(kMiB);
  for (int round = 0; round < 2; ++round) {
    char* chunk = static_cast<char*>(region.allocate(5000));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(chunk) % static_cast<uintptr_t>(sysconf(_SC_PAGESIZE)), 0U);
    EXPECT_EQ(chunk[0], 0);
    EXPECT_EQ(chunk[4999], 0);
    std::memset(chunk, 7, 5000);
    region.deallocate(chunk, 5000);
  }
}

TEST(Region, GivesNullWhenTheRangeIsExhaustedAndServesAgainAfterwards) {
  Region region(kMiB);
  void* all = region.allocate(kMiB);
  ASSERT_NE(all, nullptr);
  EXPECT_EQ(region.allocate(1), nullptr);
  region.deallocate(all, kMiB);
  EXPECT_NE(region.allocate(kMiB), nullptr);
}

TEST(Region, NeighboursMergeWhateverTheOrderInWhichTheyAreFreed) {
  Region region(kMiB);
  std::mt19937 random(1);
  std::vector<std::pair<void*, size_t>> chunks;
  for (int step = 0; step < 2000; ++step) {
    if (chunks.size() < 20 && random() % 2 == 0) {
      const size_t bytes = random() % 20000;  // 0 is a size, too
      if (void* chunk = region.allocate(bytes)) chunks.emplace_back(chunk, bytes);
    } else if (!chunks.empty()) {
      std::swap(chunks[random() % chunks.size()], chunks.back());
      region.deallocate(chunks.back().first, chunks.back().second);
      chunks.pop_back();
    }
  }
  for (const auto& [chunk, bytes] : chunks) region.deallocate(chunk, bytes);
  EXPECT_EQ(region.used(), 0U);
  EXPECT_NE(region.allocate(kMiB), nullptr) << "something was lost";
}

TEST(Region, ChunksInUseDoNotOverlapEvenIfEmpty) {
  Region region(kMiB);
  void* empty = region.allocate(0);
  void* other = region.allocate(0);
  EXPECT_NE(empty, other);
}

TEST(Region, IsEmptyWhenTheSystemRefuses) {
  Region region(~size_t{0} - (size_t{1} << 16));
  EXPECT_EQ(region.allocate(1), nullptr);
  EXPECT_FALSE(region.contains(&region));
}

using RegionDeathTest = ::testing::Test;

TEST(RegionDeathTest, AStalePointerFaults) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers install their own handler";
#endif
  Region region(kMiB);
  volatile char* chunk = static_cast<char*>(region.allocate(100));
  region.deallocate(const_cast<char*>(chunk), 100);
  EXPECT_DEATH(chunk[0] = 1, "");
}

}  // namespace
}  // namespace tenure
