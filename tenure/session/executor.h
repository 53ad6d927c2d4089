// tenure/session/executor.h: the hot loop.
#pragma once

#include <cstdint>
#include <vector>

#include "tenure/session/allocator.h"
#include "tenure/session/check.h"
#include "tenure/session/frame.h"

namespace tenure {

/// Serves the requests of one replay from the frame's arena and cells.
class ReplayScope final : public CountingScope {
 public:
  ReplayScope(const PreparedRun& run, Frame& frame, int max_cells)
      : run_(run), arenas_(frame.arenas), cells_(frame.cells), max_cells_(static_cast<size_t>(max_cells)) {}

  /// The requests that follow are those of `call`.
  void enter(const PreparedCall& call);
  /// The call asked for something else than observed.
  bool strayed() const { return strayed_; }
  /// Frees that follow are not the call's own.
  void leave() { inside_ = false; }
  /// The requests that follow, up to leave(), are copies of results: slots serve them.
  void enter_results();
  /// Those made so far in the host's memory and in the device's.
  const BySpace<int>& result_copies() const { return result_copies_; }
  /// Arena memory handed out and not freed on this thread, or used on a stream that the run knows nothing of. Not 0 after a run
  /// whose registers are empty: an operator keeps memory that it did not keep when observed.
  int64_t outstanding() const { return outstanding_; }

  Served serve(Space space, size_t bytes) override;
  void freed(void* p) override;
  void used_on_other_stream(void* p) override { outstanding_ += arenas_.contains(p); }

 private:
  Served serve_planned(Space space, size_t bytes);
  Served serve_cell(Space space, size_t bytes, CellUse use);
  Served note(Served served);
  const Placement& placement(int request) const;

  const PreparedRun& run_;
  const Arenas& arenas_;
  Cells& cells_;
  const size_t max_cells_;
  const PreparedCall* call_ = nullptr;
  std::vector<void*> served_;   // by ordinal: what the call's requests got; null from the ordinary allocator
  int next_ = 0;                // ordinal of the next request of the call
  uint64_t freed_scratch_ = 0;  // of the call so far: as Request::freed_before
  bool inside_ = false;
  bool in_results_ = false;
  BySpace<int> result_copies_;
  bool strayed_ = false;
  int64_t outstanding_ = 0;
};

/// Runs the prepared calls; the user's inputs are in run.registers. Stops after the first call whose results do not lie where they
/// lay when observed: sets run.deviated and returns the index of the node after it; its results are in the registers, and the rest
/// of the nodes are to be interpreted. Else returns the number of nodes. Throws Error with the context "node NAME".
/// `check` may be null.
size_t run_prepared(const Program& program, PreparedRun& run, Frame& frame, ReplayScope& scope, OwnershipCheck* check);

}  // namespace tenure
