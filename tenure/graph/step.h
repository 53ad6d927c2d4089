// tenure/graph/step.h: one node run in the plainest way: look up arguments, call, store results.
#pragma once

#include "tenure/graph/operator.h"
#include "tenure/graph/scalar.h"

namespace tenure {

/// Reads and writes `registers`. Throws what call_operator throws, and Error(kBadFile) if the results are not what the file names.
void interpret(const Node& node, const OperatorCall& call, Registers& registers);
void interpret(const Node& node, ScalarFunction function, Registers& registers);

/// The elements of a node's result that is a list. Throws Error(kBadFile) if there are fewer than the file names; more there may
/// be: where() gives one for each dimension of a buffer that an earlier run unsqueezed.
c10::ArrayRef<c10::IValue> elements_of(const Node& node, const NodeOutput& output, const c10::IValue& list);

}  // namespace tenure
