#include "tenure/graph/step.h"

#include "tenure/base/error.h"

namespace tenure {
namespace {

// Distributes an operator's results to the registers of the node's outputs.
void store_results(const Node& node, torch::jit::Stack& stack, Registers& registers) {
  check(stack.size() >= node.outputs.size(), ErrorCode::kBadFile, node.target, " returned ", stack.size(),
        " results, but the file names ", node.outputs.size());
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    const NodeOutput& output = node.outputs[i];
    if (!output.is_list) {
      if (!output.values.empty() && output.values[0].valid()) registers[output.values[0].index] = std::move(stack[i]);
      continue;
    }
    const auto elements = elements_of(node, output, stack[i]);
    for (size_t k = 0; k < output.values.size(); ++k)
      if (output.values[k].valid()) registers[output.values[k].index] = elements[k];
  }
}

}  // namespace

void interpret(const Node& node, const OperatorCall& call, Registers& registers) {
  const auto& parameters = call.op.schema().arguments();
  torch::jit::Stack stack;
  stack.reserve(call.arguments.size());
  for (size_t i = 0; i < call.arguments.size(); ++i)
    stack.push_back(materialize(call.arguments[i], *parameters[i].type(), registers));
  call_operator(call.op, stack);
  store_results(node, stack, registers);
}

void interpret(const Node& node, ScalarFunction function, Registers& registers) {
  std::vector<c10::IValue> arguments;
  arguments.reserve(node.inputs.size());
  for (const NamedArgument& input : node.inputs) {
    check(!input.value.is_list(), ErrorCode::kUnsupported, "a list as the argument of ", node.target);
    arguments.push_back(input.value.is_value() ? registers[input.value.value().index] : input.value.constant());
  }
  c10::IValue result = function(arguments);
  for_each_output(node, [&](ValueId value) { registers[value.index] = result; });
}

c10::ArrayRef<c10::IValue> elements_of(const Node& node, const NodeOutput& output, const c10::IValue& list) {
  const auto elements = list.toListRef();
  check(elements.size() >= output.values.size(), ErrorCode::kBadFile, node.target, " returned a list of ", elements.size(),
        " tensors, but the file names ", output.values.size());
  return elements;
}

}  // namespace tenure
