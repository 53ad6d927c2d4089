// tenure/session/cell.h: a buffer that is reused only when no storage lives in it.
//
// A cell backs one storage at a time: a slot of a leased output, or the own buffer of a standing value whose size or life cannot be
// planned. The storage's deleter, wherever and whenever it runs (a NumPy alias dropped in another thread, long after the session),
// marks the cell free. A cell outlives its pool while its storage is held. A storage that the caller resizes or set_()s elsewhere
// lets go of the cell's memory through the same deleter, so there is no way to hold it that the cell does not know of.
//
// On a device, to be held by nobody is not enough: work that was enqueued may still be to come. A cell there knows the streams that
// use it (see streams.h), and whoever gets it next comes after them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "tenure/session/device_memory.h"
#include "tenure/session/ledger.h"
#include "tenure/session/streams.h"

namespace tenure {

/// What a cell is for.
enum class CellUse {
  kOwn,   // a standing value's buffer
  kSlot,  // what it holds leaves, or may leave, to the caller
};

class Cell {
 public:
  static constexpr size_t kHeader = 64;  // before the data: a pointer to the cell; keeps the data aligned to 64

  /// A free cell of at least `capacity` bytes, or null if there is no memory.
  static Cell* make(size_t capacity, CellUse use, SharedLedger ledger, c10::Device device);
  /// The cell of the host whose data() is `p`; `p` lies in cell_region().
  static Cell* of(void* p);

  void* data() const { return data_; }
  size_t capacity() const { return capacity_; }

  /// Takes a free cell for a storage of that many bytes, at most its capacity, and work on the thread's current stream; false if it
  /// is held. The owner is one thread at a time.
  bool try_hold(size_t bytes);
  /// Whether work on the thread's current stream could use the cell without waiting for another stream.
  bool is_ready() const { return device_ == nullptr || device_->uses.is_ready_on(current_stream(device_->place)); }
  /// `stream` uses the memory too: its work is waited for. Only for a held cell of a device. Thread-safe.
  void add_stream(c10::Stream stream) { device_->uses.add(stream); }
  /// Called by the storage's deleter, in any thread. Frees the memory if the pool is gone.
  void release();
  /// Called once, by the pool: frees the memory now or, if held, at release().
  void abandon();
  bool held() const { return state_.load(std::memory_order_acquire) != kFree; }

  /// With Ledger::poison, for a cell of the host: calls visit(lease, data, bytes) if it is held, and nobody can let go of it
  /// meanwhile. `lease` is another number each time that a cell is held.
  template <typename Visit>
  void while_held(const Visit& visit) const {
    if (!poisons()) return;
    const std::lock_guard lock(letting_go_);
    if (held() && lease_ != 0) visit(lease_, static_cast<const char*>(data_), touched_);
  }

  /// With Ledger::poison: a free cell holds nothing but poison, unless somebody wrote to what he had let go.
  bool is_poison_intact() const;
  /// With Ledger::poison: nobody wrote behind the storage that the cell backs, or behind the cell's end.
  bool is_guard_intact() const;

 private:
  enum State : int { kFree, kHeld, kAbandoned };

  struct OnDevice {
    c10::Device place;
    DeviceMemory memory;
    StreamUses uses{place};
  };

  Cell(void* data, size_t capacity, CellUse use, SharedLedger ledger, std::unique_ptr<OnDevice> device);
  ~Cell();

  bool poisons() const { return ledger_->poison && device_ == nullptr; }
  std::atomic<int> state_{kFree};
  size_t guard() const;
  size_t chunk_bytes() const { return kHeader + capacity_ + guard(); }

  void* data_;
  size_t capacity_;
  mutable std::mutex letting_go_;  // with poison: taken to let go of the cell, and to keep others from it
  uint64_t lease_ = 0;             // with poison: of who holds it
  size_t touched_ = 0;             // bytes, in whole words of poison, that the last storage could write
  CellUse use_;
  SharedLedger ledger_;
  std::unique_ptr<OnDevice> device_;  // null for a cell of the host
};

/// The cells that serve one request of one frame: as many as the caller holds results at once. Used by one thread at a time.
class CellPool {
 public:
  CellPool(CellUse use, SharedLedger ledger, c10::Device device = c10::kCPU)
      : use_(use), ledger_(std::move(ledger)), device_(device) {}
  CellPool(const CellPool&) = delete;
  CellPool& operator=(const CellPool&) = delete;
  ~CellPool();

  /// A cell for `bytes` that nobody else holds; a new one is made, or a free one that is too small replaced, when there is none.
  /// Null when `max_cells` are held already or there is no memory.
  Cell* acquire(size_t bytes, size_t max_cells);
  /// Allocate-ahead: if the last two acquire() found every cell held, or none but the one made ahead (a caller that collects
  /// results, not one that keeps the last), makes the next one now, behind the run's work.
  void allocate_ahead(size_t max_cells);
  /// Gives back the cells that nobody holds; those that are held go when they are let go. Returns the bytes given back now.
  size_t trim();

  size_t bytes() const;
  size_t cells() const { return cells_.size(); }
  size_t held() const;

  /// Calls visit(Cell&) for every cell.
  template <typename Visit>
  void for_each(const Visit& visit) const {
    for (Cell* cell : cells_) visit(*cell);
  }

 private:
  Cell* find_free(size_t bytes, Cell**& too_small);

  const CellUse use_;
  const SharedLedger ledger_;
  const c10::Device device_;
  std::vector<Cell*> cells_;
  int misses_ = 0;              // how many acquire() in a row found every cell held
  Cell* made_ahead_ = nullptr;  // and not used yet
  size_t ahead_ = 0;            // bytes to allocate ahead; 0: nothing
};

}  // namespace tenure
