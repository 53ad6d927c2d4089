// Programs on a CUDA device: no allocation in a steady run, and memory that changes hands only in stream order. Skips where there
// is no device.
#include <ATen/ATen.h>
#include <ATen/cuda/Sleep.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <gtest/gtest.h>
#include <torch/library.h>

#include <atomic>
#include <random>
#include <thread>

#include "tenure/graph/text.h"
#include "tests/session/support.h"

namespace tenure {
namespace {

using namespace tenure::testing;
using c10::cuda::CUDAStream;
using c10::cuda::CUDAStreamGuard;

constexpr int64_t kALittleWhile = 20'000'000;  // GPU clock cycles, some 10 ms

const c10::Device kDevice(c10::kCUDA, 0);

// A copy, made after the device has done nothing for a little while.
at::Tensor rest(const at::Tensor& x) {
  at::cuda::sleep(kALittleWhile);
  return x.clone();
}

TORCH_LIBRARY(tenure_cuda_test, library) { library.def("rest(Tensor x) -> Tensor", &rest); }

std::shared_ptr<const Program> on_device(std::string_view text, Weights weights = {}) {
  ProgramFile file;
  file.graph = parse_graph(text);
  file.weights = std::move(weights);
  return Program::make(std::move(file), "test", kDevice);
}

CUDAStream new_stream() { return c10::cuda::getStreamFromPool(/*isHighPriority=*/false, 0); }

/// From now on `stream` runs after what is on `other` now.
void wait_for(CUDAStream stream, CUDAStream other) {
  c10::Event event(c10::DeviceType::CUDA);
  event.record(other.unwrap());
  event.block(stream.unwrap());
}

/// What PyTorch's allocator was asked for so far, and what it asked the driver for.
std::pair<int64_t, int64_t> allocations() {
  const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(0);
  return {stats.allocation[0].allocated, stats.num_device_alloc};
}

at::Tensor filled(double value, at::IntArrayRef sizes) { return at::full(sizes, value, at::TensorOptions().device(kDevice)); }

bool all_equal(const at::Tensor& tensor, double value) { return at::eq(tensor, value).all().item<bool>(); }

class Cuda : public ::testing::Test {
 protected:
  void SetUp() override {
    if (c10::cuda::device_count() == 0) GTEST_SKIP() << "there is no CUDA device here";
    at::globalContext().lazyInitDevice(c10::DeviceType::CUDA);
    at::NoGradGuard no_grad;
  }
  void TearDown() override {
    if (c10::cuda::device_count() > 0) c10::cuda::device_synchronize();
  }
  const at::NoGradGuard no_grad_;
};

// 2x + 1, through standing values large enough to take a while.
constexpr const char* kLine = R"(
graph(%x: f32[s0, 1024]):
  where 1 <= s0 <= 8192
  %a: f32[s0, 1024] = aten::add.Tensor(self=%x, other=%x)
  %b: f32[s0, 1024] = aten::neg(self=%a)
  %c: f32[s0, 1024] = aten::abs(self=%b)
  %d: f32[s0, 1024] = aten::add.Scalar(self=%c, other=1)
  return (%d)
)";

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

TEST_F(Cuda, AResultUsedAndDroppedOnAnotherStreamIsNotWrittenBeforeThatWorkIsDone) {
  Session session(on_device(kLine));
  session.run({filled(0, {64, 1024})});
  const CUDAStream main = c10::cuda::getCurrentCUDAStream(), side = new_stream();
  int reused = 0;
  for (int k = 1; k <= 20; ++k) {
    at::Tensor result = session.run({filled(k, {64, 1024})}).at(0);
    const void* const place = result.data_ptr();
    at::Tensor seen;
    wait_for(side, main);
    {
      const CUDAStreamGuard guard(side);
      at::cuda::sleep(kALittleWhile);
      seen = result + 0;
      result = at::Tensor();
    }
    const at::Tensor next = session.run({filled(-7, {64, 1024})}).at(0);
    reused += next.data_ptr() == place;
    side.synchronize();
    ASSERT_TRUE(all_equal(seen, 2 * k + 1)) << "run " << k;
    ASSERT_TRUE(all_equal(next, 15));
  }
  EXPECT_GT(reused, 0);  // or nothing was tried
}

// The first run's result lies in ordinary memory of PyTorch, which would give it to the next who asks.
TEST_F(Cuda, AResultOfAnObservingRunToo) {
  const CUDAStream main = c10::cuda::getCurrentCUDAStream(), side = new_stream();
  for (int k = 1; k <= 5; ++k) {
    Session session(on_device(kLine));
    at::Tensor result = session.run({filled(k, {64, 1024})}).at(0);
    at::Tensor seen;
    wait_for(side, main);
    {
      const CUDAStreamGuard guard(side);
      at::cuda::sleep(kALittleWhile);
      seen = result + 0;
      result = at::Tensor();
    }
    std::vector<at::Tensor> others;
    for (int i = 0; i < 8; ++i) others.push_back(filled(-7, {64, 1024}));
    side.synchronize();
    ASSERT_TRUE(all_equal(seen, 2 * k + 1)) << k;
  }
}

TEST_F(Cuda, AResultThatWasRecordedOnAnotherStreamIsNotWrittenBeforeThatWorkIsDone) {
  Session session(on_device(kLine));
  session.run({filled(0, {64, 1024})});
  const CUDAStream main = c10::cuda::getCurrentCUDAStream(), side = new_stream();
  int reused = 0;
  for (int k = 1; k <= 20; ++k) {
    at::Tensor result = session.run({filled(k, {64, 1024})}).at(0);
    const void* const place = result.data_ptr();
    at::Tensor seen;
    wait_for(side, main);
    {
      const CUDAStreamGuard guard(side);
      at::cuda::sleep(kALittleWhile);
      seen = result + 0;
    }
    result.record_stream(side.unwrap());
    result = at::Tensor();
    const at::Tensor next = session.run({filled(-7, {64, 1024})}).at(0);
    reused += next.data_ptr() == place;
    side.synchronize();
    ASSERT_TRUE(all_equal(seen, 2 * k + 1)) << "run " << k;
  }
  EXPECT_GT(reused, 0);
}

// The device rests in the middle of each run, with %a in the arena: another run may not begin then in the same frame.
TEST_F(Cuda, AFrameThatGoesToAnotherStreamWaitsForItsLastRun) {
  Session session(on_device(R"(
graph(%x: f32[64, 1024]):
  %a: f32[64, 1024] = aten::add.Tensor(self=%x, other=%x)
  %n: f32[64, 1024] = tenure_cuda_test::rest(x=%x)
  %b: f32[64, 1024] = aten::neg(self=%a)
  %c: f32[64, 1024] = aten::sub.Tensor(self=%n, other=%b)
  return (%c)
)"),
                  {.max_frames = 1});
  const CUDAStream first = new_stream(), second = new_stream();
  for (int k = 0; k < 20; ++k) {
    at::Tensor a, b;
    {
      const CUDAStreamGuard guard(first);
      a = session.run({filled(k, {64, 1024})}).at(0);
    }
    {
      const CUDAStreamGuard guard(second);
      b = session.run({filled(-k - 1, {64, 1024})}).at(0);
    }
    c10::cuda::device_synchronize();
    ASSERT_TRUE(all_equal(a, 3 * k)) << k;
    ASSERT_TRUE(all_equal(b, -3 * k - 3)) << k;
  }
  EXPECT_EQ(session.stats().frames, 1);
}

TEST_F(Cuda, EachStreamHasAFrameOfItsOwnAndWaitsForNoOther) {
  Session session(on_device(kLine));
  const CUDAStream slow = new_stream(), quick = new_stream();
  for (int k = 0; k < 4; ++k)
    for (const CUDAStream stream : {slow, quick}) {
      const CUDAStreamGuard guard(stream);
      session.run({filled(k, {64, 1024})});
    }
  c10::cuda::device_synchronize();
  {
    const CUDAStreamGuard guard(slow);
    at::cuda::sleep(50 * kALittleWhile);
    session.run({filled(1, {64, 1024})});
  }
  {
    const CUDAStreamGuard guard(quick);
    session.run({filled(1, {64, 1024})});
    quick.synchronize();
  }
  EXPECT_FALSE(slow.query());  // still asleep
  EXPECT_EQ(session.stats().frames, 2);
}

TEST_F(Cuda, HeldResultsNeverChangeWithThreeStreamsAndTwoThreads) {
  Session session(on_device(kLine));
  std::atomic<int> wrong = 0;
  const auto client = [&](int thread) {
    std::mt19937 random(static_cast<unsigned>(thread));
    std::vector<CUDAStream> streams = {c10::cuda::getDefaultCUDAStream(0), new_stream(), new_stream()};
    struct Held {
      at::Tensor result;
      int answer;
      CUDAStream stream;
    };
    std::vector<Held> held;
    std::vector<at::Tensor> differs;
    const at::NoGradGuard no_grad;
    for (int run = 0; run < 5000; ++run) {
      const CUDAStream stream = streams[random() % streams.size()];
      const CUDAStreamGuard guard(stream);
      const int value = static_cast<int>(random() % 1000), rows = random() % 2 ? 3 : 16;
      held.push_back({session.run({filled(value, {rows, 1024})}).at(0), 2 * value + 1, stream});
      while (held.size() > 8 || (!held.empty() && random() % 3 == 0)) {
        const size_t at = random() % held.size();
        const CUDAStream reader = streams[random() % streams.size()];
        wait_for(reader, held[at].stream);
        const CUDAStreamGuard there(reader);
        differs.push_back(at::ne(held[at].result, held[at].answer).any());
        held.erase(held.begin() + static_cast<long>(at));  // dropped where it was read last, before that was done
      }
    }
    c10::cuda::device_synchronize();
    for (const at::Tensor& each : differs) wrong += each.item<bool>();
    for (const Held& each : held) wrong += !all_equal(each.result, each.answer);
  };
  std::thread other([&] { client(1); });
  client(2);
  other.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(session.stats().runs, 10000);
  EXPECT_EQ(session.stats().held_slots, 0);
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
