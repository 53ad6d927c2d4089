// In place of cuda.cc in a build without CUDA (-DTENURE_CUDA=OFF, or a PyTorch for the CPU).
#include "tenure/base/error.h"
#include "tenure/session/cuda/cuda.h"

namespace tenure::cuda {

void install_allocator() {
  throw Error(
      ErrorCode::kUnsupported,
      "the program runs on CUDA, and this build of Tenure runs on the CPU; build it against a PyTorch with CUDA, or load the "
      "program with device=\"cpu\"");
}

bool is_capturing(c10::Stream) { return false; }

void push_range(const char*) {}
void pop_range() {}

}  // namespace tenure::cuda
