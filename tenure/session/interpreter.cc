#include "tenure/session/interpreter.h"

#include <ATen/ATen.h>

#include <set>

#include "tenure/base/error.h"

namespace tenure {
namespace {

void interpret_operator(const Node& node, const OperatorCall& call, Registers& registers) {
  const auto& parameters = call.op.schema().arguments();
  torch::jit::Stack stack;
  stack.reserve(call.arguments.size());
  for (size_t i = 0; i < call.arguments.size(); ++i)
    stack.push_back(materialize(call.arguments[i], *parameters[i].type(), registers));
  call_operator(call.op, stack);
  store_results(node, stack, registers);
}

void interpret_scalar(const Node& node, ScalarFunction function, Registers& registers) {
  std::vector<c10::IValue> arguments;
  arguments.reserve(node.inputs.size());
  for (const NamedArgument& input : node.inputs) {
    check(!input.value.is_list(), ErrorCode::kUnsupported, "a list as the argument of ", node.target);
    arguments.push_back(input.value.is_value() ? registers[input.value.value().index] : input.value.constant());
  }
  c10::IValue result = function(arguments);
  for_each_output(node, [&](ValueId value) { registers[value.index] = result; });
}

void interpret_engine(const Node& node, const Engine& engine, EngineContext& context, Registers& registers) {
  const std::vector<at::Tensor> inputs = engine_inputs(node, registers);
  for (size_t i = 0; i < inputs.size(); ++i) context.bind_input(i, inputs[i]);
  std::vector<at::Tensor> outputs;  // also those that nobody reads: the engine writes them
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    const std::optional<size_t> aliased = engine.spec().outputs[i].aliases_input;
    outputs.push_back(aliased ? inputs[*aliased] : at::empty(engine.output_sizes(i, inputs), engine.spec().outputs[i].dtype));
    context.bind_output(i, outputs.back());
  }
  context.enqueue();
  write_aliased_inputs(node, engine, inputs, registers, outputs);
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    for (ValueId value : node.outputs[i].values)
      if (value.valid()) registers[value.index] = outputs[i];
  }
}

}  // namespace

ReleaseTable::ReleaseTable(const Graph& graph) : after(graph.nodes.size()) {
  std::set<ValueId> needed;
  for (const GraphOutput& output : graph.outputs) for_each_value(output.value, [&](ValueId value) { needed.insert(value); });
  for (const GraphInput& input : graph.inputs)
    if (input.value.valid()) needed.insert(input.value);  // inputs are released at the end of the run
  for (size_t i = graph.nodes.size(); i-- > 0;) {
    const auto release = [&](ValueId value) {
      if (needed.insert(value).second) after[i].push_back(value);
    };
    for_each_input(graph.nodes[i], release);
    for_each_output(graph.nodes[i], release);
  }
}

EngineContext& context_of(const ResolvedNode& resolved, size_t node, EngineContexts& contexts) {
  if (contexts[node] == nullptr) contexts[node] = resolved.engine->make_context();
  return *contexts[node];
}

std::vector<at::Tensor> engine_inputs(const Node& node, const Registers& registers) {
  std::vector<at::Tensor> inputs;
  inputs.reserve(node.inputs.size());
  for (const NamedArgument& input : node.inputs) {
    const at::Tensor& tensor = registers[input.value.value().index].toTensor();
    const bool lazy = tensor.is_conj() || tensor.is_neg();  // the bits in memory are not the values yet
    inputs.push_back((lazy ? tensor.resolve_conj().resolve_neg() : tensor).contiguous());
  }
  return inputs;
}

void write_aliased_inputs(const Node& node, const Engine& engine, const std::vector<at::Tensor>& inputs, const Registers& registers,
                          std::vector<at::Tensor>& outputs) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    const std::optional<size_t> aliased = engine.spec().outputs[i].aliases_input;
    if (!aliased) continue;
    const at::Tensor& original = registers[node.inputs[*aliased].value.value().index].toTensor();
    if (!original.is_same(inputs[*aliased])) original.copy_(inputs[*aliased]);  // the engine wrote into a dense copy
    outputs[i] = original;
  }
}

c10::ArrayRef<c10::IValue> elements_of(const Node& node, const NodeOutput& output, const c10::IValue& list) {
  const auto elements = list.toListRef();
  check(elements.size() == output.values.size(), ErrorCode::kBadFile, node.target, " returned a list of ", elements.size(),
        " tensors, but the file names ", output.values.size());
  return elements;
}

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

void interpret_node(const Program& program, size_t index, EngineContexts& contexts, Registers& registers) {
  const Node& node = program.graph().nodes[index];
  const ResolvedNode& resolved = program.nodes()[index];
  with_context([&] { return concat("node ", node.name, " (", node.target, ")"); },
               [&] {
                 switch (node.kind) {
                   case NodeKind::kOperator: interpret_operator(node, *resolved.call, registers); break;
                   case NodeKind::kScalar: interpret_scalar(node, resolved.scalar, registers); break;
                   case NodeKind::kEngine:
                     interpret_engine(node, *resolved.engine, context_of(resolved, index, contexts), registers);
                     break;
                 }
               });
}

}  // namespace tenure
