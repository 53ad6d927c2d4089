// tenure/session/region.h: a reserved range of addresses, so that "is this pointer ours?" is two comparisons.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>

namespace tenure {

/// Hands out page-aligned chunks of one reserved address range. Only chunks in use take memory. Thread-safe.
class Region {
 public:
  /// Reserves `bytes` of addresses; if the system refuses, the region is empty and allocate() always gives null.
  explicit Region(size_t bytes);
  ~Region() = default;  // the process-wide regions outlive every tensor; the range is never unmapped
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  bool contains(const void* p) const { return reinterpret_cast<uintptr_t>(p) - base_ < size_; }

  /// A zeroed, page-aligned chunk of at least `bytes`, or null if the range or the memory is exhausted.
  void* allocate(size_t bytes);
  /// Gives a chunk of allocate(bytes) back to the system.
  void deallocate(void* chunk, size_t bytes);

  /// Bytes of all chunks in use.
  size_t used() const;

 private:
  mutable std::mutex mutex_;
  uintptr_t base_ = 0;
  size_t size_ = 0;
  size_t used_ = 0;
  std::map<uintptr_t, size_t> free_;  // by address; neighbours are merged
};

/// Where frames keep arenas: memory that is freed by nobody but the frame.
Region& arena_region();
/// Where cells lie (see cell.h): each chunk begins with a pointer to its Cell.
Region& cell_region();

}  // namespace tenure
