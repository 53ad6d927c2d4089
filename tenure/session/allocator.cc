#include "tenure/session/allocator.h"

#include <c10/core/CPUAllocator.h>

#include <mutex>

#include "tenure/session/cell.h"
#include "tenure/session/region.h"

namespace tenure {
namespace {

thread_local MemoryScope* current_scope = nullptr;

// The allocator that was there before ours, and its deleter.
c10::Allocator* ordinary = nullptr;
c10::DeleterFnPtr ordinary_delete = nullptr;

class PassThroughAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    MemoryScope* scope = current_scope;
    if (scope != nullptr && bytes > 0) {
      if (const Served served = scope->serve(Space::kHost, bytes))
        return {served.data, served.data, &tenure_delete, c10::DeviceType::CPU};
    }
    void* p = ordinary->raw_allocate(bytes);
    if (scope != nullptr && bytes > 0) scope->allocated(Space::kHost, p, bytes);
    return {p, p, &tenure_delete, c10::DeviceType::CPU};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &tenure_delete; }

  void copy_data(void* destination, const void* source, size_t bytes) const override {
    default_copy_data(destination, source, bytes);
  }
};

void delete_in_place(void* p) {
  if (current_scope != nullptr) current_scope->freed(p);
}

void delete_cell(void* context) {
  Cell* const cell = static_cast<Cell*>(context);
  if (current_scope != nullptr) current_scope->freed(cell->data());
  cell->release();
}

}  // namespace

void tenure_delete(void* p) {
  if (current_scope != nullptr) current_scope->freed(p);
  if (arena_region().contains(p)) return;
  if (cell_region().contains(p)) {
    Cell::of(p)->release();
    return;
  }
  ordinary_delete(p);
}

c10::DataPtr as_device_pointer(Served served, c10::Device device) {
  if (served.cell != nullptr) return {served.data, served.cell, &delete_cell, device};
  return {served.data, served.data, &delete_in_place, device};
}

Cell* cell_of(const c10::DataPtr& memory) {
  return memory.get_deleter() == &delete_cell ? static_cast<Cell*>(memory.get_context()) : nullptr;
}

MemoryScope* current_memory_scope() { return current_scope; }

MemoryScopeGuard::MemoryScopeGuard(MemoryScope* scope) : previous_(current_scope) { current_scope = scope; }
MemoryScopeGuard::~MemoryScopeGuard() { current_scope = previous_; }

void install_allocator() {
  static std::once_flag once;
  std::call_once(once, [] {
    arena_region();
    cell_region();
    c10::Allocator* before = c10::GetCPUAllocator();
    // Without a raw deleter there is no one way to free its memory; then nothing is planned and runs allocate as PyTorch does.
    if (before->raw_deleter() == nullptr) return;
    ordinary = before;
    ordinary_delete = before->raw_deleter();
    static PassThroughAllocator* allocator = new PassThroughAllocator;  // outlives every tensor
    c10::SetCPUAllocator(allocator, /*priority=*/100);
  });
}

}  // namespace tenure
