// Memory on a CUDA device changes hands only in stream order: between streams, frames and threads.
#include <torch/library.h>

#include <atomic>
#include <random>
#include <thread>

#include "tests/session/cuda_support.h"

namespace tenure {
namespace {

using namespace tenure::testing;

// A copy, made after the device has done nothing for a little while.
at::Tensor rest(const at::Tensor& x) {
  at::cuda::sleep(kALittleWhile);
  return x.clone();
}

TORCH_LIBRARY(tenure_cuda_test, library) { library.def("rest(Tensor x) -> Tensor", &rest); }

// Results that are read late on another stream, and let go of before, keep their content until they are read.
void expect_not_written_early(bool recorded) {
  Session session(on_device(kLine));
  session.run({filled(0, {64, 1024})});
  const CUDAStream side = new_stream();
  int reused = 0;
  for (int k = 1; k <= 20; ++k) {
    at::Tensor result = session.run({filled(k, {64, 1024})}).at(0);
    const void* const place = result.data_ptr();
    const at::Tensor seen = read_late_and_drop(result, side, recorded);
    const at::Tensor next = session.run({filled(-7, {64, 1024})}).at(0);
    reused += next.data_ptr() == place;
    side.synchronize();
    ASSERT_TRUE(all_equal(seen, 2 * k + 1)) << "run " << k;
    ASSERT_TRUE(all_equal(next, 15));
  }
  EXPECT_GT(reused, 0);  // or nothing was tried
}

TEST_F(Cuda, AResultUsedAndDroppedOnAnotherStreamIsNotWrittenBeforeThatWorkIsDone) { expect_not_written_early(/*recorded=*/false); }

TEST_F(Cuda, AResultThatWasRecordedOnAnotherStreamIsNotWrittenBeforeThatWorkIsDone) { expect_not_written_early(/*recorded=*/true); }

// The first run's result lies in ordinary memory of PyTorch, which would give it to the next who asks.
TEST_F(Cuda, AResultOfAnObservingRunToo) {
  const CUDAStream side = new_stream();
  for (int k = 1; k <= 5; ++k) {
    Session session(on_device(kLine));
    at::Tensor result = session.run({filled(k, {64, 1024})}).at(0);
    const at::Tensor seen = read_late_and_drop(result, side);
    std::vector<at::Tensor> others;
    for (int i = 0; i < 8; ++i) others.push_back(filled(-7, {64, 1024}));
    side.synchronize();
    ASSERT_TRUE(all_equal(seen, 2 * k + 1)) << k;
  }
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

}  // namespace
}  // namespace tenure
