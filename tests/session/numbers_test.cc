// Numbers that go in, come out, and are computed between operators.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/session/support.h"

namespace tenure {
namespace {

using namespace tenure::testing;
using c10::IValue;

TEST(Numbers, GoInAndComeOut) {
  Session session(make_program(R"(
graph(%x: f32[s0, 2], %n: int(s1), %a: float, %b: bool, mode = "fast"):
  %y: f32[s0, 2] = aten::mul.Scalar(self=%x, other=%a)
  %s: int(s0) = aten::sym_size.int(self=%x, dim=0)
  %t: int(s0 + s1) = _operator.add(a=%s, b=%n)
  %h: float = _operator.truediv(a=%t, b=2)
  %z: f32[s0 + s1] = aten::full(size=[%t], fill_value=%a)
  return (%y, %t, %h, %z, %b, %n)
)"));
  for (int run = 0; run < 12; ++run) {
    const int64_t rows = 1 + run % 2, n = 3 + run % 3;
    const double a = 0.5 * (run % 2);
    const at::Tensor x = at::randn({rows, 2});
    const std::vector<IValue> got = session.run_values({x, n, a, run % 2 == 0, "fast"});
    ASSERT_EQ(got.size(), 6U);
    expect_same({got[0].toTensor(), got[3].toTensor()}, {x * a, at::full({rows + n}, a)});
    EXPECT_EQ(got[1].toInt(), rows + n);
    EXPECT_EQ(got[2].toDouble(), (rows + n) / 2.0);
    EXPECT_EQ(got[4].toBool(), run % 2 == 0);
    EXPECT_EQ(got[5].toInt(), n);
  }
  EXPECT_EQ(session.stats().deviations, 0);
  EXPECT_EQ(session.stats().observing_runs, 6) << "two sizes, three numbers that a size depends on";
}

TEST(Numbers, ThatNoSizeDependsOnShareOnePlan) {
  Session session(make_program(R"(
graph(%x: f32[4], %a: float, %i: int(s1)):
  where 0 <= s1 <= 3
  %y: f32[4] = aten::mul.Scalar(self=%x, other=%a)
  %j: int(s1 + 1) = _operator.add(a=%i, b=1)
  %z: f32[] offset (s1) = aten::select.int(self=%y, dim=0, index=%i)
  %s: f32[4] = aten::add.Scalar(self=%y, other=%j)
  %t: f32[4] = aten::sin(self=%s)
  return (%z, %t, %j)
)"));
  std::vector<std::pair<Tensors, Tensors>> held;
  for (int64_t run = 0; run < 12; ++run) {
    const at::Tensor x = at::randn({4}), y = x * (0.25 * static_cast<double>(run));
    const std::vector<IValue> got = session.run_values({x, 0.25 * static_cast<double>(run), run % 4});
    held.emplace_back(Tensors{got[0].toTensor(), got[1].toTensor()}, Tensors{y[run % 4].clone(), at::sin(y + (run % 4 + 1))});
    EXPECT_EQ(got[2].toInt(), run % 4 + 1);
  }
  for (const auto& [got, wanted] : held) expect_same(got, wanted);
  EXPECT_EQ(session.stats().observing_runs, 1);
  EXPECT_EQ(session.stats().deviations, 0);
  const Error error = error_of([&] { session.run_values({at::randn({4}), 1.0, 9}); });
  EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument) << "its range is checked in each run";
}

TEST(Numbers, AnOffsetCountsWhereAnOperatorSeesTheWholeStorage) {
  Session session(make_program(R"(
graph(%x: f32[4]):
  %v: f32[2] offset (1) = aten::as_strided(self=%x, size=[2], stride=[1], storage_offset=1)
  %y: f32[2] = aten::sin(self=%v)
  return (%y)
)"));
  const at::Tensor storage = at::randn({12});
  for (int run = 0; run < 8; ++run) {
    const at::Tensor x = storage.narrow(0, run % 2 == 0 ? 0 : 3, 4);
    expect_same(session.run({x}), {at::sin(x.as_strided({2}, {1}, 1))});
  }
  EXPECT_EQ(session.stats().observing_runs, 2);
  EXPECT_EQ(session.stats().deviations, 0);
}

TEST(Numbers, AScatterCopiesTheStorageThatItsArgumentLiesInSoItsSizeCounts) {
  Session session(make_program(R"(
graph(%x: f32[4], %y: f32[2]):
  %z: f32[4] = aten::slice_scatter(self=%x, src=%y, start=1, end=3)
  %r: f32[4] = aten::sin(self=%z)
  return (%r)
)"));
  const at::Tensor storage = at::randn({12}), y = at::randn({2});
  for (int run = 0; run < 12; ++run) {
    const at::Tensor x = run % 3 == 0 ? at::randn({4}) : storage.narrow(0, run % 3 == 1 ? 0 : 3, 4);
    expect_same(session.run({x, y}), {at::sin(at::slice_scatter(x, y, 0, 1, 3))});
  }
  EXPECT_EQ(session.stats().observing_runs, 3);
  EXPECT_EQ(session.stats().deviations, 0);
}

TEST(Numbers, RunLeavesOutWhatIsNoTensor) {
  Session session(make_program("graph(%x: f32[2]): %s: int = aten::sym_size.int(self=%x, dim=0) return (%s, %x, 3)"));
  EXPECT_EQ(session.run({at::ones({2})}).size(), 1U);
}

TEST(Numbers, ReadFromATensorFollowItsContent) {
  Session session(make_program(R"(
graph(%x: f32[4], %i: i64[]):
  %k: int(u0) = aten::item(self=%i)
  %r: f32[] offset (u0) = aten::select.int(self=%x, dim=0, index=%k)
  %y: f32[] = aten::sin(self=%r)
  %s: f32[4] = aten::relu(self=%x)
  %t: f32[] = aten::select.int(self=%s, dim=0, index=%k)
  %z: f32[] = aten::cos(self=%t)
  %o: f32[u0] = aten::zeros(size=[%k])
  %m: int = _operator.mul(a=%k, b=10)
  return (%y, %z, %m, %o)
)"));
  for (int run = 0; run < 12; ++run) {
    const int64_t k = run * 3 % 4;
    const at::Tensor x = at::randn({4});
    const std::vector<IValue> got = session.run_values({x, at::scalar_tensor(k, at::kLong)});
    expect_same({got[0].toTensor(), got[1].toTensor(), got[3].toTensor()},
                {at::sin(x[k]), at::cos(at::relu(x)[k]), at::zeros({k})});
    EXPECT_EQ(got[2].toInt(), 10 * k);
  }
  EXPECT_EQ(session.stats().deviations, 0);
  EXPECT_EQ(session.stats().observing_runs, 1);
}

TEST(Numbers, ARuntimeAssertionIsCheckedInEachRun) {
  Session session(make_program(R"(
graph(%x: f32[4], %i: i64[]):
  %k: int(u0) = aten::item(self=%i)
  %g: bool = _operator.gt(a=%k, b=1)
  aten::_assert_scalar(self=%g, assert_msg="k must be larger than 1") as must_be_large
  %y: f32[4] = aten::mul.Scalar(self=%x, other=%k)
  return (%y)
)"));
  const at::Tensor x = at::randn({4});
  for (int64_t k : {3, 1, 5, 0, 2}) {
    const at::Tensor i = at::scalar_tensor(k, at::kLong);
    if (k > 1) {
      expect_same(session.run({x, i}), {x * k});
      continue;
    }
    const Error error = error_of([&] { session.run({x, i}); });
    EXPECT_EQ(error.code(), ErrorCode::kRuntimeAssert);
    EXPECT_NE(std::string(error.what()).find("must_be_large"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("k must be larger than 1"), std::string::npos) << error.what();
  }
  EXPECT_EQ(session.stats().held_slots, 0);
}

TEST(Numbers, AnAssertionAboutATensorsContentIsCheckedInEachRun) {
  Session session(make_program(R"(
graph(%x: f32[4]):
  %y: f32[4] = aten::relu(self=%x)
  %a: b8[] = aten::any(self=%y)
  aten::_assert_async.msg(self=%a, assert_msg="all of it is negative") as some
  return (%y)
)"));
  for (int run = 0; run < 6; ++run) {
    if (run % 2 == 0) {
      expect_same(session.run({at::ones({4})}), {at::ones({4})});
    } else {
      EXPECT_EQ(error_of([&] { session.run({-at::ones({4})}); }).code(), ErrorCode::kRuntimeAssert);
    }
  }
}

}  // namespace
}  // namespace tenure
