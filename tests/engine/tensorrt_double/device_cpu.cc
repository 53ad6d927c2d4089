// In place of device_cuda.cc: the double computes on the CPU.
#include <cstdlib>
#include <cstring>

#include "tenure/engine/tensorrt/device.h"

namespace tenure::tensorrt {

c10::DeviceType device_type() { return c10::kCPU; }

c10::Device current_device() { return c10::kCPU; }

void enter_context(c10::Device) noexcept {}

cudaStream_t current_stream(c10::Device) { return nullptr; }

c10::DataPtr allocate(c10::Device device, size_t bytes) {
  void* const p = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  return {p, p, &std::free, device};
}

void copy(void* to, const void* from, size_t bytes, cudaStream_t) { std::memcpy(to, from, bytes); }

void synchronize(c10::Device) noexcept {}

std::string describe(c10::Device) { return "the double, compute capability 9.0"; }

}  // namespace tenure::tensorrt
