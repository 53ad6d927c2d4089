// Programs on a CUDA device: the bits of eager PyTorch, and no allocation in a steady run.
#include <c10/cuda/CUDACachingAllocator.h>

#include "tests/session/cuda_support.h"

namespace tenure {
namespace {

using namespace tenure::testing;

/// What PyTorch's allocator was asked for so far, and what it asked the driver for.
std::pair<int64_t, int64_t> allocations() {
  const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(0);
  return {stats.allocation[0].allocated, stats.num_device_alloc};
}

constexpr const char* kNet = R"(
graph(%x: f32[s0, 256], %w: f32[256, 256] = parameter "w", %b: f32[256] = parameter "b"):
  where 1 <= s0 <= 64
  %h: f32[s0, 256] = aten::linear(input=%x, weight=%w, bias=%b)
  %r: f32[s0, 256] = aten::relu(self=%h)
  %s: f32[s0, 256] = aten::sin(self=%r)
  %i: f32[s0, 256] = aten::linear(input=%s, weight=%w, bias=%b)
  %p: f32[s0, 256] = aten::softmax.int(self=%i, dim=1)
  %v: f32[s0, 128] = aten::narrow(self=%p, dim=1, start=0, length=128)
  return (%i, %v)
)";

struct Net {
  at::Tensor w = at::randn({256, 256}), b = at::randn({256});
  std::shared_ptr<const Program> program = on_device(kNet, {{"w", w}, {"b", b}});
  at::Tensor w_there = w.to(kDevice), b_there = b.to(kDevice);
  Tensors operator()(const at::Tensor& x) const {
    const at::Tensor s = at::sin(at::relu(at::linear(x, w_there, b_there)));
    const at::Tensor i = at::linear(s, w_there, b_there);
    return {i, at::softmax(i, 1).narrow(1, 0, 128)};
  }
};

void expect_same_there(const Tensors& got, const Tensors& wanted) {
  ASSERT_EQ(got.size(), wanted.size());
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].device(), wanted[i].device());
    EXPECT_EQ(got[i].strides(), wanted[i].strides());
    EXPECT_TRUE(same_bits(got[i].cpu(), wanted[i].cpu())) << "output " << i;
  }
}

TEST_F(Cuda, RunsGiveTheBitsOfEagerPyTorch) {
  const Net net;
  Session session(net.program);
  for (const int64_t rows : {8, 1, 64, 8, 1, 64, 8}) {
    const at::Tensor x = at::randn({rows, 256}, kDevice);
    expect_same_there(session.run({x}), net(x));
  }
  EXPECT_EQ(session.stats().replays, 4);
  EXPECT_EQ(session.stats().deviations, 0);
}

TEST_F(Cuda, ASteadyRunAsksNobodyForMemory) {
  const Net net;
  Session session(net.program);
  const at::Tensor x = at::randn({8, 256}, kDevice);
  for (int i = 0; i < 3; ++i) session.run({x});
  const auto before = allocations();
  const Stats stats = session.stats();
  for (int i = 0; i < 100; ++i) session.run({x});
  EXPECT_EQ(allocations(), before);
  EXPECT_EQ(session.stats().last_run_allocations, 0);
  EXPECT_EQ(session.stats().standing_bytes, stats.standing_bytes);
  EXPECT_EQ(session.stats().leased_bytes, stats.leased_bytes);
  EXPECT_EQ(session.stats().deviations, 0);
  EXPECT_EQ(session.stats().frames, 1);
}

TEST_F(Cuda, SteadyRunsOnASideStreamAskNobodyForMemoryEither) {
  const Net net;
  Session session(net.program);
  const CUDAStreamGuard guard(new_stream());
  const at::Tensor x = at::randn({8, 256}, kDevice);
  for (int i = 0; i < 3; ++i) session.run({x});
  const auto before = allocations();
  for (int i = 0; i < 100; ++i) session.run({x});
  EXPECT_EQ(allocations(), before);
  EXPECT_EQ(session.stats().last_run_allocations, 0);
  EXPECT_EQ(session.stats().deviations, 0);
}

TEST_F(Cuda, StateLivesOnTheDevice) {
  Session session(on_device(R"(
graph(%x: f32[4], %n: f32[4] = buffer "n"):
  %s: f32[4] = aten::add.Tensor(self=%n, other=%x)
  %y: f32[4] = aten::mul.Scalar(self=%s, other=2)
  return (%y, buffer "n" = %s)
)",
                            {{"n", at::zeros({4})}}));
  const at::Tensor one = filled(1, {4});
  for (int run = 1; run <= 10; ++run) {
    if (run == 6) {
      const CUDAStreamGuard guard(new_stream());
      c10::cuda::device_synchronize();
      EXPECT_TRUE(all_equal(session.run({one}).at(0), 2.0 * run));
      continue;
    }
    EXPECT_TRUE(all_equal(session.run({one}).at(0), 2.0 * run));
  }
  EXPECT_TRUE(all_equal(session.state_dict().at("n"), 10));
  EXPECT_EQ(session.stats().last_run_allocations, 0);
  session.reset_state();
  EXPECT_TRUE(all_equal(session.run({one}).at(0), 2));
}

TEST_F(Cuda, ValuesOnTheHostAndOnTheDeviceLieInArenasOfTheirOwn) {
  Session session(Program::make(
      [] {
        ProgramFile file;
        file.graph = parse_graph(R"(
graph(%x: f32[64] device cuda:0):
  %a: f32[64] device cuda:0 = aten::sin(self=%x)
  %h: f32[64] = aten::_to_copy(self=%a, device=device cpu)
  %k: f32[64] = aten::exp(self=%h)
  %m: f32[64] = aten::neg(self=%k)
  %d: f32[64] device cuda:0 = aten::_to_copy(self=%m, device=device cuda:0)
  %y: f32[64] device cuda:0 = aten::add.Tensor(self=%d, other=%a)
  return (%y, %m)
)");
        return file;
      }(),
      "test"));
  const at::Tensor x = at::randn({64}, kDevice);
  const at::Tensor a = at::sin(x), m = at::neg(at::exp(a.cpu()));
  for (int run = 0; run < 5; ++run) expect_same_there(session.run({x}), {m.to(kDevice) + a, m});
  EXPECT_EQ(session.stats().last_run_allocations, 0);
  EXPECT_EQ(explain_value(session, "k").where, "arena");
  EXPECT_EQ(explain_value(session, "a").where, "arena on cuda:0");
}

TEST_F(Cuda, ASessionGivesItsMemoryBackToPyTorch) {
  const auto in_use = [] { return c10::cuda::CUDACachingAllocator::getDeviceStats(0).allocated_bytes[0].current; };
  const auto program = on_device(kLine);
  c10::cuda::device_synchronize();
  const int64_t before = in_use();
  at::Tensor held;
  {
    Session session(program);
    const at::Tensor x = filled(3, {64, 1024});
    for (int run = 0; run < 3; ++run) held = session.run({x}).at(0);
    EXPECT_GT(in_use(), before);
    EXPECT_GT(session.trim(), 0);
    EXPECT_TRUE(all_equal(session.run({x}).at(0), 7));
  }
  EXPECT_TRUE(all_equal(held, 7));
  held = at::Tensor();
  EXPECT_EQ(in_use(), before);
}

TEST_F(Cuda, AnInputOnAnotherDeviceIsRefusedByName) {
  Session session(on_device(kLine));
  const Error error = error_of([&] { session.run({at::zeros({64, 1024})}); });
  EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
  EXPECT_NE(std::string(error.what()).find("cuda:0"), std::string::npos) << error.what();
}

}  // namespace
}  // namespace tenure
