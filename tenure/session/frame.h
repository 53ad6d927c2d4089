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

/// A chunk of arena_region() that grows. Not thread-safe.
class Arena {
 public:
  Arena() = default;
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  char* base() const { return base_; }
  size_t bytes() const { return bytes_; }
  /// Replaces the chunk by one of `bytes`; addresses in the old one are void. False if there is no memory: the arena is as before.
  bool grow(size_t bytes);

 private:
  char* base_ = nullptr;
  size_t bytes_ = 0;
};

/// The cells of one frame, by node and by the order of the node's requests. They serve all signatures: capacity is kept.
class Cells {
 public:
  explicit Cells(size_t nodes) : pools_(nodes) {}
  CellPool& pool(int node, int ordinal);

  /// Sums over all pools.
  template <typename Visit>
  void for_each(const Visit& visit) const {
    for (size_t node = 0; node < pools_.size(); ++node)
      for (size_t ordinal = 0; ordinal < pools_[node].size(); ++ordinal)
        visit(static_cast<int>(node), static_cast<int>(ordinal), *pools_[node][ordinal]);
  }

 private:
  std::vector<std::vector<std::unique_ptr<CellPool>>> pools_;
};

/// Owned by a session, used by one thread at a time.
struct Frame {
  explicit Frame(const Program& program) : contexts(program.graph().nodes.size()), cells(program.graph().nodes.size()) {}

  EngineContexts contexts;  // by node
  Arena arena;
  Cells cells;
  std::list<std::unique_ptr<PreparedRun>> prepared;  // most recently used first
  Signature signature;                               // of the run under way
};

}  // namespace tenure
