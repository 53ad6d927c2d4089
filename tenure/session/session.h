// tenure/session/session.h: runs a program. The one class that a C++ user needs besides Program.
//
//   auto program = tenure::Program::load("model.pt2");
//   tenure::Session session(program);
//   std::vector<at::Tensor> outputs = session.run({image});
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tenure/session/explain.h"
#include "tenure/session/program.h"

namespace tenure {

struct SessionOptions {
  /// Runs in flight at once; a further caller waits. Each frame has its own memory. A program with state uses one.
  int max_frames = 4;
  /// Plans kept per frame, one for each signature; the least recently used goes first.
  int max_plans = 16;
  /// Slots a frame keeps for one output; when the caller holds more results than that, further ones are plain allocations.
  int max_output_slots = 64;
  /// Off: every tensor of a run is allocated when it is made. The answers are the same, bit for bit.
  bool pre_allocated_outputs = true;
};

/// Counters and sizes of a session since it was made. Bytes are of memory reserved now.
struct Stats {
  int64_t runs = 0;
  int64_t observing_runs = 0;  // first runs of a signature
  int64_t replays = 0;         // runs from a plan
  int64_t deviations = 0;      // replays that met an operator behaving otherwise than observed, and went on without the plan
  int64_t frames = 0;
  int64_t plans = 0;
  int64_t engine_blocks = 0;
  int64_t aten_blocks = 0;
  int64_t standing_bytes = 0;  // arenas, and the buffers of standing values whose size depends on data
  int64_t leased_bytes = 0;    // slots, held or free
  int64_t slots = 0;
  int64_t held_slots = 0;            // slots whose tensor somebody still holds
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
  /// input, or a size outside the exported range; kOperator, kEngine, kRuntimeAssert with the node's name when a step fails. The
  /// session stays usable after any of them. Outputs that are not tensors are left out; run_values gives them.
  std::vector<at::Tensor> run(const std::vector<at::Tensor>& inputs);

  /// The same for inputs and outputs that may be numbers, strings or None.
  std::vector<c10::IValue> run_values(std::vector<c10::IValue> inputs);

  /// Who owns each value and why; sizes and places are those of the signature that ran last, or unknown before the first run.
  /// Thread-safe.
  Explanation explain() const;

  Stats stats() const;

  /// See SessionOptions::pre_allocated_outputs. Takes effect with the next run. Thread-safe.
  void set_pre_allocated_outputs(bool enabled);
  bool pre_allocated_outputs() const;

  const Program& program() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tenure
