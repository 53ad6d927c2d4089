// tenure/session/device_memory.h: memory of an accelerator, from PyTorch's own allocator, so that its cache, its statistics and
// what it does when memory runs out include ours.
#pragma once

#include <c10/core/Allocator.h>
#include <c10/core/Stream.h>

#include <cstddef>
#include <span>

namespace tenure {

/// Owns one piece of device memory.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  /// At least `bytes` > 0, aligned as PyTorch's tensors are; empty if the device has no more.
  DeviceMemory(c10::Device device, size_t bytes);

  void* data() const { return memory_.get(); }
  /// Gives the memory back; PyTorch reuses it only after the work that is enqueued on `used_on` now. Thread-safe against others.
  void give_back(std::span<const c10::Stream> used_on);
  /// Forgets the memory without giving it back.
  void leave_behind() { memory_.release_context(); }

 private:
  c10::DataPtr memory_;
};

}  // namespace tenure
