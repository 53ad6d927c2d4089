// tenure/engine/tensorrt/device.h: what an engine needs of the device; device_cuda.cc is the real one.
#pragma once

#include <c10/core/Allocator.h>
#include <c10/core/Device.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <string>

namespace tenure::tensorrt {

c10::DeviceType device_type();

/// The device that is current in the calling thread. Engines are loaded on it, and lie there.
c10::Device current_device();

/// What TensorRT takes for granted of a thread: that it has CUDA's context. A thread gets it with its first call of the runtime API
/// (of a kernel of PyTorch's, say); TensorRT-RTX calls the driver, and without a context it computes wrong numbers and tells
/// nobody. `device` is the thread's current one. Cheap after the first call.
void enter_context(c10::Device device) noexcept;

/// PyTorch's current stream of the calling thread on `device`.
cudaStream_t current_stream(c10::Device device);

/// Memory of `device` from PyTorch's allocator, so that in a run it is planned with everything else. Aligned as TensorRT wants it.
c10::DataPtr allocate(c10::Device device, size_t bytes);

/// Enqueues a copy within the device. Throws Error(kEngine).
void copy(void* to, const void* from, size_t bytes, cudaStream_t stream);

/// Returns when all work on `device` is done.
void synchronize(c10::Device device) noexcept;

/// "NVIDIA H100 80GB HBM3, compute capability 9.0".
std::string describe(c10::Device device);

}  // namespace tenure::tensorrt
