// tests/session/cuda_support.h: what the tests on a CUDA device share. They skip where there is none.
#pragma once

#include <ATen/ATen.h>
#include <ATen/cuda/Sleep.h>
#include <c10/core/Event.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <gtest/gtest.h>

#include "tenure/graph/text.h"
#include "tests/session/support.h"

namespace tenure::testing {

using c10::cuda::CUDAStream;
using c10::cuda::CUDAStreamGuard;

inline constexpr int64_t kALittleWhile = 20'000'000;  // GPU clock cycles, some 10 ms

inline const c10::Device kDevice(c10::kCUDA, 0);

inline std::shared_ptr<const Program> on_device(std::string_view text, Weights weights = {}) {
  ProgramFile file;
  file.graph = parse_graph(text);
  file.weights = std::move(weights);
  return Program::make(std::move(file), "test", kDevice);
}

inline CUDAStream new_stream() { return c10::cuda::getStreamFromPool(/*isHighPriority=*/false, 0); }

/// From now on `stream` runs after what is on `other` now.
inline void wait_for(CUDAStream stream, CUDAStream other) {
  c10::Event event(c10::DeviceType::CUDA);
  event.record(other.unwrap());
  event.block(stream.unwrap());
}

inline at::Tensor filled(double value, at::IntArrayRef sizes) {
  return at::full(sizes, value, at::TensorOptions().device(kDevice));
}

inline bool all_equal(const at::Tensor& tensor, double value) { return at::eq(tensor, value).all().item<bool>(); }

class Cuda : public ::testing::Test {
 protected:
  void SetUp() override {
    if (c10::cuda::device_count() == 0) GTEST_SKIP() << "there is no CUDA device here";
    at::globalContext().lazyInitDevice(c10::DeviceType::CUDA);
    at::NoGradGuard no_grad;
  }
  void TearDown() override {
    if (c10::cuda::device_count() > 0) c10::cuda::device_synchronize();
  }
  const at::NoGradGuard no_grad_;
};

// 2x + 1, through standing values large enough to take a while.
inline constexpr const char* kLine = R"(
graph(%x: f32[s0, 1024]):
  where 1 <= s0 <= 8192
  %a: f32[s0, 1024] = aten::add.Tensor(self=%x, other=%x)
  %b: f32[s0, 1024] = aten::neg(self=%a)
  %c: f32[s0, 1024] = aten::abs(self=%b)
  %d: f32[s0, 1024] = aten::add.Scalar(self=%c, other=1)
  return (%d)
)";

/// From now on `side` sleeps a little while and then copies `result`, which is dropped before it has: on `side`, without
/// record_stream, unless `recorded`. Returns the copy.
inline at::Tensor read_late_and_drop(at::Tensor& result, CUDAStream side, bool recorded = false) {
  at::Tensor seen;
  wait_for(side, c10::cuda::getCurrentCUDAStream());
  {
    const CUDAStreamGuard guard(side);
    at::cuda::sleep(kALittleWhile);
    seen = result + 0;
    if (!recorded) result = at::Tensor();
  }
  if (recorded) {
    result.record_stream(side.unwrap());
    result = at::Tensor();
  }
  return seen;
}

}  // namespace tenure::testing
