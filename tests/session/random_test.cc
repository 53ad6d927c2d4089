// Random programs: whatever the graph, a session that plans gives the answers of one that does not, in each run, and what is held
// does not change.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <random>

#include "tests/session/support.h"

namespace tenure {
namespace {

using namespace tenure::testing;

/// Writes a random graph over values of 4 x 4 floats (and their rows, scalars and flat views on the way).
class GraphWriter {
 public:
  explicit GraphWriter(unsigned seed) : random_(seed) {}

  std::string write() {
    const int steps = 4 + below(14);
    for (int step = 0; step < steps; ++step) add_step();
    std::string outputs;
    const int count = 1 + below(4);
    for (int i = 0; i < count; ++i) outputs += (i == 0 ? "" : ", ") + any();
    if (below(3) == 0) outputs += ", buffer \"n\" = " + any();
    return "graph(%x: f32[4, 4], %y: f32[4, 4], %w: f32[4, 4] = parameter \"w\", %n: f32[4, 4] = buffer \"n\"):\n" + body_ +
           "  return (" + outputs + ")\n";
  }

 private:
  int below(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }
  std::string any() { return values_[static_cast<size_t>(below(static_cast<int>(values_.size())))]; }

  std::string make(const std::string& call, const std::string& type = "f32[4, 4]") {
    const std::string name = "%v" + std::to_string(count_++);
    body_ += "  " + name + ": " + type + " = " + call + "\n";
    return name;
  }

  void keep(const std::string& value) { values_.push_back(value); }

  void add_step() {
    switch (below(15)) {
      case 0: return keep(make("aten::add.Tensor(self=" + any() + ", other=" + any() + ")"));
      case 1: return keep(make("aten::sub.Tensor(self=" + any() + ", other=" + any() + ")"));
      case 2: return keep(make("aten::relu(self=" + any() + ")"));
      case 3: return keep(make("aten::sin(self=" + any() + ")"));
      case 4: return keep(make("aten::transpose.int(self=" + any() + ", dim0=0, dim1=1)"));
      case 5: return keep(make("aten::contiguous(self=" + any() + ")"));
      case 6: return keep(make("aten::clone(self=" + any() + ")"));
      case 7: return keep(make("aten::dropout(input=" + any() + ", p=0.5, train=False)"));
      case 8: return keep(make("aten::matmul(self=" + any() + ", other=" + any() + ")"));
      case 9: return reshape_there_and_back();
      case 10: return cut_and_join();
      case 11: return keep(make("aten::tanh_(self=" + any() + ")"));
      case 12: return keep(make("aten::add_.Scalar(self=" + any() + ", other=0.25)"));
      case 13: return row_in_place();
      default: return select_by_content();
    }
  }

  void reshape_there_and_back() {
    const std::string flat = make("aten::reshape(self=" + any() + ", shape=[2, 8])", "f32[2, 8]");
    const std::string middle = below(2) == 0 ? make("aten::cos(self=" + flat + ")", "f32[2, 8]") : flat;
    keep(make("aten::reshape(self=" + middle + ", shape=[4, 4])"));
  }

  void cut_and_join() {
    const std::string a = "%v" + std::to_string(count_++), b = "%v" + std::to_string(count_++);
    body_ += "  [" + a + ": f32[2, 4], " + b + ": f32[2, 4]] = aten::split.Tensor(self=" + any() + ", split_size=2)\n";
    keep(make("aten::cat(tensors=[" + b + ", " + a + "])"));
  }

  void row_in_place() {
    const std::string row = make("aten::select.int(self=" + any() + ", dim=0, index=1)", "f32[4]");
    make("aten::mul_.Scalar(self=" + row + ", other=0.5)", "f32[4]");
  }

  void select_by_content() {
    const std::string of = any();
    const std::string mask = make("aten::gt.Scalar(self=" + of + ", other=0)", "b8[4, 4]");
    const std::string chosen =
        make("aten::masked_select(self=" + of + ", mask=" + mask + ")", "f32[u" + std::to_string(count_) + "]");
    const std::string sum = make("aten::sum(self=" + chosen + ")", "f32[]");
    keep(make("aten::add.Tensor(self=" + of + ", other=" + sum + ")"));
  }

  std::mt19937 random_;
  std::string body_;
  std::vector<std::string> values_ = {"%x", "%y", "%w", "%n"};
  int count_ = 0;
};

TEST(RandomProgram, PlanningChangesNoAnswerAndNoHeldResult) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    const std::string text = GraphWriter(seed).write();
    SCOPED_TRACE("seed " + std::to_string(seed) + "\n" + text);
    at::manual_seed(seed);
    const auto program = make_program(text, {{"w", at::randn({4, 4})}, {"n", at::randn({4, 4})}});
    Session planned(program), plain(program, {.pre_allocated_outputs = false});
    std::vector<std::pair<Tensors, Tensors>> held;
    for (int run = 0; run < 5; ++run) {
      const Tensors inputs = {at::randn({4, 4}), at::randn({4, 4})};
      const Tensors given = copies(inputs), other = copies(inputs);
      const Tensors wanted = plain.run(other), got = planned.run(given);
      expect_same(got, wanted, "run " + std::to_string(run));
      expect_same(given, other, "inputs of run " + std::to_string(run));
      if (HasFailure()) return;
      held.emplace_back(got, copies(wanted));
      // In-place operators on inputs may change what shares their memory, but nothing changes after the run.
      for (const auto& [result, snapshot] : held) expect_same(result, snapshot, "held");
      if (HasFailure()) return;
    }
    ASSERT_EQ(planned.stats().replays, 4);
    ASSERT_EQ(planned.stats().deviations, 0);
  }
}

}  // namespace
}  // namespace tenure
