#include "tenure/graph/graph.h"

namespace tenure {

ValueId mutated_input(const Graph& graph, const GraphOutput& output) {
  if (output.kind == GraphOutput::Kind::kUser) return {};
  const bool of_user = output.kind == GraphOutput::Kind::kInputMutation;
  for (const GraphInput& input : graph.inputs) {
    const bool is_user = input.kind == GraphInput::Kind::kUser || input.kind == GraphInput::Kind::kUserConstant;
    if (is_user == of_user && (of_user ? input.name : input.target) == output.target && input.value.valid()) return input.value;
  }
  return {};
}

}  // namespace tenure
