#include "tenure/session/frame.h"

#include <utility>

#include "tenure/session/poison.h"
#include "tenure/session/region.h"

namespace tenure {

bool Arena::grow(size_t bytes) {
  void* chunk = arena_region().allocate(bytes);
  if (chunk == nullptr) return false;
  give_back();
  base_ = static_cast<char*>(chunk);
  bytes_ = bytes;
  ledger_->arena_bytes += static_cast<int64_t>(bytes_);
  if (ledger_->poison) fill_poison(base_, bytes_);
  return true;
}

size_t Arena::give_back() {
  arena_region().deallocate(base_, bytes_);
  ledger_->arena_bytes -= static_cast<int64_t>(bytes_);
  base_ = nullptr;
  return std::exchange(bytes_, 0);
}

void Arena::leave_behind() {
  ledger_->arena_bytes -= static_cast<int64_t>(bytes_);
  ledger_->abandoned_bytes += static_cast<int64_t>(bytes_);
  base_ = nullptr;
  bytes_ = 0;
}

CellPool& Cells::pool(int node, int ordinal, CellUse use) {
  auto& of_node = pools_[static_cast<size_t>(node)];
  if (of_node.size() <= static_cast<size_t>(ordinal)) of_node.resize(static_cast<size_t>(ordinal) + 1);
  PoolsOfRequest& pools = of_node[static_cast<size_t>(ordinal)];
  auto& pool = use == CellUse::kSlot ? pools.slot : pools.own;
  if (pool == nullptr) pool = std::make_unique<CellPool>(use, ledger_);
  return *pool;
}

size_t Frame::trim() {
  prepared.clear();  // their tensors lie in the arena
  size_t bytes = arena.give_back();
  cells.for_each([&](CellPool& pool, int) { bytes += pool.trim(); });
  return bytes;
}

}  // namespace tenure
