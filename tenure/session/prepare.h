// tenure/session/prepare.h: a plan turned into a flat list of prepared calls for one frame.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "tenure/engine/engine.h"
#include "tenure/graph/operator.h"
#include "tenure/session/plan.h"
#include "tenure/session/program.h"

namespace tenure {

struct Frame;
class Arenas;

/// A result of a call: where it is on the stack, and whether it must be the fixed tensor that consumers already hold.
struct PreparedResult {
  ValueId value;
  int position = 0;  // on the stack; an engine's output number
  int element = -1;  // of the list at `position`; -1: no list
  bool fixed = false;
  const void* place = nullptr;  // where its memory begins, if that is the same in every run
};

/// One step with everything resolved that the signature determines.
struct PreparedCall {
  int node = 0;
  NodeKind kind = NodeKind::kOperator;
  bool varies = false;                    // its requests are served by cells, whatever their number and size
  bool is_bound = false;                  // all its results are fixed tensors that it is given to write into, see prepare.cc
  const OperatorCall* call = nullptr;     // kOperator
  std::optional<c10::OperatorHandle> op;  // kOperator: call->op, or the variant of it that is given its results
  ScalarFunction scalar = nullptr;        // kScalar
  const Engine* engine = nullptr;         // kEngine
  std::vector<c10::IValue> arguments;     // fixed ones filled in; kEngine: the inputs
  std::vector<int> patched;               // positions in `arguments` that are looked up in each run
  std::vector<PreparedResult> results;
  std::vector<ValueId> released;        // registers read for the last time here
  int first_request = 0, requests = 0;  // in the plan
  std::vector<bool> given;              // by request: not made any more, since the call is given its memory; or empty
};

/// Makes the operator call of a call that is bound what it was without: it makes its results itself.
void unbind(PreparedCall& call);

/// A request that is placed in a slot: the `ordinal`-th of its node.
struct SlotRequest {
  int node = 0;
  int ordinal = 0;
  Space space = Space::kHost;
};

/// A plan bound to one frame's arenas. Used by the frame's thread only.
struct PreparedRun {
  uint64_t id = 0;  // no other run ever has it
  std::shared_ptr<const Plan> plan;
  Registers registers;  // fixed values stay in it; the others come and go in each run
  std::vector<PreparedCall> calls;
  std::vector<void*> addresses;  // by request: where it is served, if that is the same in every run
  std::vector<ValueId> varying;  // values in ValueMode::kRegister but for weights
  std::vector<SlotRequest> slots;
  bool deviated = false;  // registers hold what the plan does not know: not to be run again
};

/// Empties the registers that a run filled, at its end, however it ends: all of them after a deviation.
class RegisterCleaner {
 public:
  explicit RegisterCleaner(PreparedRun& run) : run_(run) {}
  ~RegisterCleaner() {
    for (ValueId value : run_.varying) run_.registers[value.index] = c10::IValue();
    if (run_.deviated) run_.registers.assign(run_.registers.size(), c10::IValue());
  }
  RegisterCleaner(const RegisterCleaner&) = delete;
  RegisterCleaner& operator=(const RegisterCleaner&) = delete;

 private:
  PreparedRun& run_;
};

/// Builds tensors over the frame's arenas (which are at least plan->arena_bytes large) and the calls that use them. `weights` holds
/// the graph's inputs other than the user's. All storages refer to the arenas without owning it.
std::unique_ptr<PreparedRun> prepare(const Program& program, std::shared_ptr<const Plan> plan, const Arenas& arenas,
                                     const Registers& weights, const std::vector<std::vector<ValueId>>& release_after);

}  // namespace tenure
