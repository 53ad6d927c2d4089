// tenure/session/plan.h: for one signature, where the memory of every request comes from. Immutable; shared by the frames of a
// session.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tenure/plan/plan.h"
#include "tenure/session/explain.h"
#include "tenure/session/observation.h"

namespace tenure {

/// Where one observed request is served in later runs.
struct Placement {
  enum class Kind {
    kArena,     // at `offset`: it was freed in the run it was made in, and nothing of it reaches the caller
    kSlot,      // in a cell: it leaves, or may leave, to the caller
    kOwn,       // in a cell: stays, but its size depends on data, or a custom operator or another stream might keep it
    kState,     // where the state `state` lies: it is its new content
    kOrdinary,  // by the ordinary allocator: it outlived its run when observed, so its life cannot be foreseen
  };
  Kind kind = Kind::kOrdinary;
  plan::Bytes offset = 0;
  ValueId state;  // a graph input

  /// The same address in every run.
  bool is_fixed() const { return kind == Kind::kArena || kind == Kind::kState; }
};

/// How a replay treats a value.
enum class ValueMode {
  kFixed,     // one tensor or number, made once when the plan is prepared
  kRegister,  // made anew in each run
};

struct Plan {
  Observation observation;
  std::vector<Placement> placements;  // by request
  std::vector<ValueMode> modes;       // by value
  std::vector<bool> varies;           // by node: what it allocates depends on data
  BySpace<plan::Bytes> arena_bytes;
};

/// Decides from what was seen. Pure but for reading the engines' ownership switches. Throws Error(kInternal) if the layout fails
/// its check.
std::shared_ptr<const Plan> make_plan(const Program& program, Observation observation);

/// Bytes of host memory that the plan and the prepared calls made from it take, about.
int64_t footprint(const Plan& plan);

/// The program's owners, refined by what a plan's observation showed; `plan` may be null. Without one, `sizes` may give the file's
/// symbols values; throws Error(kInvalidArgument) for one that is not in the file or out of range.
Explanation explain(const Program& program, const Plan* plan, const std::map<std::string, int64_t>& sizes = {});

/// Whether a replay leaves node `node` out: its results are all fixed and it neither writes memory nor checks content.
bool is_elided(const Program& program, const Plan& plan, size_t node);

}  // namespace tenure
