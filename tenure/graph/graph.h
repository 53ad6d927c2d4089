// tenure/graph/graph.h: the program as data: SSA values, nodes in execution order, inputs and outputs.
//
// A Graph owns its values and nodes in two vectors; everything else refers to them by id. It is plain data: built once by the
// archive reader or the text parser, checked by verify(), then only read. Reading it is thread-safe.
#pragma once

#include <ATen/core/ivalue.h>
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tenure/base/ids.h"
#include "tenure/graph/expr.h"

namespace tenure {

enum class ValueKind { kTensor, kSymInt, kSymFloat, kSymBool };

/// What is known of a tensor before a run.
struct TensorMeta {
  at::ScalarType dtype = at::kFloat;
  std::vector<Expr> sizes;
  std::vector<Expr> strides;  // in elements, one per size
  Expr storage_offset;        // in elements
  at::Device device = at::kCPU;
};

/// One SSA value. `producer` is invalid for graph inputs.
struct Value {
  std::string name;  // unique in the graph
  ValueKind kind = ValueKind::kTensor;
  NodeId producer;
  std::optional<TensorMeta> meta;  // tensors, where the file tells it
  Expr expr;                       // kSymInt: what it stands for; else 0
};

/// An argument of a node: a constant (int, float, bool, string, dtype, device, list of such, None ...), a value, or a list of
/// arguments of which at least one is a value (or which the operator takes as a list of tensors).
struct Argument {
  using List = std::vector<Argument>;
  std::variant<c10::IValue, ValueId, List> data;

  bool is_constant() const { return data.index() == 0; }
  bool is_value() const { return data.index() == 1; }
  bool is_list() const { return data.index() == 2; }
  const c10::IValue& constant() const { return std::get<0>(data); }
  ValueId value() const { return std::get<1>(data); }
  const List& list() const { return std::get<2>(data); }
};

/// Calls `visit(ValueId)` for every value in the argument, in order.
template <typename Visit>
void for_each_value(const Argument& argument, const Visit& visit) {
  if (argument.is_value()) visit(argument.value());
  if (argument.is_list())
    for (const Argument& element : argument.list()) for_each_value(element, visit);
}

struct NamedArgument {
  std::string name;  // the parameter's name in the operator's schema
  Argument value;
};

/// One result of a node: a value, or a list of values (an operator that returns Tensor[]). An id is invalid where the operator
/// returned None.
struct NodeOutput {
  bool is_list = false;
  std::vector<ValueId> values;
};

enum class NodeKind {
  kOperator,  // `target` is a dispatcher name: "aten::add.Tensor"
  kScalar,    // `target` is a Python function on numbers: "_operator.add", "math.ceil", "torch.sym_max"
  kEngine,    // `target` is the engine's name; the arguments are its inputs in order, outputs its outputs in order
};

struct Node {
  std::string name;  // unique in the graph; what messages call it
  NodeKind kind = NodeKind::kOperator;
  std::string target;
  std::vector<NamedArgument> inputs;
  std::vector<NodeOutput> outputs;
};

/// Calls `visit(ValueId)` for every (valid) value that the node produces.
template <typename Visit>
void for_each_output(const Node& node, const Visit& visit) {
  for (const NodeOutput& output : node.outputs)
    for (ValueId value : output.values)
      if (value.valid()) visit(value);
}

/// Calls `visit(ValueId)` for every value that the node reads.
template <typename Visit>
void for_each_input(const Node& node, const Visit& visit) {
  for (const NamedArgument& input : node.inputs) for_each_value(input.value, visit);
}

struct GraphInput {
  enum class Kind {
    kUser,          // the caller passes it: tensor or number
    kUserConstant,  // the caller passes it, and it must equal `constant` (None, int, string ...); `value` is invalid
    kParameter,     // weights["target"]
    kBuffer,        // weights["target"]; may be mutated: state
    kConstant,      // weights["target"], a lifted tensor constant
  };
  Kind kind = Kind::kUser;
  ValueId value;
  std::string target;    // fully qualified name of the weight; empty for user inputs
  std::string name;      // the placeholder's name
  c10::IValue constant;  // kUserConstant only
};

struct GraphOutput {
  enum class Kind {
    kUser,            // returned to the caller
    kBufferMutation,  // the new content of buffer `target` (fully qualified name)
    kInputMutation,   // the new content of the user input named `target`
  };
  Kind kind = Kind::kUser;
  Argument value;  // a value or a constant
  std::string target;
};

/// Allowed values of a symbol, both ends included; missing = unbounded.
struct SymbolRange {
  std::optional<int64_t> min;
  std::optional<int64_t> max;
};

struct Graph {
  std::vector<Value> values;
  std::vector<Node> nodes;  // in execution order
  std::vector<GraphInput> inputs;
  std::vector<GraphOutput> outputs;
  std::map<std::string, SymbolRange> symbol_ranges;

  const Value& value(ValueId id) const { return values[id.index]; }
  const Node& node(NodeId id) const { return nodes[id.index]; }
};

/// The graph input whose new content `output` is; invalid if it is none's, or the input that it names is not there.
ValueId mutated_input(const Graph& graph, const GraphOutput& output);

/// Throws Error(kBadFile) naming the first thing that is wrong: an id out of range, a value used before it is made or made twice,
/// an empty or repeated name, a node whose outputs do not name it as producer.
void verify(const Graph& graph);

}  // namespace tenure
