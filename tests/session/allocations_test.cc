// A steady run makes no ATen allocation: counted beneath Tenure's allocator, by one that Tenure does not know.
#include <ATen/ATen.h>
#include <c10/core/CPUAllocator.h>
#include <gtest/gtest.h>

#include <atomic>

#include "tests/session/operators.h"
#include "tests/session/support.h"

namespace tenure {
namespace {

using namespace tenure::testing;

std::atomic<int64_t> allocations;
c10::Allocator* below = nullptr;

class CountingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    allocations += bytes > 0;
    return below->allocate(bytes);
  }
  c10::DeleterFnPtr raw_deleter() const override { return below->raw_deleter(); }
  void copy_data(void* destination, const void* source, size_t bytes) const override {
    below->copy_data(destination, source, bytes);
  }
};

// Before any session is made, and before GoogleTest runs anything.
const bool installed = [] {
  static CountingAllocator counting;
  below = c10::GetCPUAllocator();
  c10::SetCPUAllocator(&counting, /*priority=*/1);
  return true;
}();

/// Allocations of one run on `inputs`, its results dropped.
int64_t allocations_of(Session& session, const Tensors& inputs) {
  const int64_t before = allocations;
  session.run(inputs);
  return allocations - before;
}

/// Runs all `questions` three times, then expects that no run allocates, whether or not its result is kept until the next.
void expect_steady(Session& session, const std::vector<Tensors>& questions) {
  ASSERT_TRUE(installed);
  EXPECT_GT(allocations_of(session, questions[0]), 0) << "the observing run allocates: the counter counts";
  Tensors last;
  for (int round = 0; round < 3; ++round)
    for (const Tensors& question : questions) last = session.run(question);
  const int64_t before = allocations;
  for (int round = 0; round < 10; ++round)
    for (const Tensors& question : questions) last = session.run(question);
  EXPECT_EQ(allocations - before, 0);
  EXPECT_EQ(session.stats().deviations, 0);
  EXPECT_EQ(session.stats().last_run_allocations, 0);
  session.set_pre_allocated_outputs(false);
  EXPECT_GT(allocations_of(session, questions[0]), 0) << "turned off, each run allocates";
}

TEST(SteadyRun, OfLinearLayersOfAlternatingSizesAllocatesNothing) {
  Session session(make_program(R"(
graph(%x: f32[s0, 16], %w: f32[16, 16] = parameter "w"):
  %h: f32[s0, 16] = aten::linear(input=%x, weight=%w)
  %n: f32[s0, 16] = aten::layer_norm(input=%h, normalized_shape=[16])
  %g: f32[s0, 16] = aten::gelu(self=%n)
  %t: f32[16, s0] strides [1, 16] = aten::transpose.int(self=%g, dim0=0, dim1=1)
  %m: f32[s0, s0] = aten::matmul(self=%g, other=%t)
  %p: f32[s0, s0] = aten::softmax.int(self=%m, dim=-1)
  return (%p, %n)
)",
                               {{"w", at::randn({16, 16})}}));
  expect_steady(session, {{at::randn({3, 16})}, {at::randn({40, 16})}, {at::randn({16, 8}).t()}});
}

TEST(SteadyRun, OfConvolutionsAllocatesNothing) {
  Session session(make_program(R"(
graph(%x: f32[1, 3, 32, 32], %w: f32[8, 3, 3, 3] = parameter "w", %v: f32[8, 8, 3, 3] = parameter "v"):
  %c: f32[1, 8, 32, 32] = aten::conv2d(input=%x, weight=%w, padding=[1, 1])
  %r: f32[1, 8, 32, 32] = aten::relu_(self=%c)
  %d: f32[1, 8, 32, 32] = aten::conv2d(input=%r, weight=%v, padding=[1, 1])
  %a: f32[1, 8, 32, 32] = aten::add.Tensor(self=%d, other=%r)
  %p: f32[1, 8, 16, 16] = aten::max_pool2d(self=%a, kernel_size=[2, 2])
  %m: f32[1, 8, 1, 1] = aten::mean.dim(self=%p, dim=[2, 3], keepdim=True)
  return (%m, %p)
)",
                               {{"w", at::randn({8, 3, 3, 3})}, {"v", at::randn({8, 8, 3, 3})}}));
  expect_steady(session, {{at::randn({1, 3, 32, 32})}});
}

TEST(SteadyRun, OfViewsInPlaceOperatorsAndStateAllocatesNothing) {
  Session session(make_program(R"(
graph(%x: f32[8, 8], %n: f32[4, 8] = buffer "n"):
  %y: f32[8, 8] = aten::relu(self=%x)
  [%a: f32[4, 8], %b: f32[4, 8] offset (32)] = aten::split.Tensor(self=%y, split_size=4)
  %c: f32[4, 8] = aten::add_.Tensor(self=%a, other=%b)
  %z: f32[4, 8] = aten::add.Tensor(self=%c, other=%n)
  %t: f32[8, 4] strides [1, 8] = aten::transpose.int(self=%z, dim0=0, dim1=1)
  %f: f32[32] = aten::reshape(self=%t, shape=[32])
  return (%b, %f, buffer "n" = %z)
)",
                               {{"n", at::zeros({4, 8})}}));
  expect_steady(session, {{at::randn({8, 8})}});
}

TEST(SteadyRun, OfSizesThatDependOnDataAllocatesNothing) {
  Session session(make_program(R"(
graph(%x: f32[32]):
  %m: b8[32] = aten::gt.Scalar(self=%x, other=0)
  %p: f32[u0] = aten::masked_select(self=%x, mask=%m)
  %n: i64[u0, 1] = aten::nonzero(self=%m)
  %q: f32[u0] = aten::sin(self=%p)
  %s: f32[] = aten::sum(self=%q)
  return (%q, %n, %s)
)"));
  expect_steady(session,
                {{at::ones({32})}, {-at::ones({32})}, {at::arange(32).to(at::kFloat) - 30}, {at::arange(32).to(at::kFloat) - 7}});
}

TEST(SteadyRun, OfAnEngineAllocatesNothing) {
  Session session(make_program(R"(
graph(%x: f32[2, 3], %y: f32[2, 3]):
  %s: f32[2, 3], %p: f32[2, 3] = engine "two_outputs"(%x, %y)
  %r: f32[2, 3] = aten::relu(self=%p)
  %v: f32[6] = aten::view(self=%s, size=[6])
  return (%v, %r)
)",
                               {}, {"two_outputs"}));
  expect_steady(session, {{at::randn({2, 3}), at::randn({2, 3})}});
}

TEST(SteadyRun, AllocatesOnlyWhatIsMarkedFresh) {
  const OperatorSwitches switches;
  keep_output = true;
  Session session(make_program(R"(
graph(%x: f32[8]):
  %a: f32[8] = aten::sin(self=%x)
  %y: f32[8] = tenure_test::keep(x=%a)
  %z: f32[8] = aten::mul.Tensor(self=%y, other=%a)
  return (%z)
)"));
  const at::Tensor x = at::randn({8});
  for (int run = 0; run < 3; ++run) session.run({x});
  EXPECT_EQ(allocations_of(session, {x}), 1);
  for (const ValueExplanation& value : session.explain().values)
    EXPECT_EQ(value.ownership == Ownership::kFresh, value.value == "y") << value.value;
}

TEST(SteadyRun, StatsCountWhatAnIndependentAllocatorCounts) {
  const OperatorSwitches switches;
  Session session(make_program(R"(
graph(%x: f32[8]):
  %a: f32[8] = aten::sin(self=%x)
  %y: f32[8] = tenure_test::erratic(x=%a)
  %z: f32[8] = aten::mul.Tensor(self=%y, other=%a)
  return (%z)
)"));
  const at::Tensor x = at::randn({8});
  for (int run = 0; run < 12; ++run) {
    other_way = run % 4 == 3;
    session.set_pre_allocated_outputs(run % 5 != 2);
    const int64_t counted = allocations_of(session, {x});
    EXPECT_EQ(session.stats().last_run_allocations, counted) << "run " << run;
  }
}

}  // namespace
}  // namespace tenure
