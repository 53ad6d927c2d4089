#include "tenure/engine/null/interpreter.h"

#include <ATen/core/grad_mode.h>

#include <utility>

#include "tenure/base/error.h"
#include "tenure/graph/step.h"

namespace tenure::null {
Interpreter::Interpreter(ProgramFile file) : file_(std::move(file)), initial_(file_.graph.values.size()) {
  resolve_inputs();
  resolve_steps();
  resolve_outputs();
}

void Interpreter::resolve_inputs() {
  for (const GraphInput& input : file_.graph.inputs) {
    switch (input.kind) {
      case GraphInput::Kind::kUser:
        check(file_.graph.value(input.value).kind == ValueKind::kTensor, ErrorCode::kUnsupported, "input ", input.name,
              " is not a tensor");
        user_inputs_.push_back(input.value);
        break;
      case GraphInput::Kind::kUserConstant: break;
      case GraphInput::Kind::kParameter:
      case GraphInput::Kind::kBuffer:
      case GraphInput::Kind::kConstant: {
        const auto weight = file_.weights.find(input.target);
        check(weight != file_.weights.end(), ErrorCode::kBadFile, "the weight ", input.target, " is missing");
        initial_[input.value.index] = weight->second;
        break;
      }
    }
  }
}

void Interpreter::resolve_steps() {
  for (size_t index = 0; index < file_.graph.nodes.size(); ++index) {
    const Node& node = file_.graph.nodes[index];
    with_context([&] { return concat("node ", node.name); },
                 [&] {
                   Step step{.node = NodeId(index), .call = std::nullopt, .function = nullptr};
                   switch (node.kind) {
                     case NodeKind::kOperator: step.call = resolve_call(node); break;
                     case NodeKind::kScalar: step.function = find_scalar_function(node.target, node.inputs.size()); break;
                     case NodeKind::kEngine: throw Error(ErrorCode::kUnsupported, "an engine cannot contain another engine");
                   }
                   steps_.push_back(std::move(step));
                 });
  }
}

void Interpreter::resolve_outputs() {
  for (const GraphOutput& output : file_.graph.outputs) {
    check(output.kind == GraphOutput::Kind::kUser, ErrorCode::kUnsupported, "an engine cannot change ", output.target);
    const bool is_tensor = output.value.is_value() && file_.graph.value(output.value.value()).kind == ValueKind::kTensor;
    check(is_tensor, ErrorCode::kUnsupported, "output ", results_.size(), " is not a tensor");
    results_.push_back(output.value.value());
  }
}

void Interpreter::run_step(const Step& step, Registers& registers) const {
  const Node& node = file_.graph.node(step.node);
  if (step.call) {
    interpret(node, *step.call, registers);
  } else {
    interpret(node, step.function, registers);
  }
}

std::vector<at::Tensor> Interpreter::run(std::span<const at::Tensor> inputs) const {
  const at::NoGradGuard no_grad;
  Registers registers = initial_;
  for (size_t i = 0; i < user_inputs_.size(); ++i) registers[user_inputs_[i].index] = inputs[i];
  for (const Step& step : steps_) {
    with_context([&] { return concat("node ", file_.graph.node(step.node).name); }, [&] { run_step(step, registers); });
  }
  std::vector<at::Tensor> results;
  for (const ValueId id : results_) results.push_back(registers[id.index].toTensor());
  return results;
}

}  // namespace tenure::null
