// Buffers and inputs that a program changes.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/session/support.h"

namespace tenure {
namespace {

using namespace tenure::testing;

constexpr const char* kCounter = R"(
graph(%x: f32[4], %n: f32[4] = buffer "n"):
  %z: f32[4] = aten::add.Tensor(self=%n, other=%x)
  %y: f32[4] = aten::mul.Tensor(self=%z, other=%n)
  return (%y, %z, buffer "n" = %z)
)";

TEST(State, AFunctionalMutationIsSeenByTheNextRun) {
  const at::Tensor initial = at::ones({4});
  Session session(make_program(kCounter, {{"n", initial}}));
  at::Tensor n = initial.clone();
  std::vector<std::pair<Tensors, Tensors>> held;
  for (int run = 0; run < 10; ++run) {
    const at::Tensor x = at::randn({4}), z = n + x;
    held.emplace_back(session.run({x}), Tensors{z * n, z});
    n = z;
  }
  for (const auto& [got, wanted] : held) expect_same(got, wanted);
  expect_same({initial}, {at::ones({4})}, "the program's own weight");
  EXPECT_EQ(session.stats().deviations, 0);
  EXPECT_EQ(session.stats().last_run_allocations, 0);
}

TEST(State, IsPerSession) {
  const auto program = make_program(kCounter, {{"n", at::zeros({4})}});
  Session first(program), second(program);
  const at::Tensor one = at::ones({4});
  for (int run = 0; run < 3; ++run) first.run({one});
  expect_same(second.run({one}), {at::zeros({4}), at::full({4}, 1.0)});
  expect_same(first.run({one}), {at::full({4}, 12.0), at::full({4}, 4.0)});
}

TEST(State, TwoBuffersSwapTheirContent) {
  Session session(make_program(R"(
graph(%x: f32[3], %a: f32[3] = buffer "a", %b: f32[3] = buffer "b"):
  %y: f32[3] = aten::add.Tensor(self=%a, other=%x)
  return (%y, buffer "a" = %b, buffer "b" = %a)
)",
                               {{"a", at::full({3}, 1.0)}, {"b", at::full({3}, 2.0)}}));
  for (int run = 0; run < 6; ++run) expect_same(session.run({at::zeros({3})}), {at::full({3}, run % 2 == 0 ? 1.0 : 2.0)});
}

TEST(State, InPlaceOperatorsOnABuffer) {
  Session session(make_program(R"(
graph(%x: f32[4], %n: f32[4] = buffer "n"):
  %v: f32[2] offset (2) = aten::slice.Tensor(self=%n, dim=0, start=2, end=4)
  %a: f32[2] = aten::add_.Scalar(self=%v, other=1)
  %y: f32[4] = aten::mul.Tensor(self=%n, other=%x)
  return (%y, %n, %a)
)",
                               {{"n", at::zeros({4})}}));
  std::vector<std::pair<Tensors, Tensors>> held;
  at::Tensor n = at::zeros({4});
  for (int run = 0; run < 6; ++run) {
    const at::Tensor x = at::randn({4});
    held.emplace_back(session.run({x}), Tensors());
    n.narrow(0, 2, 2).add_(1);
    held.back().second = {n * x, n.clone(), n.narrow(0, 2, 2).clone()};
  }
  for (const auto& [got, wanted] : held) expect_same(got, wanted, "state that was returned must not change later");
}

TEST(State, MetadataOfABufferChangedInPlace) {
  Session session(make_program(R"(
graph(%x: f32[4], %n: f32[4] = buffer "n"):
  %u: f32[1, 4] = aten::unsqueeze_(self=%n, dim=0)
  %y: f32[1, 4] = aten::add.Tensor(self=%n, other=%x)
  %s: f32[4] = aten::squeeze_.dim(self=%u, dim=0)
  %z: f32[4] = aten::add.Tensor(self=%n, other=%x)
  return (%y, %z)
)",
                               {{"n", at::arange(4).to(at::kFloat)}}));
  for (int run = 0; run < 5; ++run) {
    const at::Tensor x = at::randn({4}), z = at::arange(4).to(at::kFloat) + x;
    expect_same(session.run({x}), {z.view({1, 4}), z});
  }
}

// A tied buffer: one storage under two names, as the archive reader gives it.
TEST(State, BuffersThatShareMemoryGoOnSharingIt) {
  const at::Tensor storage = at::zeros({6});
  Session session(make_program(R"(
graph(%x: f32[3], %a: f32[6] = buffer "a", %b: f32[3] = buffer "b", %c: f32[3] = parameter "c"):
  %n: f32[6] = aten::add_.Scalar(self=%a, other=1)
  %y: f32[3] = aten::add.Tensor(self=%b, other=%x)
  %z: f32[3] = aten::add.Tensor(self=%c, other=%x)
  return (%y, %z, %b)
)",
                               {{"a", storage}, {"b", storage.narrow(0, 3, 3)}, {"c", at::zeros({3})}}));
  Tensors held, wanted;
  for (int run = 1; run < 6; ++run) {
    const at::Tensor x = at::randn({3});
    const Tensors got = session.run({x});
    expect_same(got, {x + run, x + 0.0, at::full({3}, static_cast<float>(run))});
    held.push_back(got[2]);
    wanted.push_back(at::full({3}, static_cast<float>(run)));
  }
  expect_same(held, wanted, "state that was returned must not change later");
  expect_same({storage}, {at::zeros({6})}, "the program's own weight");
}

TEST(State, AMutatedInputIsWrittenBackToTheCaller) {
  Session session(make_program(R"(
graph(%x: f32[4], %k: f32[4]):
  %y: f32[4] = aten::mul.Tensor(self=%x, other=%k)
  %z: f32[4] = aten::sin(self=%y)
  return (%z, %x, input "x" = %y)
)"));
  for (int run = 0; run < 4; ++run) {
    const at::Tensor x = at::randn({4}), before = x.clone(), k = at::randn({4});
    expect_same(session.run({x, k}), {at::sin(before * k), before});
    expect_same({x}, {before * k});
  }
}

// Its schema does not admit that it writes the running statistics.
TEST(State, BatchNormInTrainingKeepsItsStatisticsInTheSession) {
  const char* text = R"(
graph(%x: f32[4, 3], %m: f32[3] = buffer "m", %v: f32[3] = buffer "v"):
  %y: f32[4, 3] = aten::batch_norm(input=%x, weight=None, bias=None, running_mean=%m, running_var=%v, training=TRAINING, momentum=0.1, eps=1e-05, cudnn_enabled=False)
  return (%y)
)";
  const auto program_for = [&](const std::string& training, const Weights& weights) {
    std::string copy = text;
    return make_program(copy.replace(copy.find("TRAINING"), 8, training), weights);
  };
  const Weights weights = {{"m", at::zeros({3})}, {"v", at::ones({3})}};
  Session session(program_for("True", weights));
  at::Tensor m = at::zeros({3}), v = at::ones({3});
  for (int run = 0; run < 5; ++run) {
    const at::Tensor x = at::randn({4, 3});
    expect_same(session.run({x}), {at::batch_norm(x, {}, {}, m, v, true, 0.1, 1e-5, false)});
    expect_same({session.state_dict().at("m"), session.state_dict().at("v")}, {m, v});
  }
  expect_same({weights.at("m")}, {at::zeros({3})}, "the program's own weight");
  EXPECT_TRUE(Session(program_for("False", weights)).state_dict().empty()) << "inference changes nothing";
}

TEST(State, SurvivesAFailedRun) {
  Session session(make_program(kCounter, {{"n", at::zeros({4})}}));
  for (int run = 0; run < 4; ++run) {
    EXPECT_THROW(session.run({at::ones({5})}), Error);
    expect_same({session.run({at::ones({4})})[1]}, {at::full({4}, 1.0 + run)});
  }
}

TEST(State, ProgramsWithStateUseOneFrame) {
  Session session(make_program(kCounter, {{"n", at::zeros({4})}}), {.max_frames = 8});
  for (int run = 0; run < 3; ++run) session.run({at::ones({4})});
  EXPECT_EQ(session.stats().frames, 1);
  EXPECT_EQ(explain_value(session, "n").where, "state");
}

TEST(State, ABufferThatTheFileLacksIsNamed) {
  const Error error = error_of([] { Session session(make_program(kCounter)); });
  EXPECT_EQ(error.code(), ErrorCode::kBadFile);
  EXPECT_NE(std::string(error.what()).find("n"), std::string::npos);
}

}  // namespace
}  // namespace tenure
