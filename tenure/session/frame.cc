#include "tenure/session/frame.h"

#include "tenure/session/region.h"

namespace tenure {

Arena::~Arena() { arena_region().deallocate(base_, bytes_); }

bool Arena::grow(size_t bytes) {
  void* chunk = arena_region().allocate(bytes);
  if (chunk == nullptr) return false;
  arena_region().deallocate(base_, bytes_);
  base_ = static_cast<char*>(chunk);
  bytes_ = bytes;
  return true;
}

void Arena::leave_behind() {
  base_ = nullptr;
  bytes_ = 0;
}

CellPool& Cells::pool(int node, int ordinal) {
  auto& of_node = pools_[static_cast<size_t>(node)];
  while (of_node.size() <= static_cast<size_t>(ordinal)) of_node.push_back(std::make_unique<CellPool>());
  return *of_node[static_cast<size_t>(ordinal)];
}

}  // namespace tenure
