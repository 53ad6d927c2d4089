// How long a plan takes, and how close its arena comes to what is alive at once (waste 1.00 = no layout can be smaller).
#include <benchmark/benchmark.h>

#include <cmath>
#include <random>
#include <vector>

#include "tenure/plan/plan.h"

namespace tenure::plan {
namespace {

// Lives and sizes as in a deep network: most buffers live for a few steps, some (skip connections) for long; sizes over three
// decades.
std::vector<Buffer> network_like(int64_t count) {
  std::mt19937_64 random(count);
  std::uniform_real_distribution<double> log_size(10, 20), chance(0, 1);
  std::uniform_int_distribution<Time> short_life(1, 4), long_life(5, 60);
  std::vector<Buffer> buffers;
  for (Time begin = 0; begin < count; ++begin) {
    const Time life = chance(random) < 0.9 ? short_life(random) : long_life(random);
    buffers.push_back({.begin = begin, .end = begin + life, .size = static_cast<Bytes>(std::exp2(log_size(random)))});
  }
  return buffers;
}

void greedy(benchmark::State& state) {
  const std::vector<Buffer> buffers = network_like(state.range(0));
  Layout layout;
  for (auto _ : state) layout = greedy_by_size(buffers);
  state.counters["waste"] = static_cast<double>(layout.arena_size) / static_cast<double>(peak_live(buffers));
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(greedy)->Name("plan/greedy_by_size")->RangeMultiplier(4)->Range(16, 4096)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace tenure::plan
