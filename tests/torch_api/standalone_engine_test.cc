// Who owns the outputs of an engine that stands alone: RFC #3985's rules, and that a held result never changes.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <thread>
#include <utility>

#include "tenure/base/error.h"
#include "tests/torch_api/support.h"

namespace tenure {
namespace {

using namespace tenure::testing;
using ::testing::HasSubstr;

Tensors pair() { return {at::randn({2, 3}), at::randn({2, 3})}; }
Tensors sum_and_product(const Tensors& in) { return {in[0] + in[1], in[0] * in[1]}; }
Tensors rows(int64_t count) { return {at::randn({count, 8})}; }
const Part& linear() { return part("dynamic_batch"); }

template <typename Run>
std::string message_of(const Run& run) {
  try {
    run();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.what();
  }
  return "no error";
}

TEST(StandaloneEngine, OwnedOutputsStandAndServeTheNextCall) {
  const EnginePtr engine = make_engine("two_outputs");
  EXPECT_FALSE(engine->engine().are_output_tensors_unowned());
  const Tensors in = pair();
  Tensors first = engine->run(in);
  const std::vector<const void*> places = {first[0].const_data_ptr(), first[1].const_data_ptr()};
  EXPECT_EQ(engine->stats().last_call_allocations, 2);
  first.clear();
  for (int call = 0; call < 5; ++call) {
    const Tensors next = pair();
    const Tensors got = engine->run(next);
    expect_same(got, sum_and_product(next));
    EXPECT_EQ(got[0].const_data_ptr(), places[0]);
    EXPECT_EQ(got[1].const_data_ptr(), places[1]);
    EXPECT_EQ(engine->stats().last_call_allocations, 0);
  }
  EXPECT_EQ(engine->stats().standing_bytes, 2 * 2 * 3 * 4);
  EXPECT_EQ(engine->stats().leased_bytes, 0);
  EXPECT_EQ(engine->stats().calls, 6);
}

class HeldResults : public ::testing::TestWithParam<bool> {};

TEST_P(HeldResults, AreNeverOverwrittenWhateverRunsLater) {
  const EnginePtr engine = make_engine("two_outputs");
  engine->engine().set_output_tensors_as_unowned(GetParam());
  std::vector<std::pair<at::Tensor, at::Tensor>> held;
  for (int call = 0; call < 100; ++call) {  // more than an engine keeps buffers for
    const Tensors in = pair();
    const Tensors got = engine->run(in);
    // A view is enough to hold the memory; some results are let go in between.
    held.emplace_back(got[call % 2].view({-1}).slice(0, 1, 5), sum_and_product(in)[call % 2].view({-1}).slice(0, 1, 5));
    if (call % 7 == 6) held.erase(held.begin() + call % 5);
  }
  for (const auto& [got, wanted] : held) expect_same({got}, {wanted});
}

TEST_P(HeldResults, AreSafeFromOtherShapesAndFromTheEnginesEnd) {
  EnginePtr engine = make_engine("dynamic_batch");
  engine->engine().set_output_tensors_as_unowned(GetParam());
  std::vector<std::pair<Tensors, Tensors>> held;
  for (int call = 0; call < 30; ++call) {
    const Tensors in = rows(1 + call % 5 * 100);
    held.emplace_back(engine->run(in), linear().reference(in));
    if (call % 3 == 2) held.erase(held.end() - 2);
  }
  engine.reset();
  for (const auto& [got, wanted] : held) EXPECT_TRUE(at::allclose(got[0], wanted[0], 1e-5, 1e-5));
}

TEST_P(HeldResults, ThatAreResizedOrReplacedLetTheirBufferGoAndKeepTheirContent) {
  const EnginePtr engine = make_engine("two_outputs");
  engine->engine().set_output_tensors_as_unowned(GetParam());
  const Tensors in = pair();
  const Tensors wanted = sum_and_product(in);
  Tensors got = engine->run(in);
  got[0].resize_({1000});
  const at::Tensor alias = got[1].detach();
  got[1].set_();
  for (int call = 0; call < 5; ++call) engine->run(pair());
  EXPECT_TRUE(at::equal(got[0].slice(0, 0, 6), wanted[0].view({-1})));
  EXPECT_TRUE(at::equal(alias, wanted[1]));
  EXPECT_EQ(engine->stats().held_slots, GetParam() ? 1 : 0)
      << "the alias holds its buffer, the resized tensor has memory of its own";
}

INSTANTIATE_TEST_SUITE_P(Ownership, HeldResults, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Unowned" : "Owned"; });

TEST(StandaloneEngine, AlternatingShapesAllocateNothingAfterTheFirstOfEach) {
  for (const bool unowned : {false, true}) {
    for (const bool keep_last : {false, true}) {
      const EnginePtr engine = make_engine("dynamic_batch");
      engine->engine().set_output_tensors_as_unowned(unowned);
      Tensors last;
      for (int call = 0; call < 40; ++call) {
        Tensors got = engine->run(rows(call % 2 == 0 ? 3 : 300));
        if (keep_last) last = std::move(got);
        EXPECT_TRUE(call < 4 || engine->stats().last_call_allocations == 0) << "call " << call << ", unowned " << unowned;
      }
    }
  }
}

TEST(StandaloneEngine, ShapesThatShrinkReuseTheCapacity) {
  const EnginePtr engine = make_engine("dynamic_batch");
  engine->run(rows(500));
  const int64_t bytes = engine->stats().standing_bytes;
  for (int64_t count = 499; count > 0; count -= 83) {
    engine->run(rows(count));
    EXPECT_EQ(engine->stats().last_call_allocations, 0);
  }
  EXPECT_EQ(engine->stats().standing_bytes, bytes);
}

TEST(StandaloneEngine, UnownedOutputsAreAllocatedAheadForACallerThatKeepsResults) {
  const EnginePtr unowned = make_engine("two_outputs");
  const EnginePtr owned = make_engine("two_outputs");
  unowned->engine().set_output_tensors_as_unowned(true);
  std::vector<Tensors> held;
  for (int call = 0; call < 20; ++call) {
    held.push_back(unowned->run(pair()));
    EXPECT_TRUE(call < 4 || unowned->stats().last_call_allocations == 0) << "call " << call;
    held.push_back(owned->run(pair()));
    EXPECT_EQ(owned->stats().last_call_allocations, 2) << "call " << call;
  }
  EXPECT_EQ(unowned->stats().held_slots, 40);
  EXPECT_EQ(unowned->stats().slots, 42) << "one ahead of each output";
  EXPECT_EQ(unowned->stats().standing_bytes, 0);
  held.clear();
  EXPECT_EQ(unowned->stats().held_slots, 0);
}

TEST(StandaloneEngine, TheSwitchesActPerOutputFromTheNextCallOn) {
  const EnginePtr engine = make_engine("two_outputs");
  Tensors first = engine->run(pair());
  EXPECT_EQ(engine->stats().slots, 0);
  engine->engine().set_output_tensors_as_unowned(1, true);
  EXPECT_FALSE(engine->engine().are_output_tensors_unowned());
  EXPECT_TRUE(engine->engine().are_output_tensors_unowned(1));
  const Tensors in = pair();
  expect_same(engine->run(in), sum_and_product(in));
  EXPECT_EQ(engine->stats().slots, 1);
  engine->engine().set_output_tensors_as_unowned(false);
  first.clear();
  expect_same(engine->run(in), sum_and_product(in));
  EXPECT_EQ(engine->stats().slots, 0) << "a slot that nobody holds goes with the switch";
  EXPECT_THAT(message_of([&] { engine->engine().set_output_tensors_as_unowned(2, true); }), HasSubstr("output 2"));
}

TEST(StandaloneEngine, WithoutPreAllocatedOutputsAnswersAreTheSameAndNothingIsKept) {
  const EnginePtr engine = make_engine("two_outputs");
  engine->set_use_pre_allocated_outputs(false);
  for (int call = 0; call < 3; ++call) {
    const Tensors in = pair();
    expect_same(engine->run(in), sum_and_product(in));
    EXPECT_EQ(engine->stats().last_call_allocations, 2);
  }
  EXPECT_EQ(engine->stats().standing_bytes + engine->stats().leased_bytes, 0);
}

TEST(StandaloneEngine, InputsThatAreNotDenseAreCopiedIntoMemoryThatStands) {
  const EnginePtr engine = make_engine("two_outputs");
  for (int call = 0; call < 4; ++call) {
    const Tensors in = {at::randn({3, 2}).t(), at::_neg_view(at::randn({2, 3}))};
    const Tensors got = engine->run(in);
    expect_same(got, sum_and_product({in[0], in[1]}));
    EXPECT_EQ(engine->stats().last_call_allocations, call == 0 ? 4 : 0);
  }
}

TEST(StandaloneEngine, EmptyTensorsAndScalarsNeedNoBuffer) {
  const EnginePtr engine = make_engine("dynamic_batch");
  const Tensors got = engine->run(rows(0));
  EXPECT_EQ(got[0].sizes(), (std::vector<int64_t>{0, 4}));
  EXPECT_EQ(engine->stats().last_call_allocations, 0);
  const EnginePtr scalar = make_engine("scalar_output");
  const at::Tensor x = at::randn({3, 4});
  expect_same(scalar->run({x}), {x.sum()});
}

TEST(StandaloneEngine, RefusesInputsThatDoNotFitAndStaysUsable) {
  const EnginePtr engine = make_engine("two_outputs");
  const Tensors in = pair();
  EXPECT_THAT(message_of([&] { engine->run({in[0]}); }), HasSubstr("expected 2 inputs, got 1"));
  EXPECT_THAT(message_of([&] { engine->run({in[0], in[1].to(at::kDouble)}); }), HasSubstr("input 1 \"input_1\""));
  EXPECT_THAT(message_of([&] { engine->run({at::randn({2, 4}), in[1]}); }), HasSubstr("[2, 4]"));
  EXPECT_THAT(message_of([&] { engine->run({in[0].to(at::kMeta), in[1]}); }), HasSubstr("on meta"));
  EXPECT_THAT(message_of([&] { engine->run({in[0].to_sparse(), in[1]}); }), HasSubstr("Sparse"));
  EXPECT_THAT(message_of([&] { engine->run({in[0], at::Tensor()}); }), HasSubstr("input 1 is an undefined tensor"));
  expect_same(engine->run(in), sum_and_product(in));
  EXPECT_EQ(engine->stats().calls, 1);
  EXPECT_EQ(engine->stats().frames, 1);
}

TEST(StandaloneEngine, ConcurrentCallsEachHaveTheirOwnMemory) {
  const EnginePtr engine = make_engine("dynamic_batch");
  engine->engine().set_output_tensors_as_unowned(true);
  std::atomic<int> wrong = 0;
  const auto work = [&](int64_t seed) {
    std::vector<std::pair<at::Tensor, at::Tensor>> held;
    for (int64_t call = 0; call < 60; ++call) {
      const Tensors in = {at::full({1 + (seed + call) % 4 * 50, 8}, static_cast<float>(seed * 100 + call))};
      held.emplace_back(engine->run(in)[0], linear().reference(in)[0]);
      if (held.size() > 5) held.erase(held.begin() + call % 5);
      for (const auto& [got, wanted] : held) wrong += !at::allclose(got, wanted, 1e-4, 1e-4);
    }
  };
  std::vector<std::thread> threads;
  for (int64_t seed = 0; seed < 8; ++seed) threads.emplace_back(work, seed);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(engine->stats().calls, 8 * 60);
  EXPECT_EQ(engine->stats().held_slots, 0);
  EXPECT_LE(engine->stats().frames, 4);
}

TEST(StandaloneEngine, TrimGivesBackWhatNobodyHolds) {
  const EnginePtr engine = make_engine("dynamic_batch");
  const Tensors in = rows(64);
  const Tensors kept = engine->run(in);
  engine->run(rows(128));
  EXPECT_EQ(engine->trim(), 128 * 4 * 4);
  EXPECT_EQ(engine->stats().standing_bytes, 64 * 4 * 4);
  EXPECT_TRUE(at::allclose(kept[0], linear().reference(in)[0], 1e-5, 1e-5));
  EXPECT_TRUE(at::allclose(engine->run(in)[0], kept[0]));
}

}  // namespace
}  // namespace tenure
