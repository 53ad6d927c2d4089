// tenure/session/boundary.h: what goes into and comes out of a run: weights, state, inputs, results, write-backs.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <span>
#include <unordered_set>
#include <vector>

#include "tenure/graph/operator.h"
#include "tenure/session/frame.h"
#include "tenure/session/program.h"
#include "tenure/session/state.h"

namespace tenure {

/// The program's border within one session. The state is written by runs; everything else is fixed. A program with state is run by
/// one thread at a time.
class Boundary {
 public:
  explicit Boundary(const Program& program);

  State& state() { return state_; }
  const State& state() const { return state_; }

  /// Registers that hold the weights and the state, and nothing else.
  const Registers& weights() const { return weights_; }

  /// Puts the flat user inputs (as many as the program takes) into the registers. One that the program writes in place, and of
  /// which elements may overlap, is copied: write_back() brings the new content home. Throws Error(kInvalidArgument) for one that
  /// gets new content and may overlap another input or a weight: the functional graph takes them for separate memory.
  void enter(std::span<const c10::IValue> inputs, Registers& registers) const;

  /// Whether results() has the caller's own tensor in the place of that value.
  bool is_new_input_content(ValueId value) const { return new_input_content(value) != nullptr; }

  /// The flat user outputs, before anything is written back. Each tensor is an object of its own or the caller's own input: also
  /// where it is the new content of that input, which write_back() will bring there. What would change later is copied: memory of
  /// the state, the old content of an input that write_back() will change, and planned memory that reached an output though no
  /// schema says so; those that share memory share the copy's. But in a file that torch.export made functional, a result that is
  /// the new content of a buffer shares memory with no other value: nobody knows whether it is the buffer or what was copied into
  /// it.
  std::vector<c10::IValue> results(std::span<const c10::IValue> inputs, const Registers& registers, const Arenas& arenas) const;

  /// Copies the new content of mutated buffers and inputs to where it belongs, unless it was made there, and lets autograd know
  /// which inputs have changed. After results().
  void write_back(std::span<const c10::IValue> inputs, const Registers& registers) const;

 private:
  struct WriteBack {
    ValueId source;
    ValueId target;               // a graph input
    std::optional<size_t> input;  // its position among the user inputs
  };

  const WriteBack* new_input_content(ValueId value) const;
  bool is_new_state_content(ValueId value) const;
  bool is_shared(const at::Tensor& result, ValueId value, const Registers& registers) const;
  bool will_change(const at::Tensor& tensor, const Registers& registers) const;
  void check_is_apart(std::span<const c10::IValue> inputs, size_t index) const;

  const Program& program_;
  State state_;
  Registers weights_;
  std::vector<ValueId> user_inputs_;      // invalid for constants
  std::vector<size_t> changed_inputs_;    // positions in user_inputs_: get new content
  std::vector<size_t> versioned_inputs_;  // positions in user_inputs_: nodes may write them
  std::vector<size_t> written_in_place_;  // positions in user_inputs_
  std::vector<WriteBack> write_backs_;
  std::unordered_set<const c10::StorageImpl*> weight_storages_;
};

}  // namespace tenure
