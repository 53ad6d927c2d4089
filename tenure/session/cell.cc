#include "tenure/session/cell.h"

#include <algorithm>
#include <utility>

#include "tenure/session/region.h"

namespace tenure {

Cell::Cell(void* chunk, size_t capacity) : data_(static_cast<char*>(chunk) + kHeader), capacity_(capacity) {
  *static_cast<Cell**>(chunk) = this;
}

Cell::~Cell() { cell_region().deallocate(static_cast<char*>(data_) - kHeader, capacity_ + kHeader); }

Cell* Cell::make(size_t capacity) {
  void* chunk = cell_region().allocate(capacity + kHeader);
  return chunk == nullptr ? nullptr : new Cell(chunk, capacity);
}

Cell* Cell::of(void* p) { return *reinterpret_cast<Cell**>(static_cast<char*>(p) - kHeader); }

bool Cell::try_hold() {
  int expected = kFree;
  return state_.compare_exchange_strong(expected, kHeld, std::memory_order_acquire, std::memory_order_relaxed);
}

void Cell::release() {
  // Release: what the last holder read happens before the next run writes.
  int expected = kHeld;
  if (!state_.compare_exchange_strong(expected, kFree, std::memory_order_acq_rel)) delete this;
}

void Cell::abandon() {
  int expected = kHeld;
  if (!state_.compare_exchange_strong(expected, kAbandoned, std::memory_order_acq_rel)) delete this;
}

CellPool::~CellPool() {
  for (Cell* cell : cells_) cell->abandon();
}

Cell* CellPool::find_free(size_t bytes, Cell**& too_small) {
  Cell* best = nullptr;
  for (Cell*& cell : cells_) {
    if (cell->held()) continue;
    if (cell->capacity() < bytes) {
      too_small = &cell;
    } else if (best == nullptr || cell->capacity() < best->capacity()) {
      best = cell;
    }
  }
  return best;
}

void* CellPool::acquire(size_t bytes, size_t max_cells) {
  Cell** too_small = nullptr;
  Cell* cell = find_free(bytes, too_small);
  if (cell != nullptr) {
    if (cell == made_ahead_) {
      ahead_ = bytes;
    } else {
      misses_ = 0;
    }
  } else {
    if (too_small == nullptr && cells_.size() >= max_cells) return nullptr;
    // A buffer that grows, grows by half at least, so that a slowly growing size settles soon.
    const size_t grown = too_small != nullptr ? (*too_small)->capacity() + (*too_small)->capacity() / 2 : 0;
    cell = Cell::make(std::max(bytes, grown));
    if (cell == nullptr) return nullptr;
    if (too_small == nullptr && !cells_.empty() && ++misses_ > 1) ahead_ = bytes;
    if (too_small != nullptr) {
      (*too_small)->abandon();
      *too_small = cell;
    } else {
      cells_.push_back(cell);
    }
  }
  made_ahead_ = nullptr;
  return cell->try_hold() ? cell->data() : nullptr;
}

void CellPool::allocate_ahead(size_t max_cells) {
  const size_t bytes = std::exchange(ahead_, 0);
  Cell** too_small = nullptr;
  if (bytes == 0 || cells_.size() >= max_cells || find_free(bytes, too_small) != nullptr) return;
  made_ahead_ = Cell::make(bytes);
  if (made_ahead_ != nullptr) cells_.push_back(made_ahead_);
}

size_t CellPool::bytes() const {
  size_t total = 0;
  for (const Cell* cell : cells_) total += cell->capacity();
  return total;
}

size_t CellPool::held() const {
  return static_cast<size_t>(std::count_if(cells_.begin(), cells_.end(), [](const Cell* cell) { return cell->held(); }));
}

}  // namespace tenure
