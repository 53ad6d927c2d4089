// State and inputs whose new content is made where the old one lies, and the cases where that would be wrong.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/session/support.h"

namespace tenure {
namespace {

using namespace tenure::testing;

/// How often a run copied whole buffers is not seen from outside; what explain() says of the value is, and so is the answer.
std::string owner_of(const Session& session, const std::string& value) {
  const ValueExplanation entry = explain_value(session, value);
  return concat(to_string(entry.ownership), " ", entry.where);
}

// What torch.export makes of: cache[:, pos] = x; cache[1:2] *= 2 ...: copies of the whole cache.
constexpr const char* kCache = R"(
graph(%x: f32[2, 1], %pos: i64[1], %cache: f32[2, 8] = buffer "cache"):
  %put: f32[2, 8] = aten::index_put(self=%cache, indices=[None, %pos], values=%x)
  %part: f32[1, 8] offset (8) = aten::slice.Tensor(self=%put, dim=0, start=1, end=2)
  %twice: f32[1, 8] = aten::mul.Tensor(self=%part, other=%part)
  %row: f32[1, 8] offset (8) = aten::slice.Tensor(self=%put, dim=0, start=1, end=2)
  %copied: f32[1, 8] = aten::copy(self=%row, src=%twice)
  %all: f32[2, 8] = aten::slice_scatter(self=%put, src=%copied, dim=0, start=1, end=2)
  %y: f32[] = aten::sum(self=%all)
  return (%y, buffer "cache" = %all)
)";

TEST(InPlace, AChainOfPiecewiseWritesGoesIntoTheStateItself) {
  Session session(make_program(kCache, {{"cache", at::ones({2, 8})}}));
  at::Tensor cache = at::ones({2, 8});
  for (int64_t run = 0; run < 8; ++run) {
    const at::Tensor x = at::randn({2, 1}), pos = at::full({1}, run, at::kLong);
    const Tensors got = session.run({x, pos});
    cache.narrow(1, run, 1).copy_(x);
    cache.narrow(0, 1, 1).copy_(cache.narrow(0, 1, 1) * cache.narrow(0, 1, 1));
    expect_same(got, {cache.sum()});
    expect_same({session.state_dict().at("cache")}, {cache});
  }
  EXPECT_EQ(owner_of(session, "put"), "view view of cache");
  EXPECT_EQ(owner_of(session, "all"), "view view of put");
  EXPECT_EQ(session.stats().last_run_allocations, 0);
  EXPECT_EQ(session.stats().standing_bytes, 32) << "twice alone: nothing has the size of the cache";
}

TEST(InPlace, AScatterAlongADimensionThatIsNotThereIsAnErrorOfTheRun) {
  for (const char* dim : {"2", "-3", "1048576"}) {
    Session session(make_program(concat(R"(
graph(%x: f32[1, 8], %cache: f32[2, 8] = buffer "cache"):
  %all: f32[2, 8] = aten::slice_scatter(self=%cache, src=%x, dim=)",
                                        dim, R"(, start=1, end=2)
  return (buffer "cache" = %all)
)"),
                                 {{"cache", at::ones({2, 8})}}));
    EXPECT_THROW(session.run({at::randn({1, 8})}), Error) << dim;
    expect_same({session.state_dict().at("cache")}, {at::ones({2, 8})});
  }
}

// As files may have it that torch.export did not write.
constexpr const char* kArgumentsInAnyOrder = R"(
graph(%x: f32[2, 1], %pos: i64[1], %cache: f32[2, 8] = buffer "cache"):
  %put: f32[2, 8] = aten::index_put(values=%x, indices=[None, %pos], self=%cache)
  %row: f32[1, 8] offset (8) = aten::slice.Tensor(end=2, start=1, dim=0, self=%put)
  %copied: f32[1, 8] = aten::copy(src=%row, self=%row)
  %all: f32[2, 8] = aten::slice_scatter(start=1, src=%copied, end=2, dim=0, self=%put)
  %y: f32[] = aten::sum(self=%all)
  return (%y, buffer "cache" = %all)
)";

TEST(InPlace, TheOrderInWhichAFileGivesArgumentsMakesNoDifference) {
  Session session(make_program(kArgumentsInAnyOrder, {{"cache", at::ones({2, 8})}}));
  at::Tensor cache = at::ones({2, 8});
  for (int64_t run = 0; run < 4; ++run) {
    const at::Tensor x = at::randn({2, 1});
    cache.narrow(1, run, 1).copy_(x);
    expect_same(session.run({x, at::full({1}, run, at::kLong)}), {cache.sum()});
  }
  EXPECT_EQ(owner_of(session, "put"), "view view of cache");
}

TEST(InPlace, WhoeverReadsTheOldContentLaterKeepsItFromBeingOverwritten) {
  Session session(make_program(R"(
graph(%x: f32[1], %pos: i64[1], %cache: f32[8] = buffer "cache"):
  %put: f32[8] = aten::index_put(self=%cache, indices=[%pos], values=%x)
  %old: f32[8] = aten::sin(self=%cache)
  %y: f32[8] = aten::add.Tensor(self=%put, other=%old)
  return (%y, buffer "cache" = %put)
)",
                               {{"cache", at::ones({8})}}));
  at::Tensor cache = at::ones({8});
  for (int64_t run = 0; run < 8; ++run) {
    const at::Tensor x = at::randn({1}), old = at::sin(cache);
    cache[run] = x[0];
    expect_same(session.run({x, at::full({1}, run, at::kLong)}), {cache + old});
  }
  EXPECT_EQ(owner_of(session, "put"), "standing arena");
}

TEST(InPlace, AnUpdateThatReadsTheStateItselfIsCopied) {
  Session session(make_program(R"(
graph(%x: f32[1], %cache: f32[4] = buffer "cache"):
  %rest: f32[3] offset (1) = aten::slice.Tensor(self=%cache, dim=0, start=1, end=4)
  %next: f32[4] = aten::cat(tensors=[%rest, %x])
  %y: f32[] = aten::sum(self=%next)
  return (%y, buffer "cache" = %next)
)",
                               {{"cache", at::zeros({4})}}));
  at::Tensor cache = at::zeros({4});
  for (int run = 0; run < 8; ++run) {
    const at::Tensor x = at::randn({1});
    cache = at::cat({cache.narrow(0, 1, 3), x});
    expect_same(session.run({x}), {cache.sum()});
  }
  EXPECT_EQ(owner_of(session, "next"), "standing arena");
  EXPECT_EQ(session.stats().last_run_allocations, 0);
}

// h' = tanh(h w + x): tanh may write over h, which matmul was the last to read.
TEST(InPlace, AResultThatNoLongerNeedsTheOldStateIsMadeInItsPlace) {
  const at::Tensor w = at::randn({4, 4});
  Session session(make_program(R"(
graph(%x: f32[1, 4], %w: f32[4, 4] = parameter "w", %h: f32[1, 4] = buffer "h"):
  %m: f32[1, 4] = aten::mm(self=%h, mat2=%w)
  %s: f32[1, 4] = aten::add.Tensor(self=%m, other=%x)
  %t: f32[1, 4] = aten::tanh(self=%s)
  %y: f32[1, 4] = aten::sin(self=%t)
  return (%y, buffer "h" = %t)
)",
                               {{"w", w}, {"h", at::zeros({1, 4})}}));
  at::Tensor h = at::zeros({1, 4});
  for (int run = 0; run < 8; ++run) {
    const at::Tensor x = at::randn({1, 4});
    h = at::tanh(at::mm(h, w) + x);
    expect_same(session.run({x}), {at::sin(h)});
    expect_same({session.state_dict().at("h")}, {h});
  }
  EXPECT_EQ(owner_of(session, "t"), "standing state");
  EXPECT_EQ(session.stats().deviations, 0);
}

TEST(InPlace, TiedBuffersAreNotRewritten) {
  const at::Tensor storage = at::zeros({8});
  Session session(make_program(R"(
graph(%x: f32[1], %pos: i64[1], %a: f32[8] = buffer "a", %b: f32[8] = buffer "b"):
  %put: f32[8] = aten::index_put(self=%a, indices=[%pos], values=%x)
  %y: f32[8] = aten::add.Tensor(self=%put, other=%b)
  return (%y, buffer "a" = %put)
)",
                               {{"a", storage}, {"b", storage.view({8})}}));
  at::Tensor state = at::zeros({8});
  for (int64_t run = 0; run < 6; ++run) {
    const at::Tensor x = at::randn({1}), before = state.clone();
    state[run] = x[0];
    expect_same(session.run({x, at::full({1}, run, at::kLong)}), {state + before});
  }
}

constexpr const char* kPutIntoInput = R"(
graph(%c: f32[8], %x: f32[8], %pos: i64[1]):
  %v: f32[1] = aten::slice.Tensor(self=%x, dim=0, start=0, end=1)
  %put: f32[8] = aten::index_put(self=%c, indices=[%pos], values=%v)
  %y: f32[8] = aten::add.Tensor(self=%put, other=%x)
  return (%y, input "c" = %put)
)";

Tensors put_into(const at::Tensor& c, const at::Tensor& x, const at::Tensor& pos) {
  const at::Tensor put = c.index_put({pos}, x.narrow(0, 0, 1)).clone(), y = put + x;
  return {y, put};
}

TEST(InPlace, AMutatedInputIsWrittenWhereTheCallerHasIt) {
  Session session(make_program(kPutIntoInput));
  for (int64_t run = 0; run < 6; ++run) {
    at::Tensor c = at::randn({8});
    const at::Tensor x = at::randn({8}), pos = at::full({1}, run, at::kLong);
    const Tensors wanted = put_into(c, x, pos);
    expect_same(session.run({c, x, pos}), {wanted[0]});
    expect_same({c}, {wanted[1]});
  }
  EXPECT_EQ(owner_of(session, "put"), "view view of c");
}

TEST(InPlace, AMutatedInputThatSharesMemoryWithAnotherIsRefusedAndNothingIsWritten) {
  Session session(make_program(kPutIntoInput));
  for (int64_t run = 0; run < 4; ++run) {
    const at::Tensor storage = at::randn({12}), before = storage.clone(), pos = at::full({1}, 5, at::kLong);
    const at::Tensor first = storage.narrow(0, 0, 8), second = storage.narrow(0, 4, 8);
    for (const at::Tensor& other : {first, second}) {
      const Error error = error_of([&] { session.run({first, other, pos}); });
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      EXPECT_THAT(error.what(), ::testing::HasSubstr("input c, which the program changes, shares memory with input x"));
    }
    expect_same({storage}, {before});
  }
}

TEST(InPlace, PiecesOfOneStorageThatDoNotOverlapAreInputsLikeAnyOthers) {
  Session session(make_program(kPutIntoInput));
  for (int64_t run = 0; run < 4; ++run) {
    const at::Tensor storage = at::randn({16}), pos = at::full({1}, 5, at::kLong);
    const at::Tensor c = storage.narrow(0, 0, 8), x = storage.narrow(0, 8, 8);
    const Tensors wanted = put_into(c, x, pos);
    expect_same(session.run({c, x, pos}), {wanted[0]});
    expect_same({c}, {wanted[1]});
  }
}

TEST(InPlace, AnInputThatIsReturnedAfterItsChangeIsTheCallersOwn) {
  Session session(make_program(R"(
graph(%x: f32[4]):
  %y: f32[4] = aten::mul.Scalar(self=%x, other=2)
  %z: f32[4] = aten::sin(self=%y)
  return (%y, %z, input "x" = %y)
)"));
  for (int run = 0; run < 5; ++run) {
    const at::Tensor x = at::randn({4}), before = x.clone();
    const Tensors got = session.run({x});
    EXPECT_TRUE(got[0].is_same(x));
    expect_same(got, {before * 2, at::sin(before * 2)});
  }
}

// The new content is made in the arena, since its layout is another; it is not what leaves.
TEST(InPlace, AnInputThatIsReturnedAfterItsChangeElsewhereIsTheCallersOwnToo) {
  Session session(make_program(R"(
graph(%x: f32[8, 2] strides [1, 8]):
  %y: f32[8, 2] = aten::mul.Scalar(self=%x, other=2)
  return (%y, input "x" = %y)
)"));
  for (int run = 0; run < 5; ++run) {
    const at::Tensor x = at::randn({2, 8}).t(), before = x.clone();
    const Tensors got = session.run({x});
    EXPECT_TRUE(got[0].is_same(x));
    expect_same(got, {before * 2});
  }
  EXPECT_EQ(session.stats().deviations, 0);
  EXPECT_EQ(session.stats().last_run_allocations, 0);
}

TEST(InPlace, StateThatIsReturnedIsCopiedIntoASlotWithItsStridesAndItsSharing) {
  Session session(make_program(R"(
graph(%x: f32[4, 4], %n: f32[4, 4] = buffer "n"):
  %a: f32[4, 4] = aten::add_.Tensor(self=%n, other=%x)
  %t: f32[4, 4] strides [1, 4] = aten::t(self=%n)
  %r: f32[4] offset (8) = aten::select.int(self=%n, dim=0, index=2)
  return (%t, %r)
)",
                               {{"n", at::zeros({4, 4})}}));
  at::Tensor n = at::zeros({4, 4});
  Tensors held, wanted;
  for (int run = 0; run < 6; ++run) {
    const at::Tensor x = at::randn({4, 4});
    const Tensors got = session.run({x});
    n.add_(x);
    EXPECT_EQ(got[0].strides(), n.t().strides());
    EXPECT_TRUE(got[0].is_alias_of(got[1])) << "as in eager, where both are views of the buffer";
    held.insert(held.end(), got.begin(), got.end());
    wanted.push_back(n.t().clone());
    wanted.push_back(n[2].clone());
  }
  expect_same(held, wanted, "state that was returned must not change later");
  held.clear();
  session.run({at::zeros({4, 4})});
  session.run({at::zeros({4, 4})});
  EXPECT_EQ(session.stats().last_run_allocations, 0);
  EXPECT_NE(explain_value(session, "t").reason.find("as a copy in a slot"), std::string::npos);
}

TEST(StateDict, ResetPutsBackWhatTheFileHolds) {
  Session session(make_program(kCache, {{"cache", at::ones({2, 8})}}));
  const auto ask = [&] { return session.run({at::full({2, 1}, 3.0), at::zeros({1}, at::kLong)}); };
  const Tensors first = copies(ask());
  ask();
  session.reset_state();
  expect_same({session.state_dict().at("cache")}, {at::ones({2, 8})});
  expect_same(ask(), first);
}

TEST(StateDict, IsACopyThatCanBeLoadedInAnotherSession) {
  const auto program = make_program(kCache, {{"cache", at::ones({2, 8})}});
  Session one(program), other(program);
  const Tensors inputs = {at::full({2, 1}, 3.0), at::full({1}, 2, at::kLong)};
  one.run(inputs);
  const auto saved = one.state_dict();
  const at::Tensor before = saved.at("cache").clone();
  const Tensors next = copies(one.run(inputs));
  expect_same({saved.at("cache")}, {before}, "a copy does not change");
  other.load_state_dict(saved);
  expect_same(other.run(inputs), next);
}

TEST(StateDict, WhatDoesNotFitIsRefusedAndChangesNothing) {
  Session session(make_program(kCache, {{"cache", at::ones({2, 8})}}));
  for (const auto& [name, value] : Weights{{"cash", at::zeros({2, 8})}, {"cache", at::zeros({8})}}) {
    const Error error = error_of([&, n = name, v = value] { session.load_state_dict({{n, v}}); });
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(std::string(error.what()).find("cache"), std::string::npos) << error.what();
  }
  expect_same({session.state_dict().at("cache")}, {at::ones({2, 8})});
}

TEST(StateDict, AWriteIntoAWeightThatASchemaHidIsRefused) {
  const at::Tensor w = at::ones({4});
  Session session(make_program(R"(
graph(%x: f32[4], %w: f32[4] = parameter "w"):
  %l: f32[4] = tenure_test::lie(x=%w)
  %a: f32[4] = aten::add_.Tensor(self=%l, other=%x)
  return (%a)
)",
                               {{"w", w}}));
  const Error error = error_of([&] { session.run({at::ones({4})}); });
  EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  EXPECT_NE(std::string(error.what()).find("memory of a weight"), std::string::npos) << error.what();
  expect_same({w}, {at::ones({4})});
}

}  // namespace
}  // namespace tenure
