// tenure/session/ledger.h: what a session's memory amounts to at this moment, kept where it changes, so that nobody waits to read
// it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

namespace tenure {

/// Sums over the arenas and cells of one session. Thread-safe. Shared with the cells, which tell of their release after the
/// session's end too.
struct Ledger {
  /// `poison`: see SessionOptions::check_ownership.
  explicit Ledger(bool poison = false) : poison(poison) {}

  const bool poison;  // memory whose value is dead is filled with kPoison
  std::atomic<int64_t> arena_bytes{0};
  std::atomic<int64_t> abandoned_bytes{0};  // of arenas that an operator kept memory in: never used nor given back again
  std::atomic<int64_t> own_bytes{0};        // cells that hold standing values
  std::atomic<int64_t> slot_bytes{0};       // cells that are slots
  std::atomic<int64_t> slots{0};
  std::atomic<int64_t> held_slots{0};
  std::atomic<int64_t> overflows{0};  // requests for a slot when all were held
};

using SharedLedger = std::shared_ptr<Ledger>;

}  // namespace tenure
