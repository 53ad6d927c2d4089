// In a steady run operators are given the memory of their results, and engines are bound once.
#include <ATen/ATen.h>
#include <ATen/record_function.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/library.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/session/support.h"

namespace tenure {
namespace {

using namespace tenure::testing;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// An operator of PyTorch's, so to speak, whose variant wants scratch memory that the operator itself does not.
at::Tensor strays(const at::Tensor& x) { return x.clone(); }
at::Tensor& strays_out(const at::Tensor& x, at::Tensor& out) {
  const at::Tensor scratch = at::empty({1000}, x.options());
  return out.copy_(x);
}
TORCH_LIBRARY_FRAGMENT(aten, library) {
  library.def("tenure_test_strays(Tensor x) -> Tensor");
  library.def("tenure_test_strays.out(Tensor x, *, Tensor(a!) out) -> Tensor(a!)");
}
TORCH_LIBRARY_IMPL(aten, CPU, library) {
  library.impl("tenure_test_strays", &strays);
  library.impl("tenure_test_strays.out", &strays_out);
}

// One that is done with its scratch memory before it asks for its result, while its variant writes the result first.
at::Tensor scribbles(const at::Tensor& x) {
  {
    const at::Tensor scratch = at::zeros_like(x);
  }
  return x.clone();
}
at::Tensor& scribbles_out(const at::Tensor& x, at::Tensor& out) {
  out.copy_(x);
  const at::Tensor scratch = at::zeros_like(x);
  return out;
}
TORCH_LIBRARY_FRAGMENT(aten, library) {
  library.def("tenure_test_scribbles(Tensor x) -> Tensor");
  library.def("tenure_test_scribbles.out(Tensor x, *, Tensor(a!) out) -> Tensor(a!)");
}
TORCH_LIBRARY_IMPL(aten, CPU, library) {
  library.impl("tenure_test_scribbles", &scribbles);
  library.impl("tenure_test_scribbles.out", &scribbles_out);
}

std::vector<std::string> called;

std::unique_ptr<at::ObserverContext> note_operator(const at::RecordFunction& function) {
  if (const auto name = function.operator_name()) called.push_back(c10::toString(*name));
  return nullptr;
}

/// The operators that PyTorch's dispatcher sees in one run.
std::vector<std::string> operators_of(Session& session, const Tensors& inputs) {
  called.clear();
  const auto handle = at::addThreadLocalCallback(at::RecordFunctionCallback(&note_operator).scopes({at::RecordScope::FUNCTION}));
  session.run(inputs);
  at::removeCallback(handle);
  return called;
}

constexpr const char* kChain = R"(
graph(%x: f32[s0, 4]):
  %a: f32[s0, 4] = aten::sin(self=%x)
  %b: f32[s0, 4] = aten::mul.Tensor(self=%a, other=%x)
  %c: f32[s0, 4] = aten::relu(self=%b)
  return (%c)
)";

TEST(BoundCall, OperatorsWriteWhereTheirResultsLieAndMakeNoTensors) {
  Session session(make_program(kChain));
  const at::Tensor x = at::randn({3, 4});
  EXPECT_THAT(operators_of(session, {x}), Contains("aten::sin"));
  for (int run = 0; run < 3; ++run) {
    EXPECT_THAT(operators_of(session, {x}), ElementsAre("aten::sin.out", "aten::mul.out", "aten::relu", "aten::clamp_min"))
        << "what is returned is made anew; run " << run;
  }
}

TEST(BoundCall, AnswersStayRightAfterSizesChangeMemoryIsGivenBackAndRunsArePlain) {
  Session session(make_program(kChain));
  for (int run = 0; run < 40; ++run) {
    const at::Tensor x = at::randn({1 + run * 7 % 11, 4});
    if (run % 5 == 4) session.trim();
    session.set_pre_allocated_outputs(run % 7 != 6);
    expect_same(session.run({x}), {at::relu(at::sin(x) * x)}, "run " + std::to_string(run));
  }
  EXPECT_EQ(session.stats().deviations, 0);
}

TEST(BoundCall, NumbersGiveTheBitsThatEagerGives) {
  Session session(make_program(R"(
graph(%x: f32[64], %h: f16[64], %d: f64[64], %n: i64[64]):
  %a: f32[64] = aten::add.Tensor(self=%x, other=0.1, alpha=3)
  %b: f32[64] = aten::div.Tensor(self=%a, other=0.3)
  %c: f16[64] = aten::mul.Tensor(self=%h, other=0.1)
  %e: f64[64] = aten::sub.Tensor(self=%d, other=0.1)
  %f: f32[64] = aten::div.Tensor(self=%n, other=3)
  %g: f32[64] = aten::mul.Tensor(self=%n, other=0.7)
  %i: f64[64] = aten::mul.Tensor(self=%e, other=%b)
  %j: f32[64] = aten::add.Tensor(self=%f, other=%c)
  %k: f64[64] = aten::add.Tensor(self=%i, other=%j)
  %l: f64[64] = aten::add.Tensor(self=%k, other=%g)
  return (%l)
)"));
  const at::Tensor x = at::randn({64}), h = at::randn({64}).to(at::kHalf), d = at::randn({64}).to(at::kDouble);
  const at::Tensor n = at::arange(64);
  const at::Tensor b = at::div(at::add(x, 0.1, 3), 0.3), j = at::div(n, 3) + h * 0.1;
  expect_answers(session, {x, h, d, n}, {(d - 0.1) * b + j + n * 0.7}, 4);
}

TEST(BoundCall, ReluWritesWhereItsResultLiesTheBitsOfRelu) {
  Session session(make_program(R"(
graph(%x: f32[67], %n: i64[67]):
  %a: f32[67] = aten::relu(self=%x)
  %b: i64[67] = aten::relu(self=%n)
  %c: f32[67] = aten::neg(self=%a)
  %d: i64[67] = aten::neg(self=%b)
  return (%c, %d)
)"));
  at::Tensor x = at::randn({67});
  x[0] = -0.0f, x[1] = std::nanf(""), x[2] = -INFINITY, x[3] = INFINITY, x[66] = -0.0f;
  const at::Tensor n = at::arange(67) - 30;
  expect_answers(session, {x, n}, {-at::relu(x), -at::relu(n)}, 4);
  EXPECT_THAT(operators_of(session, {x, n}), AllOf(Contains("aten::clamp_min.out").Times(2), Not(Contains("aten::relu"))));
}

TEST(BoundCall, OfSeveralResultsAllAreWritten) {
  Session session(make_program(R"(
graph(%x: f32[5, 7]):
  %v: f32[5], %i: i64[5] = aten::max.dim(self=%x, dim=1)
  %s: f32[5], %o: i64[5] = aten::sort.stable(self=%v, stable=True, dim=0)
  %a: i64[5] = aten::add.Tensor(self=%i, other=%o)
  %b: f32[5] = aten::add.Tensor(self=%a, other=%s)
  return (%b)
)"));
  const at::Tensor x = at::randn({5, 7});
  const auto [values, indices] = at::max(x, 1);
  const auto [sorted, order] = at::sort(values, 0);
  expect_answers(session, {x}, {indices + order + sorted}, 4);
  EXPECT_THAT(operators_of(session, {x}), Contains("aten::max.dim_max"));
  EXPECT_EQ(session.stats().last_run_allocations, 0);
  EXPECT_EQ(session.stats().deviations, 0);
}

TEST(BoundCall, WhatSharesMemoryWithAnArgumentIsNotGivenMemory) {
  Session session(make_program(R"(
graph(%x: f32[4, 4]):
  %a: f32[4, 4] = aten::sin(self=%x)
  %v: f32[16] = aten::reshape(self=%a, shape=[16])
  %w: f32[16] = aten::mul_.Tensor(self=%v, other=2.0)
  %s: f32[16] = aten::cumsum(self=%w, dim=0)
  %t: f32[4, 4] = aten::add.Tensor(self=%a, other=%a)
  %u: f32[16] = aten::add.Tensor(self=%w, other=%s)
  return (%t, %u)
)"));
  const at::Tensor x = at::randn({4, 4});
  const at::Tensor doubled = at::sin(x) * 2.0, flat = doubled.view({16});
  expect_answers(session, {x}, {doubled * 2, flat + at::cumsum(flat, 0)}, 4);
}

TEST(BoundCall, OperatorsWithScratchMemoryOfTheirOwnAllocateNothing) {
  Session session(make_program(R"(
graph(%x: f32[40, 30]):
  %t: f32[30, 40] strides [1, 30] = aten::transpose.int(self=%x, dim0=0, dim1=1)
  %m: f32[30, 30] = aten::mm(self=%t, mat2=%x)
  %v: f32[30, 5], %i: i64[30, 5] = aten::topk(self=%m, k=5)
  %c: f32[30, 5] = aten::cumprod(self=%v, dim=1)
  %l: f32[30] = aten::logsumexp(self=%c, dim=[1])
  %s: f32[30] = aten::std.correction(self=%v, dim=[1])
  %n: f32[30] = aten::norm.ScalarOpt_dim(self=%v, p=2, dim=[1])
  %z: f32[] = aten::sum(self=%i, dtype=6)
  %a: f32[30] = aten::add.Tensor(self=%l, other=%s)
  %b: f32[30] = aten::add.Tensor(self=%a, other=%n)
  %d: f32[30] = aten::add.Tensor(self=%b, other=%z)
  return (%d)
)"));
  const at::Tensor x = at::randn({40, 30});
  const auto [values, indices] = at::topk(at::mm(x.t(), x), 5);
  const at::Tensor wanted = at::logsumexp(at::cumprod(values, 1), {1}) + at::std(values, {1}, std::optional<at::Scalar>()) +
                            at::norm(values, 2, {1}) + at::sum(indices, at::kFloat);
  expect_answers(session, {x}, {wanted}, 4);
  EXPECT_EQ(session.stats().last_run_allocations, 0);
  EXPECT_EQ(session.stats().deviations, 0);
}

TEST(BoundCall, AVariantThatWantsOtherMemoryThanTheOperatorIsCalledOnce) {
  Session session(make_program(R"(
graph(%x: f32[4]):
  %a: f32[4] = aten::tenure_test_strays(x=%x)
  %b: f32[4] = aten::mul.Tensor(self=%a, other=2.0)
  return (%b)
)"));
  const at::Tensor x = at::randn({4});
  expect_answers(session, {x}, {x * 2.0}, 1);
  EXPECT_THAT(operators_of(session, {x}), Contains("aten::tenure_test_strays.out"));
  EXPECT_THAT(operators_of(session, {x}), Contains("aten::tenure_test_strays"));
  expect_answers(session, {x}, {x * 2.0});
  EXPECT_EQ(session.stats().last_run_allocations, 0);
  EXPECT_EQ(session.stats().deviations, 0);
}

TEST(BoundCall, ScratchMemoryIsNotTheResultsOwn) {
  Session session(make_program(R"(
graph(%x: f32[400]):
  %a: f32[400] = aten::tenure_test_scribbles(x=%x)
  %b: f32[400] = aten::mul.Tensor(self=%a, other=2.0)
  return (%b)
)"));
  const at::Tensor x = at::randn({400});
  expect_answers(session, {x}, {x * 2.0}, 4);
  EXPECT_EQ(session.stats().deviations, 0);
}

TEST(BoundCall, SizesThatDependOnDataThoughTheFileSaysOtherwiseAreRight) {
  Session session(make_program(R"(
graph(%x: f32[4, 3]):
  %m: b8[4, 3] = aten::gt.Scalar(self=%x, other=0)
  %n: i64[4, 2] = aten::nonzero(self=%m)
  %v: i64[4] = aten::select.int(self=%n, dim=1, index=0)
  %s: i64[] = aten::sum(self=%v)
  return (%s)
)"));
  for (const int count : {4, 4, 4, 2, 4, 9}) {
    const at::Tensor x = at::where(at::arange(12).view({4, 3}) < count, at::ones({}), -at::ones({}));
    expect_same(session.run({x}), {at::sum(at::nonzero(x > 0).select(1, 0))}, std::to_string(count));
  }
}

TEST(BoundCall, AnEngineBetweenOperatorsIsRightWhereverItsFrameComesFrom) {
  Session session(make_program(R"(
graph(%x: f32[2, 3], %y: f32[2, 3]):
  %a: f32[2, 3] = aten::sin(self=%x)
  %b: f32[2, 3] = aten::cos(self=%y)
  %s: f32[2, 3], %p: f32[2, 3] = engine "two_outputs"(%a, %b)
  %r: f32[2, 3] = aten::mul.Tensor(self=%s, other=%p)
  return (%r)
)",
                               {}, {"two_outputs"}));
  for (int run = 0; run < 30; ++run) {
    const at::Tensor x = at::randn({2, 3}), y = at::randn({3, 2}), a = at::sin(x), b = at::cos(y.t());
    if (run % 6 == 5) session.trim();
    session.set_pre_allocated_outputs(run % 7 != 6);
    const bool dense = run % 4 < 2;  // another signature, for the same engine context
    expect_same(session.run({x, dense ? y.t().contiguous() : y.t()}), {(a + b) * (a * b)}, "run " + std::to_string(run));
  }
  EXPECT_EQ(session.stats().deviations, 0);
}

TEST(BoundCall, AnErrorInsideNamesTheOperatorOfTheFile) {
  Session session(make_program(R"(
graph(%x: f32[4], %i: i64[2]):
  %a: f32[4] = aten::sin(self=%x)
  %b: f32[2] = aten::index_select(self=%a, dim=0, index=%i)
  %c: f32[2] = aten::cos(self=%b)
  return (%c)
)"));
  const at::Tensor x = at::randn({4}), good = at::tensor({1, 3}, at::kLong), bad = at::tensor({1, 4}, at::kLong);
  const Tensors wanted = {at::cos(at::index_select(at::sin(x), 0, good))};
  expect_answers(session, {x, good}, wanted);
  EXPECT_THAT(error_of([&] { session.run({x, bad}); }).what(), HasSubstr("aten::index_select"));
  expect_answers(session, {x, good}, wanted);
}

}  // namespace
}  // namespace tenure
