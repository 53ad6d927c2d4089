// tenure/session/cuda/cuda.h: what only a build with CUDA can do. absent.cc stands in its place in a build without.
#pragma once

#include <c10/core/Stream.h>

namespace tenure::cuda {

/// Puts a pass-through allocator in front of PyTorch's CUDA allocator, as install_allocator() does on the CPU, after PyTorch has
/// begun to use CUDA. Thread-safe; later calls do nothing. Throws Error(kUnsupported) that says what is missing: a build with CUDA,
/// a device, a driver.
void install_allocator();

/// Whether a CUDA graph is being captured from that stream.
bool is_capturing(c10::Stream stream);

/// A range of the calling thread in NVIDIA's profilers (NVTX); nothing without one. Ranges nest.
void push_range(const char* name);
void pop_range();

}  // namespace tenure::cuda
