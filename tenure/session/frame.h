// tenure/session/frame.h: everything that one run in flight may write: arena, cells, engine contexts, prepared calls.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <vector>

#include "tenure/session/cell.h"
#include "tenure/session/interpreter.h"
#include "tenure/session/plan.h"
#include "tenure/session/prepare.h"
#include "tenure/session/signature.h"

namespace tenure {

/// One frame's planned memory in one space: a chunk of arena_region(), or of the device. It grows. Not thread-safe.
class Arena {
 public:
  Arena(SharedLedger ledger, c10::Device device, const StreamOrder& order)
      : ledger_(std::move(ledger)), device_(device), order_(order) {}
  ~Arena() { give_back(); }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  char* base() const { return base_; }
  size_t bytes() const { return bytes_; }
  bool contains(const void* p) const { return reinterpret_cast<uintptr_t>(p) - reinterpret_cast<uintptr_t>(base_) < bytes_; }
  /// Replaces the chunk by one of `bytes`; addresses in the old one are void. False if there is no memory: the arena is as before.
  bool grow(size_t bytes);
  /// Returns the chunk to where it came from, for use after the frame's last run; returns its bytes.
  size_t give_back();
  /// Forgets the chunk without giving it back: somebody still uses memory in it.
  void leave_behind();

 private:
  char* base_ = nullptr;
  size_t bytes_ = 0;
  SharedLedger ledger_;
  const c10::Device device_;
  const StreamOrder& order_;  // of the frame's runs
  DeviceMemory memory_;       // base_ on a device
};

/// A frame's arenas.
class Arenas {
 public:
  /// `device`: the program's accelerator; the CPU if it has none.
  Arenas(const SharedLedger& ledger, c10::Device device, const StreamOrder& order)
      : host_(ledger, c10::kCPU, order), device_(ledger, device, order) {}

  Arena& operator[](Space space) { return space == Space::kHost ? host_ : device_; }
  const Arena& operator[](Space space) const { return space == Space::kHost ? host_ : device_; }
  bool contains(const void* p) const { return host_.contains(p) || device_.contains(p); }
  /// See Arena.
  size_t give_back() { return host_.give_back() + device_.give_back(); }
  void leave_behind() {
    host_.leave_behind();
    device_.leave_behind();
  }

 private:
  Arena host_, device_;
};

/// The cells of one frame, by node and by the order of the node's requests; the node after the last stands for the copies that are
/// made of results. They serve all signatures: capacity is kept.
class Cells {
 public:
  /// `device`: the program's accelerator; the CPU if it has none.
  Cells(size_t nodes, SharedLedger ledger, c10::Device device) : pools_(nodes + 1), ledger_(std::move(ledger)), device_(device) {}
  CellPool& pool(int node, int ordinal, CellUse use, Space space);
  int results_node() const { return static_cast<int>(pools_.size()) - 1; }

  /// Calls visit(CellPool&, node) for every pool.
  template <typename Visit>
  void for_each(const Visit& visit) const {
    for (size_t node = 0; node < pools_.size(); ++node)
      for (const BySpace<PoolsOfRequest>& request : pools_[node])
        for (const PoolsOfRequest& pools : request)
          for (const auto* pool : {&pools.own, &pools.slot})
            if (*pool) visit(**pool, static_cast<int>(node));
  }

 private:
  struct PoolsOfRequest {
    std::unique_ptr<CellPool> own, slot;  // made when first used
  };
  std::vector<std::vector<BySpace<PoolsOfRequest>>> pools_;
  SharedLedger ledger_;
  const c10::Device device_;
};

/// Owned by a session, used by one thread at a time.
struct Frame {
  /// `device`: the program's accelerator; the CPU if it has none.
  Frame(size_t nodes, const SharedLedger& ledger, c10::Device device)
      : contexts(nodes), arenas(ledger, device, order), cells(nodes, ledger, device) {}

  EngineContexts contexts;  // by node
  StreamOrder order;        // of the frame's runs on the device
  Arenas arenas;
  Cells cells;
  std::list<std::unique_ptr<PreparedRun>> prepared;  // most recently used first
  uint64_t plans_version = 0;                        // PlanCache::version() when `prepared` was last compared with it
  Signature signature;                               // of the run under way
  RunTrace* trace = nullptr;                         // of the run under way, if it is traced

  /// Gives back the arenas and every cell that nobody holds; returns the bytes. The next runs take memory anew, from the same
  /// plans.
  size_t trim();
};

}  // namespace tenure
