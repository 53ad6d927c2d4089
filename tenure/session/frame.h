// tenure/session/frame.h: everything that one run in flight may write: arena, cells, engine contexts, prepared calls.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <vector>

#include "tenure/session/cell.h"
#include "tenure/session/interpreter.h"
#include "tenure/session/plan.h"
#include "tenure/session/prepare.h"
#include "tenure/session/signature.h"

namespace tenure {

/// A chunk of arena_region() that grows. Not thread-safe.
class Arena {
 public:
  Arena() = default;
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  char* base() const { return base_; }
  size_t bytes() const { return bytes_; }
  bool contains(const void* p) const { return reinterpret_cast<uintptr_t>(p) - reinterpret_cast<uintptr_t>(base_) < bytes_; }
  /// Replaces the chunk by one of `bytes`; addresses in the old one are void. False if there is no memory: the arena is as before.
  bool grow(size_t bytes);
  /// Forgets the chunk without giving it back: somebody still uses memory in it.
  void leave_behind();

 private:
  char* base_ = nullptr;
  size_t bytes_ = 0;
};

/// The cells of one frame, by node and by the order of the node's requests. They serve all signatures: capacity is kept.
class Cells {
 public:
  explicit Cells(size_t nodes) : pools_(nodes) {}
  CellPool& pool(int node, int ordinal);

  /// Calls visit(const CellPool&) for every pool.
  template <typename Visit>
  void for_each(const Visit& visit) const {
    for (const auto& of_node : pools_)
      for (const auto& pool : of_node) visit(*pool);
  }

 private:
  std::vector<std::vector<std::unique_ptr<CellPool>>> pools_;
};

/// Owned by a session, used by one thread at a time.
struct Frame {
  explicit Frame(const Program& program) : contexts(program.graph().nodes.size()), cells(program.graph().nodes.size()) {}

  std::mutex busy;          // held by the run under way; who reads the cells' sums takes it too
  EngineContexts contexts;  // by node
  Arena arena;
  Cells cells;
  std::list<std::unique_ptr<PreparedRun>> prepared;  // most recently used first
  Signature signature;                               // of the run under way
};

}  // namespace tenure
