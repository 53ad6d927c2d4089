#include "tenure/session/cell.h"

#include <algorithm>
#include <utility>

#include "tenure/session/poison.h"
#include "tenure/session/region.h"

namespace tenure {
namespace {

constexpr size_t kGuard = 64;  // bytes of poison behind a cell's end, where there is poison at all

}  // namespace

Cell::Cell(void* data, size_t capacity, CellUse use, SharedLedger ledger, std::unique_ptr<OnDevice> device)
    : data_(data), capacity_(capacity), use_(use), ledger_(std::move(ledger)), device_(std::move(device)) {
  const bool slot = use_ == CellUse::kSlot;
  (slot ? ledger_->slot_bytes : ledger_->own_bytes) += static_cast<int64_t>(capacity_);
  ledger_->slots += slot;
  if (!poisons()) return;
  fill_poison(data_, capacity_);
  fill_poison(static_cast<char*>(data_) + capacity_, kGuard);
}

Cell::~Cell() {
  const bool slot = use_ == CellUse::kSlot;
  (slot ? ledger_->slot_bytes : ledger_->own_bytes) -= static_cast<int64_t>(capacity_);
  ledger_->slots -= slot;
  if (device_ != nullptr) {
    device_->memory.give_back(device_->uses.all());
  } else {
    cell_region().deallocate(static_cast<char*>(data_) - kHeader, chunk_bytes());
  }
}

Cell* Cell::make(size_t capacity, CellUse use, SharedLedger ledger, c10::Device device) {
  if (!device.is_cpu()) {
    DeviceMemory memory(device, capacity);
    void* const data = memory.data();
    if (data == nullptr) return nullptr;
    return new Cell(data, capacity, use, std::move(ledger), std::unique_ptr<OnDevice>(new OnDevice{device, std::move(memory)}));
  }
  char* const chunk = static_cast<char*>(cell_region().allocate(kHeader + capacity + (ledger->poison ? kGuard : 0)));
  if (chunk == nullptr) return nullptr;
  Cell* const cell = new Cell(chunk + kHeader, capacity, use, std::move(ledger), nullptr);
  *reinterpret_cast<Cell**>(chunk) = cell;
  return cell;
}

Cell* Cell::of(void* p) { return *reinterpret_cast<Cell**>(static_cast<char*>(p) - kHeader); }

bool Cell::try_hold(size_t bytes) {
  int expected = kFree;
  if (!state_.compare_exchange_strong(expected, kHeld, std::memory_order_acquire, std::memory_order_relaxed)) return false;
  if (device_ != nullptr && !device_->uses.hand_out(current_stream(device_->place))) {
    state_.store(kFree, std::memory_order_release);
    return false;
  }
  if (poisons()) {
    static std::atomic<uint64_t> last_lease{0};
    const std::lock_guard lock(letting_go_);
    lease_ = last_lease.fetch_add(1, std::memory_order_relaxed) + 1;
  }
  touched_ = std::min(capacity_, (bytes + sizeof(kPoison) - 1) / sizeof(kPoison) * sizeof(kPoison));
  ledger_->held_slots.fetch_add(use_ == CellUse::kSlot, std::memory_order_relaxed);
  return true;
}

void Cell::release() {
  if (device_ != nullptr) device_->uses.let_go();
  if (poisons()) {
    const std::lock_guard lock(letting_go_);
    fill_poison(data_, touched_);  // what is behind is poison, or shows who wrote there
    lease_ = 0;
  }
  ledger_->held_slots.fetch_sub(use_ == CellUse::kSlot, std::memory_order_relaxed);
  // Release: what the last holder read happens before the next run writes.
  int expected = kHeld;
  if (!state_.compare_exchange_strong(expected, kFree, std::memory_order_acq_rel)) delete this;
}

void Cell::abandon() {
  int expected = kHeld;
  if (!state_.compare_exchange_strong(expected, kAbandoned, std::memory_order_acq_rel)) delete this;
}

bool Cell::is_poison_intact() const { return !poisons() || held() || find_unpoisoned(data_, capacity_) == capacity_; }

size_t Cell::guard() const { return poisons() ? kGuard : 0; }

bool Cell::is_guard_intact() const {
  if (!poisons()) return true;
  const char* const base = static_cast<const char*>(data_);
  const size_t rest = capacity_ - touched_;
  return find_unpoisoned(base + touched_, rest) == rest && find_unpoisoned(base + capacity_, kGuard) == kGuard;
}

CellPool::~CellPool() {
  for (Cell* cell : cells_) cell->abandon();
}

Cell* CellPool::find_free(size_t bytes, Cell**& too_small) {
  Cell* best = nullptr;
  Cell* best_ready = nullptr;
  for (Cell*& cell : cells_) {
    if (cell->held()) continue;
    if (cell->capacity() < bytes) {
      too_small = &cell;
      continue;
    }
    if (best == nullptr || cell->capacity() < best->capacity()) best = cell;
    if ((best_ready == nullptr || cell->capacity() < best_ready->capacity()) && cell->is_ready()) best_ready = cell;
  }
  return best_ready != nullptr ? best_ready : best;
}

Cell* CellPool::acquire(size_t bytes, size_t max_cells) {
  Cell** too_small = nullptr;
  Cell* cell = find_free(bytes, too_small);
  if (cell != nullptr) {
    if (cell == made_ahead_) {
      ahead_ = bytes;
    } else {
      misses_ = 0;
    }
  } else {
    if (too_small == nullptr && cells_.size() >= max_cells) {
      ledger_->overflows += use_ == CellUse::kSlot;
      return nullptr;
    }
    // A buffer that grows, grows by half at least, so that a slowly growing size settles soon.
    const size_t grown = too_small != nullptr ? (*too_small)->capacity() + (*too_small)->capacity() / 2 : 0;
    cell = Cell::make(std::max(bytes, grown), use_, ledger_, device_);
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
  return cell->try_hold(bytes) ? cell : nullptr;
}

void CellPool::allocate_ahead(size_t max_cells) {
  const size_t bytes = std::exchange(ahead_, 0);
  Cell** too_small = nullptr;
  if (bytes == 0 || cells_.size() >= max_cells || find_free(bytes, too_small) != nullptr) return;
  made_ahead_ = Cell::make(bytes, use_, ledger_, device_);
  if (made_ahead_ != nullptr) cells_.push_back(made_ahead_);
}

size_t CellPool::trim() {
  size_t given_back = 0;
  std::erase_if(cells_, [&](Cell* cell) {
    if (cell->held()) return false;
    given_back += cell->capacity();
    cell->abandon();
    return true;
  });
  made_ahead_ = nullptr;
  ahead_ = 0;
  misses_ = 0;
  return given_back;
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
