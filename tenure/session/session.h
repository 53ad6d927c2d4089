// tenure/session/session.h: runs a program. The one class that a C++ user needs besides Program.
//
//   auto program = tenure::Program::load("model.pt2");
//   tenure::Session session(program);
//   std::vector<at::Tensor> outputs = session.run({image});
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tenure/session/explain.h"
#include "tenure/session/program.h"
#include "tenure/trace/trace.h"

namespace tenure {

struct SessionOptions {
  /// Runs in flight at once; a further caller waits. Each frame has its own memory. A program with state uses one.
  int max_frames = 4;
  /// Host memory for the plans of all signatures, with the calls prepared from them in one frame. The least recently used go; the
  /// last one stays whatever it takes. Arenas and buffers are not counted: all plans share them.
  int64_t max_plan_bytes = int64_t{64} << 20;
  /// Slots a frame keeps for one output; when the caller holds more results than that, further ones are plain allocations.
  int max_output_slots = 64;
  /// Off: every tensor of a run is allocated when it is made. The answers are the same, bit for bit.
  bool pre_allocated_outputs = true;
  /// Checks every run: each operator and engine must keep to the memory that is its to read and write (weights, state, inputs and
  /// results that somebody holds stay as they are, but for what its schema says it writes), and in a replay memory is filled with a
  /// poison pattern when the life of what is in it ends; else the run throws Error(kOwnership). Nobody may write into a result that
  /// he holds while a run of the session is under way. Slow: for tests and for finding out. The environment variable
  /// TENURE_CHECK_OWNERSHIP=1 sets it for all sessions of a process.
  bool check_ownership = false;
};

/// Counters and sizes of a session since it was made. Bytes are of memory reserved now.
struct Stats {
  int64_t runs = 0;
  int64_t observing_runs = 0;  // first runs of a signature
  int64_t replays = 0;         // runs from a plan
  int64_t deviations = 0;      // replays that met an operator behaving otherwise than observed, and went on without the plan
  int64_t frames = 0;
  int64_t plans = 0;
  int64_t plan_bytes = 0;  // host memory of all plans, about; see SessionOptions::max_plan_bytes
  int64_t engine_blocks = 0;
  int64_t aten_blocks = 0;
  int64_t standing_bytes = 0;   // arenas, and the own buffers of standing values
  int64_t leased_bytes = 0;     // slots, held or free
  int64_t abandoned_bytes = 0;  // arenas that an operator kept memory in beyond a run: never used again, nor given back
  int64_t slots = 0;
  int64_t held_slots = 0;            // slots whose tensor somebody still holds
  int64_t slot_overflows = 0;        // results that found all max_output_slots held and became plain allocations
  int64_t last_run_allocations = 0;  // requests of the last run that the ordinary allocator served
  int64_t fresh_bytes = 0;           // of those requests; in a replay, of values marked fresh
};

class Session {
 public:
  explicit Session(std::shared_ptr<const Program> program, SessionOptions options = {});
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  /// Runs the program on the flat user inputs, in order: tensors. Thread-safe. The result holds the flat user outputs; each may be
  /// held for any time and never changes. Throws Error(kInvalidArgument) for a wrong number, dtype, rank, size or device of an
  /// input, or a size outside the exported range, and for a run inside a run of the same session when no frame is left; kOperator,
  /// kEngine, kRuntimeAssert with the node's name when a step fails. The session stays usable after any of them; state that a
  /// failed run had already written keeps what it wrote, as in eager PyTorch. Outputs that are not tensors are left out; run_values
  /// gives them.
  std::vector<at::Tensor> run(const std::vector<at::Tensor>& inputs);

  /// The same for inputs and outputs that may be numbers, strings or None.
  std::vector<c10::IValue> run_values(std::vector<c10::IValue> inputs);

  /// Who owns each value and why; sizes and places are those of the signature that ran last, or unknown before the first run.
  /// Thread-safe.
  Explanation explain() const;

  /// The same from the file alone, as if the file's symbols ("s0") had these values; no run is needed. Throws
  /// Error(kInvalidArgument) for a symbol that the file does not have or a value out of its range.
  Explanation explain(const std::map<std::string, int64_t>& sizes) const;

  /// Waits for no run. Thread-safe.
  Stats stats() const;

  /// Gives memory back to the system: arenas, own buffers and free slots of the frames that are not in a run. Results that are held
  /// stay as they are. Plans are kept: the next runs take memory anew and observe nothing. Returns the bytes given back.
  /// Thread-safe.
  int64_t trim();

  /// The state (the buffers that runs change) as the file gives it. Waits for a run in flight. Thread-safe.
  void reset_state();
  /// A copy of the state by buffer name. Waits for a run in flight. Thread-safe.
  std::map<std::string, at::Tensor> state_dict() const;
  /// Takes over the content of `state`, which may name any of the buffers in state_dict(). Throws Error(kInvalidArgument) for
  /// another name, dtype or size, and changes nothing then. Waits for a run in flight. Thread-safe.
  void load_state_dict(const std::map<std::string, at::Tensor>& state);

  /// See SessionOptions::pre_allocated_outputs. Takes effect with the next run. Thread-safe.
  void set_pre_allocated_outputs(bool enabled);
  bool pre_allocated_outputs() const;

  /// Runs that begin from now on note in `trace` what they do and when; nullptr: no more. A run that throws is not noted. On a
  /// device the nodes are timed by events, and each run waits for its work; engines tell their layers where they can. For finding
  /// out where time goes, not for steady use. Thread-safe.
  void set_trace(std::shared_ptr<Trace> trace);

  const Program& program() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tenure
