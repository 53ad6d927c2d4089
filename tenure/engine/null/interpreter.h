// tenure/engine/null/interpreter.h: runs a graph node by node through PyTorch's dispatcher, as simply as can be: no plan, no reuse.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/stack.h>

#include <optional>
#include <span>
#include <vector>

#include "tenure/archive/archive.h"
#include "tenure/graph/operator.h"
#include "tenure/graph/scalar.h"

namespace tenure::null {

/// A part whose operators are resolved. Immutable, thread-safe.
class Interpreter {
 public:
  /// Throws Error(kUnsupported) for what an engine's part cannot have: inputs and results that are not tensors, state that changes,
  /// other engines inside; and what resolve_call and find_scalar_function throw.
  explicit Interpreter(ProgramFile file);

  size_t input_count() const { return user_inputs_.size(); }
  size_t output_count() const { return results_.size(); }

  /// The results for these inputs, which are left as they are.
  std::vector<at::Tensor> run(std::span<const at::Tensor> inputs) const;

 private:
  struct Step {
    NodeId node;
    std::optional<OperatorCall> call;   // an operator ...
    ScalarFunction function = nullptr;  // ... or a function on numbers
  };

  void resolve_inputs();
  void resolve_steps();
  void resolve_outputs();
  void run_step(const Step& step, Registers& registers) const;

  ProgramFile file_;
  Registers initial_;  // the weights; index = ValueId::index
  std::vector<ValueId> user_inputs_;
  std::vector<Step> steps_;
  std::vector<ValueId> results_;
};

}  // namespace tenure::null
