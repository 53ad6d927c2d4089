// What a step of a steady run costs beside the work itself: 64 operators on a tensor of 64 numbers, as they are written by hand.
#include <ATen/ATen.h>
#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <vector>

#include "tenure/graph/text.h"
#include "tenure/session/session.h"

namespace tenure {
namespace {

constexpr int kPairs = 32;  // of sin and add

// With operators that write into tensors made before.
void by_hand(benchmark::State& state) {
  const at::InferenceMode inference;
  const at::Tensor x = at::randn({8, 8}), half = at::scalar_tensor(0.5);
  std::vector<at::Tensor> results;
  for (int i = 0; i < 2 * kPairs; ++i) results.push_back(at::empty_like(x));
  for (auto _ : state) {
    for (size_t i = 0; i < results.size(); i += 2) {
      at::sin_out(results[i], i == 0 ? x : results[i - 1]);
      at::add_out(results[i + 1], results[i], half);
    }
  }
}

// As the model is written: each result a new tensor.
void functional(benchmark::State& state) {
  const at::InferenceMode inference;
  const at::Tensor x = at::randn({8, 8});
  for (auto _ : state) {
    at::Tensor y = x;
    for (int i = 0; i < kPairs; ++i) y = at::sin(y) + 0.5;
    benchmark::DoNotOptimize(y);
  }
}

void tenure_session(benchmark::State& state) {
  std::string text = "graph(%x0: f32[8, 8]):\n";
  for (int i = 0; i < kPairs; ++i) {
    const std::string n = std::to_string(i), next = std::to_string(i + 1);
    text += "  %s" + n + ": f32[8, 8] = aten::sin(self=%x" + n + ")\n";
    text += "  %x" + next + ": f32[8, 8] = aten::add.Tensor(self=%s" + n + ", other=0.5)\n";
  }
  ProgramFile file;
  file.graph = parse_graph(text + "  return (%x" + std::to_string(kPairs) + ")\n");
  Session session(Program::make(std::move(file), "chain"));
  const std::vector<at::Tensor> inputs{at::randn({8, 8})};
  for (int i = 0; i < 3; ++i) session.run(inputs);
  for (auto _ : state) benchmark::DoNotOptimize(session.run(inputs));
}

BENCHMARK(by_hand)->Unit(benchmark::kMicrosecond);
BENCHMARK(functional)->Unit(benchmark::kMicrosecond);
BENCHMARK(tenure_session)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace tenure
