#include "tenure/session/device_memory.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/DeviceGuard.h>
#include <c10/util/Exception.h>

#include "tenure/session/allocator.h"

namespace tenure {

DeviceMemory::DeviceMemory(c10::Device device, size_t bytes) {
  const MemoryScopeGuard past_any_run(nullptr);
  const c10::DeviceGuard guard(device);
  try {
    memory_ = c10::GetAllocator(device.type())->allocate(bytes);
  } catch (const c10::OutOfMemoryError&) {  // the operator that wanted it asks PyTorch itself, and tells the user
  }
}

void DeviceMemory::give_back(std::span<const c10::Stream> used_on) {
  if (memory_.get() == nullptr) return;
  const MemoryScopeGuard past_any_run(nullptr);
  for (const c10::Stream& stream : used_on) c10::getDeviceAllocator(memory_.device().type())->recordStream(memory_, stream);
  memory_.clear();
}

}  // namespace tenure
