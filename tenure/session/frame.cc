#include "tenure/session/frame.h"

#include <utility>

#include "tenure/session/poison.h"
#include "tenure/session/region.h"

namespace tenure {

bool Arena::grow(size_t bytes) {
  DeviceMemory memory = device_.is_cpu() ? DeviceMemory() : DeviceMemory(device_, bytes);
  void* const chunk = device_.is_cpu() ? arena_region().allocate(bytes) : memory.data();
  if (chunk == nullptr) return false;
  give_back();
  memory_ = std::move(memory);
  base_ = static_cast<char*>(chunk);
  bytes_ = bytes;
  ledger_->arena_bytes += static_cast<int64_t>(bytes_);
  if (ledger_->poison && device_.is_cpu()) fill_poison(base_, bytes_);
  return true;
}

size_t Arena::give_back() {
  if (device_.is_cpu()) {
    arena_region().deallocate(base_, bytes_);
  } else {
    // Each run came after the one before: who waits for the last waits for all.
    const std::optional<c10::Stream> last = order_.last();
    memory_.give_back(last ? std::span(&*last, 1) : std::span<const c10::Stream>());
  }
  ledger_->arena_bytes -= static_cast<int64_t>(bytes_);
  base_ = nullptr;
  return std::exchange(bytes_, 0);
}

void Arena::leave_behind() {
  ledger_->arena_bytes -= static_cast<int64_t>(bytes_);
  ledger_->abandoned_bytes += static_cast<int64_t>(bytes_);
  memory_.leave_behind();
  base_ = nullptr;
  bytes_ = 0;
}

CellPool& Cells::pool(int node, int ordinal, CellUse use, Space space) {
  auto& of_node = pools_[static_cast<size_t>(node)];
  if (of_node.size() <= static_cast<size_t>(ordinal)) of_node.resize(static_cast<size_t>(ordinal) + 1);
  PoolsOfRequest& pools = of_node[static_cast<size_t>(ordinal)][space];
  auto& pool = use == CellUse::kSlot ? pools.slot : pools.own;
  if (pool == nullptr) pool = std::make_unique<CellPool>(use, ledger_, space == Space::kHost ? c10::Device(c10::kCPU) : device_);
  return *pool;
}

size_t Frame::trim() {
  prepared.clear();  // their tensors lie in the arenas
  size_t bytes = arenas.give_back();
  cells.for_each([&](CellPool& pool, int) { bytes += pool.trim(); });
  return bytes;
}

}  // namespace tenure
