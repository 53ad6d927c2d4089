// tenure/session/cell.h: a buffer that is reused only when no storage lives in it.
//
// A cell backs one storage at a time: a slot of a leased output, or the own buffer of a standing value whose size depends on data.
// The storage's deleter, wherever and whenever it runs (a NumPy alias dropped in another thread, long after the session), marks the
// cell free. A cell outlives its pool while its storage is held.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <vector>

namespace tenure {

class Cell {
 public:
  static constexpr size_t kHeader = 64;  // before the data: a pointer to the cell; keeps the data aligned to 64

  /// A free cell of at least `capacity` bytes, or null if there is no memory.
  static Cell* make(size_t capacity);
  /// The cell whose data() is `p`; `p` lies in cell_region().
  static Cell* of(void* p);

  void* data() const { return data_; }
  size_t capacity() const { return capacity_; }

  /// Takes a free cell; false if it is held. The owner is one thread at a time.
  bool try_hold();
  /// Called by the storage's deleter, in any thread. Frees the memory if the pool is gone.
  void release();
  /// Called once, by the pool: frees the memory now or, if held, at release().
  void abandon();
  bool held() const { return state_.load(std::memory_order_acquire) != kFree; }

 private:
  enum State : int { kFree, kHeld, kAbandoned };

  Cell(void* chunk, size_t capacity);
  ~Cell();

  std::atomic<int> state_{kFree};
  void* data_;
  size_t capacity_;
};

/// The cells that serve one request of one frame: as many as the caller holds results at once. Used by who holds
/// Frame::busy.
class CellPool {
 public:
  CellPool() = default;
  CellPool(const CellPool&) = delete;
  CellPool& operator=(const CellPool&) = delete;
  ~CellPool();

  /// Memory for `bytes`, in a cell that nobody holds; a new cell is made, or a free one that is too small replaced, when there is
  /// none. Null when `max_cells` are held already or there is no memory.
  void* acquire(size_t bytes, size_t max_cells);
  /// Allocate-ahead: if the last two acquire() found every cell held, or none but the one made ahead (a caller that collects
  /// results, not one that keeps the last), makes the next one now, behind the run's work.
  void allocate_ahead(size_t max_cells);

  /// Its cells are slots: what they hold leaves, or may leave, to the caller.
  void mark_leased() { leased_ = true; }
  bool leased() const { return leased_; }

  size_t bytes() const;
  size_t cells() const { return cells_.size(); }
  size_t held() const;

 private:
  Cell* find_free(size_t bytes, Cell**& too_small);

  std::vector<Cell*> cells_;
  bool leased_ = false;
  int misses_ = 0;              // how many acquire() in a row found every cell held
  Cell* made_ahead_ = nullptr;  // and not used yet
  size_t ahead_ = 0;            // bytes to allocate ahead; 0: nothing
};

}  // namespace tenure
