// tenure/session/boundary.h: what goes into and comes out of a run: weights, state, inputs, results, write-backs.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <unordered_set>
#include <vector>

#include "tenure/graph/operator.h"
#include "tenure/session/program.h"

namespace tenure {

/// The program's border within one session. The state is written by runs; everything else is fixed. A program with state is run by
/// one thread at a time.
class Boundary {
 public:
  /// Copies the buffers that runs change, so that sessions of one program do not see each other's state.
  explicit Boundary(const Program& program);

  bool has_state() const { return !state_.empty(); }

  /// Registers that hold the weights and the state, and nothing else.
  const Registers& weights() const { return weights_; }

  /// Puts the flat user inputs (as many as the program takes) into the registers.
  void enter(const std::vector<c10::IValue>& inputs, Registers& registers) const;

  /// The flat user outputs. Each tensor is an object of its own or the caller's own input; where its memory is about to be, or
  /// later may be, changed by the program (state, a mutated input's old content, arena memory that an operator's schema did not
  /// admit to), it is copied. `saved_from_arena` tells whether the latter happened.
  std::vector<c10::IValue> results(const Registers& registers, bool& saved_from_arena) const;

  /// Copies the new content of mutated buffers and inputs to where it belongs. After results().
  void write_back(const Registers& registers) const;

 private:
  struct WriteBack {
    ValueId source;
    ValueId target;  // a graph input
  };

  void copy_state();
  bool is_target(const at::Tensor& tensor, const Registers& registers) const;

  const Program& program_;
  Registers weights_;
  std::vector<ValueId> user_inputs_;  // invalid for constants
  std::vector<WriteBack> write_backs_;
  std::unordered_set<const c10::StorageImpl*> state_storages_, weight_storages_;
  std::map<std::string, at::Tensor> state_;  // by name: the buffers that runs change, and what shares their memory
};

}  // namespace tenure
