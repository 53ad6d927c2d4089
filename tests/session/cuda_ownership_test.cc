// Who owns what on a CUDA device: views, inputs, state and slots are treated as on the CPU.
#include "tests/session/cuda_support.h"

namespace tenure {
namespace {

using namespace tenure::testing;

TEST_F(Cuda, ResultsOnOneStorageStayOnOneStorageAndHeldOnesNeverChange) {
  Session session(on_device(R"(
graph(%x: f32[4, 4]):
  %y: f32[4, 4] = aten::add.Tensor(self=%x, other=%x)
  %v: f32[16] = aten::view(self=%y, size=[16])
  %t: f32[4, 4] strides [1, 4] = aten::transpose.int(self=%y, dim0=0, dim1=1)
  return (%v, %t)
)"));
  std::vector<Tensors> held;
  for (int run = 0; run < 20; ++run) {
    held.push_back(session.run({filled(run, {4, 4})}));
    EXPECT_TRUE(held.back()[0].is_alias_of(held.back()[1]));
  }
  for (int run = 0; run < 20; ++run)
    for (const at::Tensor& each : held[static_cast<size_t>(run)]) EXPECT_TRUE(all_equal(each, 2 * run)) << run;
  EXPECT_EQ(explain_value(session, "y").ownership, Ownership::kLeased);
  EXPECT_EQ(session.stats().held_slots, 19);  // the observing run's result has no slot
}

TEST_F(Cuda, AResultThatIsStateIsACopyThatLaterRunsDoNotChange) {
  Session session(on_device(R"(
graph(%x: f32[4], %n: f32[4] = buffer "n"):
  %s: f32[4] = aten::add.Tensor(self=%n, other=%x)
  return (%s, buffer "n" = %s)
)",
                            {{"n", at::zeros({4})}}));
  const at::Tensor one = filled(1, {4});
  Tensors held;
  for (int run = 0; run < 10; ++run) held.push_back(session.run({one}).at(0));
  for (int run = 0; run < 10; ++run) EXPECT_TRUE(all_equal(held[static_cast<size_t>(run)], run + 1)) << run;
  held[0].fill_(7);
  EXPECT_TRUE(all_equal(session.state_dict().at("n"), 10));
}

TEST_F(Cuda, AnInputReturnedIsTheCallersOwnTensorAndAWriteReachesIt) {
  Session session(on_device(R"(
graph(%x: f32[4]):
  %y: f32[4] = aten::add_.Scalar(self=%x, other=1)
  %z: f32[4] = aten::mul.Scalar(self=%y, other=2)
  return (%y, %z)
)"));
  for (int run = 0; run < 4; ++run) {
    const at::Tensor x = filled(run, {4});
    const Tensors got = session.run({x});
    EXPECT_TRUE(all_equal(x, run + 1));
    EXPECT_TRUE(got[0].is_alias_of(x));
    EXPECT_TRUE(all_equal(got[1], 2 * run + 2));
  }
}

TEST_F(Cuda, ACallerThatKeepsEverythingPinsNoMoreThanTheSlotsAllow) {
  Session session(on_device(kLine), {.max_output_slots = 4});
  std::vector<at::Tensor> held;
  for (int run = 0; run < 12; ++run) held.push_back(session.run({filled(run, {8, 1024})}).at(0));
  EXPECT_EQ(session.stats().slots, 4);
  EXPECT_EQ(session.stats().held_slots, 4);
  for (int run = 0; run < 12; ++run) EXPECT_TRUE(all_equal(held[static_cast<size_t>(run)], 2 * run + 1)) << run;
}

TEST_F(Cuda, WhatIsReadLateOnAnotherStreamStaysWhenTheSessionIsTrimmedAndGone) {
  const CUDAStream side = new_stream();
  for (int k = 1; k <= 5; ++k) {
    at::Tensor seen;
    {
      Session session(on_device(kLine));
      for (int run = 0; run < 3; ++run) session.run({filled(k, {64, 1024})});
      at::Tensor result = session.run({filled(k, {64, 1024})}).at(0);
      seen = read_late_and_drop(result, side);
      session.trim();
    }
    Tensors others;
    for (int i = 0; i < 8; ++i) others.push_back(filled(-7, {64, 1024}));
    side.synchronize();
    ASSERT_TRUE(all_equal(seen, 2 * k + 1)) << k;
  }
}

}  // namespace
}  // namespace tenure
