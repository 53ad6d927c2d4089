#include "tests/session/operators.h"

#include <ATen/ATen.h>
#include <c10/core/CPUAllocator.h>
#include <torch/library.h>

#include <chrono>
#include <cstring>
#include <stdexcept>
#include <thread>
#include <tuple>
#include <vector>

namespace tenure::testing {

std::atomic<bool> keep_output, other_way, fail_now;
std::atomic<int> notes, most_at_once;
std::function<void()> on_call_back;

namespace {

at::Tensor& kept() {
  static auto* tensor = new at::Tensor;
  return *tensor;
}

std::atomic<int> under_way;

void reset() {
  keep_output = other_way = fail_now = false;
  notes = most_at_once = 0;
  kept() = at::Tensor();
  on_call_back = nullptr;
}

// x + 1, which somebody else may hold afterwards.
at::Tensor keep(const at::Tensor& x) {
  at::Tensor y = x + 1;
  kept() = keep_output ? y : at::Tensor();
  return y;
}

// x + 1; somebody else may hold x itself afterwards.
at::Tensor hold(const at::Tensor& x) {
  kept() = keep_output ? x : at::Tensor();
  return x + 1;
}

// What keep() or hold() kept, or zeros.
at::Tensor recall(const at::Tensor& x) { return kept().defined() ? kept().clone() : at::zeros_like(x); }

// 2 x; the other way takes scratch of another size first.
at::Tensor erratic(const at::Tensor& x) {
  at::Tensor scratch;
  if (other_way) scratch = at::full({1000}, 7.0);
  return x * 2;
}

// 2 x; the other way takes no scratch before its output, which is of the same size.
at::Tensor scratch(const at::Tensor& x) {
  if (!other_way) at::empty_like(x);
  return at::add(x, x);
}

// (x + 1, x + 2); the other way makes the second one first.
std::tuple<at::Tensor, at::Tensor> pair(const at::Tensor& x) {
  if (!other_way) {
    at::Tensor first = x + 1;
    return {first, x + 2};
  }
  at::Tensor second = x + 2;
  return {x + 1, second};
}

// 3 x, by way of three pieces of scratch: two are made, one of them is freed, and the third must not lie where the other still is.
at::Tensor frees(const at::Tensor& x) {
  at::Tensor two = x * 2, one = x * 1;
  at::Tensor& freed = other_way ? two : one;
  at::Tensor& left = other_way ? one : two;
  freed = at::Tensor();
  at::Tensor third = at::full_like(x, 7.0);
  return other_way ? left * 3 : left * 1.5;
}

// Its input, though the schema says a new tensor; the other way a new tensor.
at::Tensor lie(const at::Tensor& x) { return other_way ? x.clone() : x; }

// x + 3, by way of scratch that another thread makes.
at::Tensor threaded(const at::Tensor& x) {
  at::Tensor scratch;
  std::thread([&] { scratch = at::full(x.sizes(), 3.0); }).join();
  return x + scratch;
}

// x + 4, made in another thread.
at::Tensor made_elsewhere(const at::Tensor& x) {
  at::Tensor result;
  std::thread([&] { result = x + 4; }).join();
  return result;
}

// x + 5, by way of raw scratch.
at::Tensor raw(const at::Tensor& x) {
  c10::Allocator* allocator = c10::GetCPUAllocator();
  void* p = allocator->raw_allocate(x.nbytes());
  const at::Tensor dense = x.contiguous();
  std::memcpy(p, dense.const_data_ptr(), x.nbytes());
  at::Tensor result = at::from_blob(p, x.sizes(), x.options()) + 5;
  allocator->raw_deallocate(p);
  return result;
}

// 2 x; the other way also writes a number behind its result, before it, or into its operand.
at::Tensor overrun(const at::Tensor& x) {
  at::Tensor y = x * 2;
  if (other_way) y.data_ptr<float>()[y.numel()] = 3;
  return y;
}

at::Tensor underrun(const at::Tensor& x) {
  at::Tensor y = x * 2;
  if (other_way) y.data_ptr<float>()[-1] = 3;
  return y;
}

at::Tensor scribble(const at::Tensor& x) {
  at::Tensor y = x * 2;
  if (other_way) x.data_ptr<float>()[0] = 3;
  return y;
}

at::Tensor fail(const at::Tensor& x) {
  at::Tensor scratch = x + 6;
  if (fail_now) throw std::runtime_error("asked to fail");
  return scratch.clone();
}

// The positive elements.
at::Tensor pick(const at::Tensor& x) { return at::masked_select(x, x > 0); }

void note(int64_t) { ++notes; }

// x + 1, after whatever the test does meanwhile.
at::Tensor call_back(const at::Tensor& x) {
  if (on_call_back) on_call_back();
  return x + 1;
}

// x + 8, or nothing.
std::optional<at::Tensor> maybe(const at::Tensor& x) {
  if (!other_way) return std::nullopt;
  return x + 8;
}

// As many tensors as the file says, or one less.
std::vector<at::Tensor> pieces(const at::Tensor& x) {
  std::vector<at::Tensor> result = {x + 1, x + 2};
  if (other_way) result.pop_back();
  return result;
}

at::Tensor slow(const at::Tensor& x) {
  const int now = ++under_way;
  int seen = most_at_once;
  while (seen < now && !most_at_once.compare_exchange_weak(seen, now)) {
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  --under_way;
  return x * 2;
}

}  // namespace

OperatorSwitches::OperatorSwitches() { reset(); }
OperatorSwitches::~OperatorSwitches() { reset(); }

// As if they were PyTorch's own, whose memory a plan puts into the arena: the way to make a replay deviate.
TORCH_LIBRARY_FRAGMENT(aten, library) {
  library.def("_tenure_test_keep(Tensor x) -> Tensor", &keep);
  library.def("_tenure_test_erratic(Tensor x) -> Tensor", &erratic);
  library.def("_tenure_test_overrun(Tensor x) -> Tensor", &overrun);
  library.def("_tenure_test_underrun(Tensor x) -> Tensor", &underrun);
}

TORCH_LIBRARY(tenure_test, library) {
  library.def("keep(Tensor x) -> Tensor", &keep);
  library.def("hold(Tensor x) -> Tensor", &hold);
  library.def("scribble(Tensor x) -> Tensor", &scribble);
  library.def("recall(Tensor x) -> Tensor", &recall);
  library.def("erratic(Tensor x) -> Tensor", &erratic);
  library.def("scratch(Tensor x) -> Tensor", &scratch);
  library.def("pair(Tensor x) -> (Tensor, Tensor)", &pair);
  library.def("frees(Tensor x) -> Tensor", &frees);
  library.def("lie(Tensor x) -> Tensor", &lie);
  library.def("threaded(Tensor x) -> Tensor", &threaded);
  library.def("made_elsewhere(Tensor x) -> Tensor", &made_elsewhere);
  library.def("raw(Tensor x) -> Tensor", &raw);
  library.def("fail(Tensor x) -> Tensor", &fail);
  library.def("pick(Tensor x) -> Tensor", &pick);
  library.def("call_back(Tensor x) -> Tensor", &call_back);
  library.def("note(int n) -> ()", &note);
  library.def("maybe(Tensor x) -> Tensor?", &maybe);
  library.def("pieces(Tensor x) -> Tensor[]", &pieces);
  library.def("slow(Tensor x) -> Tensor", &slow);
}

}  // namespace tenure::testing
