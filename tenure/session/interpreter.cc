#include "tenure/session/interpreter.h"

#include <ATen/ATen.h>

#include <set>

#include "tenure/base/error.h"
#include "tenure/graph/step.h"

namespace tenure {
namespace {

void interpret_engine(const Node& node, const ResolvedNode& resolved, FrameContext& of_frame, Registers& registers,
                      RunTrace* trace) {
  const Engine& engine = *resolved.engine;
  EngineContext& context = *of_frame.context;
  of_frame.bound_by = 0;
  const std::vector<at::Tensor> inputs = engine_inputs(node, registers);
  for (size_t i = 0; i < inputs.size(); ++i) context.bind_input(i, inputs[i]);
  std::vector<at::Tensor> outputs;  // also those that nobody reads: the engine writes them
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    if (engine.sizes_depend_on_data(i)) {
      outputs.emplace_back();
      continue;
    }
    const std::optional<size_t> aliased = engine.spec().outputs[i].aliases_input;
    outputs.push_back(aliased ? inputs[*aliased] : at::empty(engine.output_sizes(i, inputs), resolved.output_options[i]));
    context.bind_output(i, outputs.back());
  }
  run_bound(context, trace);
  take_outputs(engine, context, outputs);
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

FrameContext& context_of(const ResolvedNode& resolved, size_t node, EngineContexts& contexts) {
  if (contexts[node].context == nullptr) contexts[node].context = resolved.engine->make_context();
  return contexts[node];
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

void take_outputs(const Engine& engine, EngineContext& context, std::vector<at::Tensor>& outputs) {
  for (size_t i = 0; i < outputs.size(); ++i)
    if (engine.sizes_depend_on_data(i)) outputs[i] = context.take_output(i);
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

void run_bound(EngineContext& context, RunTrace* trace) {
  if (trace == nullptr || !trace->may_wait()) return context.enqueue();
  trace->note_layers(context.enqueue_and_time());
}

void interpret_node(const Program& program, size_t index, EngineContexts& contexts, Registers& registers, RunTrace* trace) {
  const Node& node = program.graph().nodes[index];
  const ResolvedNode& resolved = program.nodes()[index];
  if (trace != nullptr) trace->begin_node(index);
  with_context([&] { return concat("node ", node.name, " (", node.target, ")"); },
               [&] {
                 switch (node.kind) {
                   case NodeKind::kOperator: interpret(node, *resolved.call, registers); break;
                   case NodeKind::kScalar: interpret(node, resolved.scalar, registers); break;
                   case NodeKind::kEngine:
                     interpret_engine(node, resolved, context_of(resolved, index, contexts), registers, trace);
                     break;
                 }
               });
  if (trace != nullptr) trace->end_node();
}

}  // namespace tenure
