// What every engine must do about outputs whose sizes depend on data: make them, or refuse them when it loads.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <optional>

#include "tenure/engine/registry.h"
#include "tests/engine/conformance.h"
#include "tests/engine/parts.h"
#include "tests/error_of.h"

namespace tenure::testing {
namespace {

using ::testing::HasSubstr;

constexpr const char* kPart = "positives";  // nonzero(x > 0), x * 2

// Nothing if the backend has no such outputs; then it says so.
std::unique_ptr<Engine> load_or_hear_why(const ConformanceEngine& tested) {
  const EngineSpec spec = part_spec(tested.backend, kPart);
  try {
    return std::make_unique<Engine>(spec, find_backend(spec.backend).load(spec, part_blob(tested.backend, kPart)));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_THAT(error.what(), HasSubstr("output_0"));
    EXPECT_THAT(error.what(), HasSubstr("depend on data"));
    return nullptr;
  }
}

class Running {
 public:
  Running(const Engine& engine, c10::DeviceType device) : device_(device), context_(engine.make_context()) {}

  /// The places of the positive numbers of `x`, which is on the CPU; the other output is checked.
  at::Tensor positives(const at::Tensor& x) {
    const at::Tensor input = x.to(device_), doubled = at::empty_like(input);
    context_->bind_input(0, input);
    context_->bind_output(1, doubled);
    context_->enqueue();
    at::Tensor places = context_->take_output(0);
    EXPECT_TRUE(at::allclose(doubled.cpu(), x * 2));
    EXPECT_TRUE(places.is_contiguous());
    EXPECT_EQ(places.device().type(), device_);
    EXPECT_THROW(context_->take_output(0), Error) << "it was taken";
    return places;
  }

 private:
  c10::DeviceType device_;
  std::unique_ptr<EngineContext> context_;
};

at::Tensor numbers(int64_t rows, int64_t positive) {
  return at::where(at::arange(rows * 4).view({rows, 4}) < positive, at::ones({}), -at::ones({}));
}

TEST_P(EngineConformance, AnOutputWhoseSizesDependOnDataIsTakenAfterEachRun) {
  if (!has_part(GetParam().backend, kPart)) GTEST_SKIP() << "its compiler does not take nonzero";
  const auto engine = load_or_hear_why(GetParam());
  if (!engine) return;
  EXPECT_TRUE(engine->sizes_depend_on_data(0));
  EXPECT_FALSE(engine->sizes_depend_on_data(1));
  Running running(*engine, GetParam().device);
  std::vector<std::pair<at::Tensor, at::Tensor>> held;
  for (const int64_t positive : {3, 20, 0, 1, 20, 7}) {
    const at::Tensor x = numbers(5, positive);
    held.emplace_back(running.positives(x), at::nonzero(x > 0));
  }
  const at::Tensor larger = numbers(9, 30);
  held.emplace_back(running.positives(larger), at::nonzero(larger > 0));
  for (const auto& [got, want] : held) EXPECT_TRUE(at::equal(got.cpu(), want)) << "held over later runs\n" << got << "\n" << want;
}

TEST_P(EngineConformance, ATakenOutputOutlivesItsEngine) {
  if (!has_part(GetParam().backend, kPart)) GTEST_SKIP() << "its compiler does not take nonzero";
  at::Tensor places;
  if (const auto engine = load_or_hear_why(GetParam())) {
    places = Running(*engine, GetParam().device).positives(numbers(2, 5));
  } else {
    return;
  }
  EXPECT_TRUE(at::equal(places.cpu(), at::nonzero(numbers(2, 5) > 0)));
}

TEST_P(EngineConformance, SizesThatSpeakOfAnOutputWhichDoesNotDependOnDataAreAnError) {
  EngineSpec spec = part_spec(GetParam().backend, "two_outputs");
  spec.outputs[0].sizes[0] = Expr::parse("Symbol('o1_0')");
  const auto load = [&] {
    Engine(spec, find_backend("null").load(part_spec("null", "two_outputs"), part_blob("null", "two_outputs")));
  };
  EXPECT_THAT(error_of(load).what(), HasSubstr("o1_0"));
}

}  // namespace
}  // namespace tenure::testing
