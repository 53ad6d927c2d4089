#include <ATen/Context.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAMacros.h>
#include <c10/cuda/CUDAStream.h>

#include <bitset>

#include "tenure/base/error.h"
#include "tenure/engine/tensorrt/device.h"

namespace tenure::tensorrt {

c10::DeviceType device_type() { return c10::kCUDA; }

c10::Device current_device() {
  check(c10::cuda::device_count() > 0, ErrorCode::kUnsupported,
        "TensorRT engines run on a GPU, and PyTorch finds no CUDA device here");
  at::globalContext().lazyInitDevice(c10::kCUDA);  // PyTorch's allocator has no memory before
  const c10::Device device(c10::kCUDA, c10::cuda::current_device());
  enter_context(device);
  return device;
}

void enter_context(c10::Device device) noexcept {
  thread_local std::bitset<C10_COMPILE_TIME_MAX_GPUS> entered;
  const size_t index = static_cast<size_t>(device.index());
  if (entered[index]) [[likely]]
    return;
  cudaSetDevice(device.index());  // since CUDA 12 this makes the context, and makes it the thread's
  entered[index] = true;
}

cudaStream_t current_stream(c10::Device device) { return c10::cuda::getCurrentCUDAStream(device.index()).stream(); }

c10::DataPtr allocate(c10::Device device, size_t bytes) { return c10::GetAllocator(device.type())->allocate(bytes); }

void copy(void* to, const void* from, size_t bytes, cudaStream_t stream) {
  const cudaError_t status = cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream);
  check(status == cudaSuccess, ErrorCode::kEngine, "a copy of ", bytes, " bytes failed: ", cudaGetErrorString(status));
}

void synchronize(c10::Device device) noexcept {
  int before = 0;
  cudaGetDevice(&before);
  cudaSetDevice(device.index());
  cudaDeviceSynchronize();
  cudaSetDevice(before);
}

std::string describe(c10::Device device) {
  cudaDeviceProp properties;
  if (cudaGetDeviceProperties(&properties, device.index()) != cudaSuccess) return device.str();
  return concat(properties.name, ", compute capability ", properties.major, ".", properties.minor);
}

}  // namespace tenure::tensorrt
