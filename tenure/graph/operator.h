// tenure/graph/operator.h: from a node of the graph to a call through PyTorch's dispatcher.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

#include <string_view>
#include <vector>

#include "tenure/graph/graph.h"

namespace tenure {

/// The dispatcher's operator of that name ("aten::add.Tensor"). Throws Error(kNotFound) that names the operator and says which
/// library to load.
c10::OperatorHandle find_operator(std::string_view target);

/// A node's call with everything but its values resolved: one argument for each parameter of the operator's schema, in order,
/// defaults filled in, constants converted to the parameter's type.
struct OperatorCall {
  c10::OperatorHandle op;
  std::vector<Argument> arguments;
};

/// Puts the arguments into the order of the operator's schema; those that it does not have go last, for resolve_call to name.
void order_arguments(Node& node, const c10::OperatorHandle& op);

/// Resolves the operator and matches the arguments by name. Throws Error (kNotFound, kBadFile: unknown, missing or wrongly typed
/// argument).
OperatorCall resolve_call(const Node& node);

/// The current value of each ValueId; index = ValueId::index.
using Registers = std::vector<c10::IValue>;

/// The tensor in `value` if it is one that has a storage, else null.
inline const at::Tensor* stored_tensor(const c10::IValue& value) {
  return value.isTensor() && value.toTensor().defined() && value.toTensor().has_storage() ? &value.toTensor() : nullptr;
}

/// The IValue to pass for `argument` to a parameter of type `type`; values are read from `registers`.
c10::IValue materialize(const Argument& argument, const c10::Type& type, const Registers& registers);

/// Calls the operator on `stack` (arguments in, results out). An exception of PyTorch becomes an Error(kOperator), or
/// Error(kRuntimeAssert) for a failed runtime assertion of the exported program, with the message's first line.
void call_operator(const c10::OperatorHandle& op, torch::jit::Stack& stack);

}  // namespace tenure
