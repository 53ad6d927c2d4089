// tenure/session/allocator.h: the pass-through CPU allocator that lets a run see and serve what operators allocate.
//
// Installed once, it forwards to the allocator that was there before. While a thread has a MemoryScope, the requests that operators
// make on that thread go through it first. Operators take tensors through allocate() and scratch through raw_allocate() /
// raw_deallocate(), which want one deleter for all: it tells arenas and cells from other memory by address.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tenure {

/// What watches or serves the allocations of one thread. Methods are called on that thread only and must not allocate tensors.
class MemoryScope {
 public:
  MemoryScope() = default;
  virtual ~MemoryScope() = default;
  MemoryScope(const MemoryScope&) = delete;
  MemoryScope& operator=(const MemoryScope&) = delete;

  /// Memory for a request of `bytes` > 0, or null to have the ordinary allocator serve it.
  virtual void* serve(size_t bytes) = 0;
  /// The ordinary allocator served a request.
  virtual void allocated(void* p, size_t bytes) = 0;
  /// Any memory was freed on this thread.
  virtual void freed(void* p) = 0;
};

/// Counts what the ordinary allocator serves; itself it serves nothing.
class CountingScope : public MemoryScope {
 public:
  int64_t ordinary_requests() const { return requests_; }
  int64_t ordinary_bytes() const { return bytes_; }

  void* serve(size_t) override { return nullptr; }
  void allocated(void*, size_t bytes) override {
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

/// Installs the allocator in front of PyTorch's CPU allocator; later calls do nothing. Thread-safe among themselves; the first call
/// must not race with a change of PyTorch's allocator by others. Memory allocated before stays valid.
void install_allocator();

/// The deleter of every pointer that the allocator, an arena or a cell handed out: arena memory is left alone, a cell is marked
/// free, other memory goes back to the allocator that it came from.
void tenure_delete(void* p);

}  // namespace tenure
