// A C++ program that is not linked against PyTorch's CUDA operators: loading a program for a CUDA device brings them. A process of
// its own, for PyTorch keeps what it once found of them. Skips where there is no device.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAFunctions.h>
#include <gtest/gtest.h>

#include "tenure/graph/text.h"
#include "tests/session/support.h"

namespace tenure {
namespace {

TEST(CudaLibrary, IsLoadedWithTheFirstProgramThatNeedsIt) {
  if (c10::cuda::device_count() == 0) GTEST_SKIP() << "there is no CUDA device here";
  ProgramFile file;
  file.graph = parse_graph(R"(
graph(%x: f32[4]):
  %sin: f32[4] = aten::sin(self=%x)
  return (%sin)
)");
  const c10::Device device(c10::kCUDA, 0);
  Session session(Program::make(std::move(file), "test", device));
  const at::Tensor x = at::ones({4}, device);
  EXPECT_TRUE(at::equal(session.run({x}).at(0), at::sin(x)));
}

}  // namespace
}  // namespace tenure
