// tenure/session/allocator.h: the pass-through allocators that let a run see and serve what operators allocate.
//
// Installed once, they forward to the allocators that were there before. While a thread has a MemoryScope, the requests that
// operators make on that thread go through it first. On the CPU operators take tensors through allocate() and scratch through
// raw_allocate() / raw_deallocate(), which want one deleter for all: it tells arenas and cells from other memory by address. The
// CUDA one is in cuda/.
#pragma once

#include <c10/core/Allocator.h>

#include <cstddef>
#include <cstdint>

#include "tenure/session/space.h"

namespace tenure {

class Cell;

/// Where a request is served: in a cell, or at an address that is the frame's or the state's.
struct Served {
  void* data = nullptr;
  Cell* cell = nullptr;
  explicit operator bool() const { return data != nullptr; }
};

/// What watches or serves the allocations of one thread. Methods are called on that thread only and must not allocate tensors.
class MemoryScope {
 public:
  MemoryScope() = default;
  virtual ~MemoryScope() = default;
  MemoryScope(const MemoryScope&) = delete;
  MemoryScope& operator=(const MemoryScope&) = delete;

  /// Memory for a request of `bytes` > 0, or nothing to have the ordinary allocator serve it.
  virtual Served serve(Space space, size_t bytes) = 0;
  /// The ordinary allocator served a request.
  virtual void allocated(Space space, void* p, size_t bytes) = 0;
  /// The ordinary allocator served one that no scope could have served: device scratch that is freed by its address alone.
  virtual void allocated_raw(size_t bytes) = 0;
  /// Memory was freed on this thread: any of the host's; of the device's what serve() gave, and all if watches_frees().
  virtual void freed(void* p) = 0;
  virtual bool watches_frees() const { return false; }
  /// An operator uses that memory of the device, which lies in no cell, on another stream than the run's.
  virtual void used_on_other_stream(void* p) {}
};

/// Counts what the ordinary allocator serves; itself it serves nothing.
class CountingScope : public MemoryScope {
 public:
  int64_t ordinary_requests() const { return requests_; }
  int64_t ordinary_bytes() const { return bytes_; }

  Served serve(Space, size_t) override { return {}; }
  void allocated(Space, void*, size_t bytes) override { allocated_raw(bytes); }
  void allocated_raw(size_t bytes) override {
    ++requests_;
    bytes_ += static_cast<int64_t>(bytes);
  }
  void freed(void*) override {}

 private:
  int64_t requests_ = 0;
  int64_t bytes_ = 0;
};

/// Makes `scope` the calling thread's for the guard's life. Guards nest; null lets requests pass.
class MemoryScopeGuard {
 public:
  explicit MemoryScopeGuard(MemoryScope* scope);
  ~MemoryScopeGuard();
  MemoryScopeGuard(const MemoryScopeGuard&) = delete;
  MemoryScopeGuard& operator=(const MemoryScopeGuard&) = delete;

 private:
  MemoryScope* previous_;
};

/// The calling thread's; null if it has none.
MemoryScope* current_memory_scope();

/// Installs the allocator in front of PyTorch's CPU allocator; later calls do nothing. Thread-safe among themselves; the first call
/// must not race with a change of PyTorch's allocator by others. Memory allocated before stays valid.
void install_allocator();

/// The deleter of every pointer that the allocator, an arena or a cell handed out: arena memory is left alone, a cell is marked
/// free, other memory goes back to the allocator that it came from.
void tenure_delete(void* p);

/// What an operator gets for served memory of a device: its deleter tells the scope, and the cell if there is one. For the device's
/// memory the context says which it is, since nobody may look at what lies before it.
c10::DataPtr as_device_pointer(Served served, c10::Device device);
/// The cell in which that memory of a device lies, or null.
Cell* cell_of(const c10::DataPtr& memory);

}  // namespace tenure
