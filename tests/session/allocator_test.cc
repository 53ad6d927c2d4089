#include "tenure/session/allocator.h"

#include <ATen/ATen.h>
#include <c10/core/CPUAllocator.h>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "tenure/session/region.h"

namespace tenure {
namespace {

/// Serves `place` once and records what it sees.
class Script final : public MemoryScope {
 public:
  explicit Script(void* place = nullptr) : place_(place) {}
  Served serve(Space, size_t bytes) override {
    requested.push_back(bytes);
    return {std::exchange(place_, nullptr)};
  }
  void allocated(Space, void* p, size_t) override { ordinary.push_back(p); }
  void allocated_raw(size_t) override {}
  void freed(void* p) override { gone.push_back(p); }

  std::vector<size_t> requested;
  std::vector<void*> ordinary, gone;

 private:
  void* place_;
};

class Allocator : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { install_allocator(); }
};

TEST_F(Allocator, InstallingItTwiceChangesNothing) {
  c10::Allocator* before = c10::GetCPUAllocator();
  install_allocator();
  EXPECT_EQ(c10::GetCPUAllocator(), before);
}

TEST_F(Allocator, OutsideAScopeTensorsLieInOrdinaryMemory) {
  const at::Tensor tensor = at::ones({1000});
  EXPECT_FALSE(arena_region().contains(tensor.data_ptr()));
  EXPECT_EQ(tensor.sum().item<float>(), 1000);
}

TEST_F(Allocator, AScopeServesARequestAndSeesItFreed) {
  void* chunk = arena_region().allocate(4096);
  Script script(chunk);
  {
    const MemoryScopeGuard guard(&script);
    at::Tensor first = at::empty({16}), second = at::empty({16});
    EXPECT_EQ(first.data_ptr(), chunk);
    EXPECT_EQ(script.requested, (std::vector<size_t>{64, 64}));
    ASSERT_EQ(script.ordinary.size(), 1U);
    EXPECT_EQ(script.ordinary[0], second.data_ptr());
    first = at::Tensor();
    EXPECT_EQ(script.gone, std::vector<void*>{chunk});
  }
  arena_region().deallocate(chunk, 4096);
}

TEST_F(Allocator, RawMemoryIsServedAndFreedTheSameWay) {
  void* chunk = arena_region().allocate(4096);
  Script script(chunk);
  {
    const MemoryScopeGuard guard(&script);
    c10::Allocator* allocator = c10::GetCPUAllocator();
    void* served = allocator->raw_allocate(64);
    void* ordinary = allocator->raw_allocate(64);
    EXPECT_EQ(served, chunk);
    allocator->raw_deallocate(served);
    allocator->raw_deallocate(ordinary);
    EXPECT_EQ(script.gone, (std::vector<void*>{chunk, ordinary}));
  }
  arena_region().deallocate(chunk, 4096);
}

TEST_F(Allocator, AScopeIsItsThreadsOwn) {
  Script script;
  const MemoryScopeGuard guard(&script);
  std::thread([] { at::ones({16}); }).join();
  EXPECT_TRUE(script.requested.empty());
  EXPECT_TRUE(script.gone.empty());
}

TEST_F(Allocator, GuardsNestAndNullLetsRequestsPass) {
  Script outer, inner;
  const MemoryScopeGuard first(&outer);
  {
    const MemoryScopeGuard second(&inner);
    const MemoryScopeGuard third(nullptr);
    at::empty({16});
  }
  EXPECT_TRUE(outer.requested.empty());
  EXPECT_TRUE(inner.requested.empty());
  at::empty({16});
  EXPECT_EQ(outer.requested.size(), 1U);
}

TEST_F(Allocator, EmptyTensorsAskForNothing) {
  Script script;
  const MemoryScopeGuard guard(&script);
  EXPECT_EQ(at::empty({0}).numel(), 0);
  EXPECT_TRUE(script.requested.empty());
}

TEST_F(Allocator, AServedTensorThatGrowsMovesToOrdinaryMemory) {
  void* chunk = arena_region().allocate(4096);
  Script script(chunk);
  at::Tensor tensor;
  {
    const MemoryScopeGuard guard(&script);
    tensor = at::full({16}, 3.0);
  }
  tensor.resize_({4096});
  EXPECT_FALSE(arena_region().contains(tensor.data_ptr()));
  EXPECT_EQ(tensor[15].item<float>(), 3.0);
  arena_region().deallocate(chunk, 4096);
}

}  // namespace
}  // namespace tenure
