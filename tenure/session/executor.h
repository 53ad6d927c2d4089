// tenure/session/executor.h: the hot loop.
#pragma once

#include <cstdint>

#include "tenure/session/allocator.h"
#include "tenure/session/frame.h"

namespace tenure {

/// Serves the requests of one replay from the frame's arena and cells.
class ReplayScope final : public MemoryScope {
 public:
  ReplayScope(const PreparedRun& run, Cells& cells, int max_cells)
      : run_(run), cells_(cells), max_cells_(static_cast<size_t>(max_cells)) {}

  /// The requests that follow are those of `call`.
  void enter(const PreparedCall& call);
  /// Leaves out the next observed request: a fixed output of an engine is bound, not requested.
  void skip() { ++next_; }
  /// Frees that follow are not the call's own.
  void leave() { inside_ = false; }
  /// From here on every request goes to the ordinary allocator.
  void switch_off() { off_ = true; }

  /// Arena memory handed out and not freed on this thread. Not 0 after a run whose registers are empty: an operator keeps memory
  /// that it did not keep when observed.
  int64_t outstanding() const { return outstanding_; }

  int64_t ordinary_requests() const { return ordinary_requests_; }
  int64_t ordinary_bytes() const { return ordinary_bytes_; }

  void* serve(size_t bytes) override;
  void allocated(void* p, size_t bytes) override;
  void freed(void* p) override;

 private:
  void* serve_planned(size_t bytes);
  void* serve_cell(size_t bytes);

  const PreparedRun& run_;
  Cells& cells_;
  const size_t max_cells_;
  const PreparedCall* call_ = nullptr;
  int next_ = 0;           // ordinal of the next request of the call
  int scratch_frees_ = 0;  // of the call so far
  bool inside_ = false;
  bool strayed_ = false;  // the call asked for something else than observed
  bool off_ = false;
  int64_t outstanding_ = 0;
  int64_t ordinary_requests_ = 0;
  int64_t ordinary_bytes_ = 0;
};

/// Runs the prepared calls; the user's inputs are in run.registers. Returns the index of the node after the first call that did not
/// give the fixed tensors it gave when observed (its results are then in the registers, and the rest of the nodes are to be
/// interpreted), or the number of nodes if all went as observed. Throws Error with the context "node NAME".
size_t run_prepared(const Program& program, PreparedRun& run, Frame& frame, ReplayScope& scope);

}  // namespace tenure
