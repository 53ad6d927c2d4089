// tenure/graph/verify.cc: what every later layer takes for granted about a graph.
#include <algorithm>
#include <string>
#include <unordered_set>
#include <vector>

#include "tenure/base/error.h"
#include "tenure/graph/graph.h"

namespace tenure {
namespace {

class Verifier {
 public:
  explicit Verifier(const Graph& graph) : graph_(graph), made_(graph.values.size(), false) {}

  void run() {
    verify_values();
    verify_ranges();
    verify_inputs();
    std::unordered_set<std::string> names;
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      const Node& node = graph_.nodes[i];
      require(!node.name.empty(), "node ", i, " has no name");
      require(names.insert(node.name).second, "two nodes are called ", node.name);
      with_context([&] { return "node " + node.name; }, [&] { verify_node(node, NodeId(i)); });
    }
    verify_outputs();
    for (size_t i = 0; i < made_.size(); ++i) require(made_[i], "value ", graph_.values[i].name, " is made by nothing");
  }

 private:
  template <typename... Args>
  static void require(bool condition, const Args&... what) {
    check(condition, ErrorCode::kBadFile, what...);
  }

  void verify_values() const {
    std::unordered_set<std::string> names;
    for (size_t i = 0; i < graph_.values.size(); ++i) {
      const Value& value = graph_.values[i];
      require(!value.name.empty(), "value ", i, " has no name");
      require(names.insert(value.name).second, "two values are called ", value.name);
      require(!value.producer.valid() || value.producer.index < graph_.nodes.size(), "value ", value.name, " is made by node ",
              value.producer.index, ", of ", graph_.nodes.size());
      require(value.kind == ValueKind::kSymInt || value.expr == Expr(), "value ", value.name,
              " is no integer but has the expression ", value.expr.to_string());
      if (value.meta) verify_meta(value);
    }
  }

  static void verify_meta(const Value& value) {
    require(value.kind == ValueKind::kTensor, "value ", value.name, " is a number but has a tensor's shape");
    const TensorMeta& meta = *value.meta;
    require(meta.sizes.size() == meta.strides.size(), "value ", value.name, " has ", meta.sizes.size(), " sizes but ",
            meta.strides.size(), " strides");
    const auto require_natural = [&](const Expr& number) {
      require(number.constant().value_or(0) >= 0, "value ", value.name, " has the size, stride or offset ", number.to_string());
    };
    for (const Expr& size : meta.sizes) require_natural(size);
    for (const Expr& stride : meta.strides) require_natural(stride);
    require_natural(meta.storage_offset);
  }

  void verify_ranges() const {
    for (const auto& [symbol, range] : graph_.symbol_ranges) {
      require(!symbol.empty(), "a symbol with a range has no name");
      require(!range.min || !range.max || *range.min <= *range.max, "no integer lies in the range of symbol ", symbol);
    }
  }

  void verify_inputs() {
    std::unordered_set<std::string> names;
    for (size_t i = 0; i < graph_.inputs.size(); ++i) {
      const GraphInput& input = graph_.inputs[i];
      require(!input.name.empty(), "input ", i, " has no name");
      require(names.insert(input.name).second, "two inputs are called ", input.name);
      if (input.kind == GraphInput::Kind::kUserConstant) {
        require(!input.value.valid(), "input ", input.name, " is a constant, yet names a value");
        continue;
      }
      const Value& value = make(input.value, NodeId());
      const bool is_weight = input.kind != GraphInput::Kind::kUser;
      require(!is_weight || value.kind == ValueKind::kTensor, "weight ", input.name, " is no tensor");
      require(is_weight == !input.target.empty(), "input ", input.name,
              is_weight ? " does not say which weight it is" : " comes from the caller, yet names a weight");
    }
  }

  void verify_node(const Node& node, NodeId id) {
    require(!node.target.empty(), "it calls nothing: its target is empty");
    std::unordered_set<std::string> names;
    for (const NamedArgument& input : node.inputs) {
      require(!input.name.empty(), "an argument has no name");
      require(names.insert(input.name).second, "argument ", input.name, " is given twice");
      for_each_value(input.value, [&](ValueId value) { use(value); });
    }
    for (const NodeOutput& output : node.outputs) {
      require(output.is_list || output.values.size() == 1, "a result that is not a list has ", output.values.size(), " values");
      for (const ValueId value : output.values)
        if (value.valid()) make(value, id);
    }
  }

  void verify_outputs() const {
    for (const GraphOutput& output : graph_.outputs) {
      for_each_value(output.value, [&](ValueId value) { use(value); });
      if (output.kind == GraphOutput::Kind::kUser) {
        require(output.target.empty(), "an output for the caller names the target ", output.target);
        continue;
      }
      const bool is_buffer = output.kind == GraphOutput::Kind::kBufferMutation;
      const bool found = std::any_of(graph_.inputs.begin(), graph_.inputs.end(), [&](const GraphInput& input) {
        return is_buffer ? input.kind == GraphInput::Kind::kBuffer && input.target == output.target
                         : input.kind == GraphInput::Kind::kUser && input.name == output.target;
      });
      require(found, "an output changes the ", is_buffer ? "buffer " : "input ", output.target, ", which is not among the inputs");
      require(output.value.is_value() && graph_.value(output.value.value()).kind == ValueKind::kTensor, "the new content of ",
              output.target, " is no tensor");
    }
  }

  const Value& in_range(ValueId id) const {
    require(id.index < graph_.values.size(), "value number ", id.index, " does not exist; there are ", graph_.values.size());
    return graph_.value(id);
  }

  void use(ValueId id) const {
    const Value& value = in_range(id);
    require(made_[id.index], "value ", value.name, " is used before it is made");
  }

  const Value& make(ValueId id, NodeId producer) {
    const Value& value = in_range(id);
    require(!made_[id.index], "value ", value.name, " is made twice");
    require(value.producer == producer, "value ", value.name, " names another producer than what makes it");
    made_[id.index] = true;
    return value;
  }

  const Graph& graph_;
  std::vector<bool> made_;  // by ValueId
};

}  // namespace

void verify(const Graph& graph) { Verifier(graph).run(); }

}  // namespace tenure
