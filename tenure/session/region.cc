#include "tenure/session/region.h"

#include <sys/mman.h>
#include <unistd.h>

#include <iterator>

namespace tenure {
namespace {

constexpr size_t kReserved = size_t{256} << 30;  // addresses only; far more than any machine's activations

size_t round_to_pages(size_t bytes) {
  static const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return bytes == 0 ? page : (bytes + page - 1) / page * page;  // even an empty chunk has an address of its own
}

}  // namespace

Region::Region(size_t bytes) {
  void* base = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return;
  base_ = reinterpret_cast<uintptr_t>(base);
  size_ = bytes;
  free_.emplace(base_, bytes);
}

void* Region::allocate(size_t bytes) {
  bytes = round_to_pages(bytes);
  std::lock_guard lock(mutex_);
  for (auto it = free_.begin(); it != free_.end(); ++it) {
    if (it->second < bytes) continue;
    const auto [address, available] = *it;
    void* chunk = reinterpret_cast<void*>(address);
    if (mprotect(chunk, bytes, PROT_READ | PROT_WRITE) != 0) return nullptr;
    free_.erase(it);
    if (available > bytes) free_.emplace(address + bytes, available - bytes);
    used_ += bytes;
    return chunk;
  }
  return nullptr;
}

void Region::deallocate(void* chunk, size_t bytes) {
  if (chunk == nullptr) return;
  bytes = round_to_pages(bytes);
  // Mapping fresh inaccessible pages over the chunk gives its memory back and lets a stale pointer fault.
  mmap(chunk, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  std::lock_guard lock(mutex_);
  used_ -= bytes;
  auto it = free_.emplace(reinterpret_cast<uintptr_t>(chunk), bytes).first;
  if (auto next = std::next(it); next != free_.end() && it->first + it->second == next->first) {
    it->second += next->second;
    free_.erase(next);
  }
  if (it != free_.begin()) {
    if (auto previous = std::prev(it); previous->first + previous->second == it->first) {
      previous->second += it->second;
      free_.erase(it);
    }
  }
}

size_t Region::used() const {
  std::lock_guard lock(mutex_);
  return used_;
}

// Leaked on purpose: tensors may be freed during the process's exit.
Region& arena_region() {
  static Region* region = new Region(kReserved);
  return *region;
}

Region& cell_region() {
  static Region* region = new Region(kReserved);
  return *region;
}

}  // namespace tenure
