// Values that share memory: views, outputs on one storage, inputs and weights returned, in-place operators.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/session/support.h"

namespace tenure {
namespace {

using namespace tenure::testing;

TEST(Sharing, TwoOutputsOnOneStorageStayOnOneStorage) {
  Session session(make_program(R"(
graph(%x: f32[4, 4]):
  %y: f32[4, 4] = aten::relu(self=%x)
  %v: f32[16] = aten::view(self=%y, size=[16])
  %t: f32[4, 4] strides [1, 4] = aten::transpose.int(self=%y, dim0=0, dim1=1)
  return (%y, %v, %t)
)"));
  for (int run = 0; run < 4; ++run) {
    const at::Tensor x = at::randn({4, 4}), y = at::relu(x);
    const Tensors got = session.run({x});
    expect_same(got, {y, y.view({16}), y.t()});
    EXPECT_TRUE(got[0].is_alias_of(got[1]));
    EXPECT_TRUE(got[0].is_alias_of(got[2]));
    EXPECT_EQ(session.stats().slots, run == 0 ? 0 : 1);
  }
}

TEST(Sharing, AViewAloneIsReturnedWithoutACopy) {
  Session session(make_program(R"(
graph(%x: f32[4, 4]):
  %y: f32[4, 4] = aten::relu(self=%x)
  %r: f32[4] offset (8) = aten::select.int(self=%y, dim=0, index=2)
  return (%r)
)"));
  Tensors held, wanted;
  for (int run = 0; run < 6; ++run) {
    const at::Tensor x = at::randn({4, 4});
    held.push_back(session.run({x})[0]);
    wanted.push_back(at::relu(x)[2]);
    EXPECT_EQ(held.back().storage().nbytes(), 64U);
  }
  expect_same(held, wanted);
  EXPECT_EQ(session.stats().last_run_allocations, 0);
  EXPECT_EQ(explain_value(session, "y").ownership, Ownership::kLeased);
}

TEST(Sharing, AnInputReturnedIsTheCallersOwnTensor) {
  Session session(make_program(R"(
graph(%x: f32[4], %k: f32[4]):
  %y: f32[4] = aten::mul.Tensor(self=%x, other=%k)
  %v: f32[2, 2] = aten::view(self=%x, size=[2, 2])
  return (%x, %y, %v)
)"));
  for (int run = 0; run < 4; ++run) {
    const at::Tensor x = at::randn({4}), k = at::randn({4});
    const Tensors got = session.run({x, k});
    EXPECT_TRUE(got[0].is_same(x));
    EXPECT_TRUE(got[2].is_alias_of(x));
    expect_same(got, {x, x * k, x.view({2, 2})});
  }
}

TEST(Sharing, AWeightReturnedSharesItsMemoryButNotItsTensorObject) {
  const at::Tensor w = at::randn({4});
  Session session(make_program(R"(
graph(%x: f32[4], %w: f32[4] = parameter "w"):
  %y: f32[4] = aten::add.Tensor(self=%x, other=%w)
  %v: f32[2, 2] = aten::view(self=%w, size=[2, 2])
  return (%w, %y, %v, %w)
)",
                               {{"w", w}}));
  for (int run = 0; run < 4; ++run) {
    const at::Tensor x = at::randn({4});
    const Tensors got = session.run({x});
    expect_same(got, {w, x + w, w.view({2, 2}), w});
    EXPECT_TRUE(got[0].is_alias_of(w));
    EXPECT_FALSE(got[0].is_same(w));
  }
}

TEST(Sharing, AValueReturnedTwiceIsOneTensor) {
  Session session(make_program(R"(
graph(%x: f32[4]):
  %y: f32[4] = aten::relu(self=%x)
  return (%y, 7, %y, None)
)"));
  for (int run = 0; run < 4; ++run) {
    const at::Tensor x = at::randn({4});
    const std::vector<c10::IValue> got = session.run_values({x});
    ASSERT_EQ(got.size(), 4U);
    EXPECT_TRUE(got[0].toTensor().is_same(got[2].toTensor()));
    EXPECT_EQ(got[1].toInt(), 7);
    EXPECT_TRUE(got[3].isNone());
    expect_same({got[0].toTensor()}, {at::relu(x)});
  }
}

// reshape of a contiguous tensor is a view, of a transposed one a copy.
TEST(Sharing, ConditionalViewsAreWhatTheInputsMakeThem) {
  Session session(make_program(R"(
graph(%x: f32[4, 6]):
  %f: f32[24] = aten::reshape(self=%x, shape=[24])
  %y: f32[24] = aten::relu(self=%f)
  %z: f32[4, 6] = aten::reshape(self=%y, shape=[4, 6])
  %c: f32[4, 6] = aten::contiguous(self=%x)
  %d: f32[4, 6] = aten::to.dtype(self=%c, dtype=dtype f32)
  return (%z, %f, %d)
)"));
  std::vector<std::pair<Tensors, Tensors>> held;
  for (int run = 0; run < 8; ++run) {
    const at::Tensor x = run % 2 == 0 ? at::randn({4, 6}) : at::randn({6, 4}).t();
    const at::Tensor f = x.reshape({24});
    const Tensors got = session.run({x});
    EXPECT_EQ(got[1].is_alias_of(x), run % 2 == 0);
    EXPECT_EQ(got[2].is_alias_of(x), run % 2 == 0);
    held.emplace_back(got, copies({at::relu(f).view({4, 6}), f, x}));
  }
  for (const auto& [got, wanted] : held) expect_same(got, wanted);
  EXPECT_EQ(session.stats().deviations, 0);
  EXPECT_EQ(session.stats().observing_runs, 2);
}

TEST(Sharing, ChainsOfInPlaceOperatorsOnStandingValues) {
  Session session(make_program(R"(
graph(%x: f32[4, 4]):
  %y: f32[4, 4] = aten::relu(self=%x)
  %a: f32[4, 4] = aten::add_.Tensor(self=%y, other=%x)
  %r: f32[4] = aten::select.int(self=%a, dim=0, index=1)
  %m: f32[4] = aten::mul_.Scalar(self=%r, other=3.0)
  %s: f32[4, 4] = aten::sin(self=%y)
  %t: f32[4, 4] = aten::tanh_(self=%a)
  %u: f32[4, 4] = aten::add.Tensor(self=%s, other=%y)
  return (%u, %m)
)"));
  for (int run = 0; run < 5; ++run) {
    const at::Tensor x = at::randn({4, 4});
    at::Tensor y = at::relu(x);
    y.add_(x);
    y[1].mul_(3.0);
    const at::Tensor s = at::sin(y);
    y.tanh_();
    expect_same(session.run({x}), {s + y, y[1]});
  }
  EXPECT_EQ(session.stats().deviations, 0);
  EXPECT_EQ(session.stats().last_run_allocations, 0);
}

TEST(Sharing, InPlaceOperatorsOnInputsChangeTheCallersTensor) {
  Session session(make_program(R"(
graph(%x: f32[4]):
  %a: f32[4] = aten::add_.Scalar(self=%x, other=1)
  %y: f32[4] = aten::mul.Tensor(self=%a, other=%x)
  return (%y, %a)
)"));
  for (int run = 0; run < 4; ++run) {
    const at::Tensor x = at::randn({4}), before = x.clone();
    const Tensors got = session.run({x});
    expect_same({x}, {before + 1});
    expect_same(got, {x * x, x});
    EXPECT_TRUE(got[1].is_same(x));
  }
}

TEST(Sharing, MetadataChangedInPlaceIsChangedInEachRunAnew) {
  Session session(make_program(R"(
graph(%x: f32[4, 1, 3]):
  %y: f32[4, 1, 3] = aten::relu(self=%x)
  %q: f32[4, 3] = aten::squeeze_.dim(self=%y, dim=1)
  %t: f32[3, 4] strides [1, 3] = aten::t_(self=%q)
  %s: f32[3, 4] = aten::sin(self=%y)
  %k: f32[4, 1, 3] = aten::cos(self=%x)
  %l: f32[2, 2] = aten::resize_(self=%k, size=[2, 2])
  return (%s, %t, %k)
)"));
  for (int run = 0; run < 5; ++run) {
    const at::Tensor x = at::randn({4, 1, 3}), y = at::relu(x).squeeze(1).t();
    expect_same(session.run({x}), {at::sin(y), y, at::cos(x).flatten().narrow(0, 0, 4).view({2, 2})});
  }
}

TEST(Sharing, OperatorsThatHideAliasingAreFoundOut) {
  Session session(make_program(R"(
graph(%x: f32[4, 4], %w: f32[4, 4] = parameter "w"):
  %y: f32[4, 4] = aten::relu(self=%x)
  %d: f32[4, 4] = aten::dropout(input=%y, p=0.5, train=False)
  %i: f32[4, 4] = aten::dropout(input=%x, p=0.5, train=False)
  %o: f32[4, 4] = aten::dropout(input=%w, p=0.5, train=False)
  %s: f32[4, 4] = aten::sin(self=%x)
  %h: f32[4, 4] = aten::type_as(self=%s, other=%x)
  %c: f32[4, 4] = aten::cos(self=%h)
  return (%d, %i, %o, %c)
)",
                               {{"w", at::ones({4, 4})}}));
  std::vector<std::pair<Tensors, Tensors>> held;
  for (int run = 0; run < 6; ++run) {
    const at::Tensor x = at::randn({4, 4});
    held.emplace_back(session.run({x}), Tensors{at::relu(x), x, at::ones({4, 4}), at::cos(at::sin(x))});
    EXPECT_TRUE(held.back().first[1].is_same(x));
  }
  for (const auto& [got, wanted] : held) expect_same(got, wanted);
  EXPECT_EQ(session.stats().deviations, 0);
  EXPECT_EQ(explain_value(session, "y").where, "slot 0");
}

TEST(Sharing, ConjugateViewsAndViewsWithAnotherDtype) {
  Session session(make_program(R"(
graph(%x: c64[4], %k: f32[4]):
  %j: c64[4] = aten::_conj(self=%x)
  %y: c64[4] = aten::mul.Tensor(self=%j, other=%j)
  %q: c64[4] = aten::_conj(self=%y)
  %z: c64[4] = aten::resolve_conj(self=%q)
  %r: f32[4, 2] = aten::view_as_real(self=%z)
  %s: f32[4] = aten::sin(self=%k)
  %b: i32[4] = aten::view.dtype(self=%s, dtype=dtype i32)
  %n: i32[4] = aten::bitwise_not(self=%b)
  %f: f32[4] = aten::view.dtype(self=%n, dtype=dtype f32)
  return (%q, %r, %n, %f, %b)
)"));
  std::vector<std::pair<Tensors, Tensors>> held;
  for (int run = 0; run < 5; ++run) {
    const at::Tensor x = at::randn({4}, at::kComplexFloat), k = at::randn({4});
    const at::Tensor q = (x.conj() * x.conj()).conj(), n = at::sin(k).view(at::kInt).bitwise_not();
    held.emplace_back(session.run({x, k}),
                      Tensors{q, at::view_as_real(q.resolve_conj()), n, n.view(at::kFloat), at::sin(k).view(at::kInt)});
  }
  for (const auto& [got, wanted] : held) expect_same(got, wanted);
  EXPECT_EQ(session.stats().deviations, 0);
}

TEST(Sharing, AnInputMayBeAConjugateViewOrNot) {
  Session session(make_program(R"(
graph(%x: c64[4]):
  %r: c64[4] = aten::resolve_conj(self=%x)
  %y: c64[4] = aten::mul.Tensor(self=%r, other=%x)
  return (%y)
)"));
  for (int run = 0; run < 8; ++run) {
    at::Tensor x = at::randn({4}, at::kComplexFloat);
    if (run % 2 == 0) x = x.conj();
    expect_same(session.run({x}), {x * x});
  }
  EXPECT_EQ(session.stats().deviations, 0) << "whether an input is conjugated is a part of its signature";
}

TEST(Sharing, AnInputMayShareItsMemoryWithAWeight) {
  const auto program = make_program(R"(
graph(%w: f32[4] = parameter "w", %x: f32[4]):
  %y: f32[4] = aten::add.Tensor(self=%x, other=%w)
  return (%y, %w)
)",
                                    {{"w", at::ones({4})}});
  Session session(program);
  const at::Tensor ones = at::ones({4}), returned = session.run({at::zeros({4})})[1];
  Session other(program);
  expect_answers(other, {returned}, {at::full({4}, 2.0), ones});
  expect_answers(other, {at::full({4}, 5.0)}, {at::full({4}, 6.0), ones});
}

// The operator writes clamped indices, its scratch, into the list that it is given.
TEST(Sharing, AnOperatorThatKeepsScratchInItsListArgumentKeepsNoMemoryOfTheArena) {
  Session session(make_program(R"(
graph(%x: f32[5, 3], %m: b8[3], %i: i64[3]):
  %y: f32[5, 3] = aten::mul.Scalar(self=%x, other=2)
  %n: b8[3] = aten::logical_not(self=%m)
  %j: i64[3] = aten::mul.Scalar(self=%i, other=1)
  %g: f32[3, 3] = aten::_unsafe_masked_index(self=%y, mask=%n, indices=[%j], fill=0.5)
  %s: f32[3] = aten::sum.dim_IntList(self=%g, dim=[0])
  return (%s)
)"));
  const at::Tensor mask = at::tensor({0, 1, 0}).to(at::kBool), index = at::tensor({0, 9, 4}).to(at::kLong);
  for (int run = 0; run < 4; ++run) {
    const at::Tensor x = at::randn({5, 3}), y = x * 2;
    expect_same(session.run({x, mask, index}), {at::_unsafe_masked_index(y, mask.logical_not(), {index}, 0.5).sum(0)});
  }
  EXPECT_EQ(session.stats().deviations, 0);
  EXPECT_EQ(session.stats().abandoned_bytes, 0);
}

TEST(Sharing, QuantizedTensorsPassThrough) {
  Session session(make_program(R"(
graph(%x: f32[8]):
  %y: f32[8] = aten::relu(self=%x)
  %q: f32[8] = aten::quantize_per_tensor(self=%y, scale=0.05, zero_point=3, dtype=13)
  %d: f32[8] = aten::dequantize.self(self=%q)
  return (%d)
)"));
  for (int run = 0; run < 4; ++run) {
    const at::Tensor x = at::randn({8});
    expect_same(session.run({x}), {at::quantize_per_tensor(at::relu(x), 0.05, 3, at::kQUInt8).dequantize()});
  }
}

}  // namespace
}  // namespace tenure
