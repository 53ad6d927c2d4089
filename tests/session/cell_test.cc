#include "tenure/session/cell.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "tenure/session/allocator.h"
#include "tenure/session/region.h"

namespace tenure {
namespace {

constexpr size_t kMany = 64;

/// A pool of slots with a ledger of its own.
struct Slots : CellPool {
  Slots() : CellPool(CellUse::kSlot, std::make_shared<Ledger>()) {}
};

void* take(CellPool& pool, size_t bytes, size_t max_cells) {
  Cell* const cell = pool.acquire(bytes, max_cells);
  return cell != nullptr ? cell->data() : nullptr;
}

TEST(CellPool, ReusesACellOnlyWhenNobodyHoldsIt) {
  Slots pool;
  void* first = take(pool, 100, kMany);
  void* second = take(pool, 100, kMany);
  EXPECT_NE(first, second);
  EXPECT_EQ(pool.held(), 2U);
  tenure_delete(first);
  EXPECT_EQ(pool.held(), 1U);
  EXPECT_EQ(take(pool, 100, kMany), first);
  tenure_delete(first);
  tenure_delete(second);
  EXPECT_EQ(pool.held(), 0U);
  EXPECT_EQ(pool.cells(), 2U);
}

TEST(CellPool, MemoryIsAlignedTo64) {
  Slots pool;
  void* p = take(pool, 100, kMany);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % 64, 0U);
  tenure_delete(p);
}

TEST(CellPool, GrowsAFreeCellThatIsTooSmallInsteadOfMakingAnother) {
  Slots pool;
  tenure_delete(take(pool, 1000, kMany));
  void* p = take(pool, 1001, kMany);
  EXPECT_EQ(pool.cells(), 1U);
  EXPECT_GE(pool.bytes(), 1500U) << "growth by half, so that a slowly growing size settles";
  std::memset(p, 1, 1001);
  tenure_delete(p);
  EXPECT_EQ(take(pool, 1500, kMany), p);
  tenure_delete(p);
}

TEST(CellPool, ServesASmallRequestFromTheSmallestCellThatHoldsIt) {
  Slots pool;
  void* large = take(pool, 100000, kMany);
  void* small = take(pool, 10, kMany);
  tenure_delete(large);
  tenure_delete(small);
  EXPECT_EQ(take(pool, 8, kMany), small);
  EXPECT_EQ(take(pool, 8, kMany), large);
  tenure_delete(large);
  tenure_delete(small);
}

TEST(CellPool, GivesNullWhenTheMostCellsAreHeldAndServesAgainWhenOneIsFree) {
  Slots pool;
  void* first = take(pool, 10, 2);
  void* second = take(pool, 10, 2);
  EXPECT_EQ(take(pool, 10, 2), nullptr);
  tenure_delete(first);
  EXPECT_EQ(take(pool, 10, 2), first);
  tenure_delete(first);
  tenure_delete(second);
}

TEST(CellPool, AStorageMayBeFreedInAnotherThread) {
  Slots pool;
  void* p = take(pool, 10, kMany);
  std::thread([&] { tenure_delete(p); }).join();
  EXPECT_EQ(pool.held(), 0U);
  EXPECT_EQ(take(pool, 10, kMany), p);
  tenure_delete(p);
}

TEST(CellPool, AHeldCellOutlivesItsPool) {
  const size_t used = cell_region().used();
  auto pool = std::make_unique<Slots>();
  void* held = take(*pool, 100, kMany);
  tenure_delete(take(*pool, 100, kMany));
  pool.reset();
  std::memset(held, 1, 100);
  EXPECT_GT(cell_region().used(), used);
  tenure_delete(held);
  EXPECT_EQ(cell_region().used(), used);
}

TEST(CellPool, FreeingRacesWithTheEndOfThePool) {
  const size_t used = cell_region().used();
  for (int round = 0; round < 200; ++round) {
    auto pool = std::make_unique<Slots>();
    std::vector<void*> held = {take(*pool, 8, kMany), take(*pool, 8, kMany)};
    std::thread other([&] {
      for (void* p : held) tenure_delete(p);
    });
    pool.reset();
    other.join();
  }
  EXPECT_EQ(cell_region().used(), used);
}

TEST(CellPool, MakesTheNextCellAheadForACallerThatCollectsResults) {
  Slots pool;
  std::vector<void*> held;
  for (int run = 0; run < 3; ++run) {
    held.push_back(take(pool, 10, kMany));
    pool.allocate_ahead(kMany);
  }
  EXPECT_EQ(pool.cells(), 4U);
  // It goes on doing so as long as the caller goes on collecting.
  for (int run = 0; run < 5; ++run) {
    held.push_back(take(pool, 10, kMany));
    pool.allocate_ahead(kMany);
    EXPECT_EQ(pool.cells(), held.size() + 1);
  }
  for (void* p : held) tenure_delete(p);
}

TEST(CellPool, MakesNothingAheadForACallerThatKeepsOnlyTheLastResult) {
  Slots pool;
  void* last = nullptr;
  for (int run = 0; run < 20; ++run) {
    void* next = take(pool, 10, kMany);
    pool.allocate_ahead(kMany);
    if (last != nullptr) tenure_delete(last);
    last = next;
  }
  EXPECT_EQ(pool.cells(), 2U);
  tenure_delete(last);
}

TEST(CellPool, MakesNothingAheadBeyondTheMost) {
  Slots pool;
  std::vector<void*> held;
  for (int run = 0; run < 3; ++run) {
    held.push_back(take(pool, 10, 3));
    pool.allocate_ahead(3);
  }
  EXPECT_EQ(pool.cells(), 3U);
  for (void* p : held) tenure_delete(p);
}

}  // namespace
}  // namespace tenure
