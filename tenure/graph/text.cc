#include "tenure/graph/text.h"

#include "tenure/graph/text_names.h"

namespace tenure {
namespace {

using c10::IValue;

constexpr size_t kLongLine = 120;  // characters

std::string print_name(std::string_view name) { return is_plain_name(name) ? std::string(name) : quote_string(name); }

template <typename Range, typename Print>
std::string join(const Range& range, const Print& print) {
  std::string text;
  for (const auto& element : range) {
    if (!text.empty()) text += ", ";
    text += print(element);
  }
  return text;
}

std::string print_exprs(const std::vector<Expr>& exprs) {
  return "[" + join(exprs, [](const Expr& expr) { return expr.to_string(); }) + "]";
}

std::string print_type(const Value& value) {
  switch (value.kind) {
    case ValueKind::kSymInt: return value.expr == Expr() ? ": int" : ": int(" + value.expr.to_string() + ")";
    case ValueKind::kSymFloat: return ": float";
    case ValueKind::kSymBool: return ": bool";
    case ValueKind::kTensor: break;
  }
  if (!value.meta) return "";
  const TensorMeta& meta = *value.meta;
  std::string text = ": " + dtype_name(meta.dtype) + print_exprs(meta.sizes);
  if (meta.strides != contiguous_strides(meta.sizes)) text += " strides " + print_exprs(meta.strides);
  if (meta.storage_offset != Expr()) text += " offset (" + meta.storage_offset.to_string() + ")";
  if (meta.device != at::Device(at::kCPU)) text += " device " + meta.device.str();
  return text;
}

std::string print_constant_list(const IValue& list, std::string_view empty) {
  const auto elements = list.toListRef();
  if (elements.empty()) return std::string(empty);
  return "[" +
         join(elements,
              [](const IValue& element) -> std::string {
                if (element.isIntList()) return print_constant_list(element, "int[]");
                if (element.isBool()) return element.toBool() ? "True" : "False";
                if (element.isInt()) return std::to_string(element.toInt());
                if (element.isDouble()) return print_double(element.toDouble());
                if (element.isString()) return quote_string(element.toStringRef());
                return element.isNone() ? "None" : "<" + element.tagKind() + ">";
              }) +
         "]";
}

/// `parameter` tells whether an int is one of the enums; may be empty. What a file cannot hold (a tensor, say) prints as <Tensor>,
/// for messages, and does not parse.
std::string print_constant(const IValue& constant, std::string_view parameter) {
  if (constant.isInt()) {
    if (const std::optional<IntegerEnum> kind = integer_enum_of(parameter))
      if (const std::optional<std::string> text = integer_enum_text(*kind, constant.toInt())) return *text;
    return std::to_string(constant.toInt());
  }
  if (constant.isNone()) return "None";
  if (constant.isBool()) return constant.toBool() ? "True" : "False";
  if (constant.isDouble()) return print_double(constant.toDouble());
  if (constant.isString()) return quote_string(constant.toStringRef());
  if (constant.isDevice()) return "device " + constant.toDevice().str();
  if (constant.isComplexDouble()) {
    const c10::complex<double> value = constant.toComplexDouble();
    return "complex(" + print_double(value.real()) + ", " + print_double(value.imag()) + ")";
  }
  if (constant.isIntList()) return print_constant_list(constant, "int[]");
  if (constant.isDoubleList()) return print_constant_list(constant, "float[]");
  if (constant.isBoolList()) return print_constant_list(constant, "bool[]");
  if (constant.isList()) {
    const c10::Type& element = *constant.toList().elementType();
    return print_constant_list(constant, element.kind() == c10::TypeKind::StringType ? "str[]" : "int[][]");
  }
  return "<" + constant.tagKind() + ">";
}

class Printer {
 public:
  explicit Printer(const Graph& graph) : graph_(graph) {}

  std::string print() const {
    std::string text = print_signature();
    for (const auto& [symbol, range] : graph_.symbol_ranges) text += "  where " + print_range(symbol, range) + "\n";
    for (size_t i = 0; i < graph_.nodes.size(); ++i) text += "  " + print_node(graph_.nodes[i], i) + "\n";
    return text + "  return (" + join(graph_.outputs, [&](const GraphOutput& output) { return print_output(output); }) + ")\n";
  }

  std::string print_node(const Node& node, std::optional<size_t> index) const {
    std::string text;
    if (!node.outputs.empty())
      text = join(node.outputs, [&](const NodeOutput& output) { return print_definition(output); }) + " = ";
    text += print_target(node) + "(";
    size_t position = 0;
    text += join(node.inputs, [&](const NamedArgument& input) {
      const bool positional = input.name == std::to_string(position++);
      return (positional ? "" : print_name(input.name) + "=") + print_argument(input.value, input.name);
    });
    text += ")";
    const bool has_default = index || !node.outputs.empty();
    if (!has_default || node.name != default_node_name(graph_, node, index.value_or(0))) text += " as " + print_name(node.name);
    return text;
  }

 private:
  /// On one line if it fits, else each input on its own.
  std::string print_signature() const {
    const std::string inputs = join(graph_.inputs, [&](const GraphInput& input) { return print_input(input); });
    if (inputs.size() <= kLongLine) return "graph(" + inputs + "):\n";
    std::string text = "graph(\n";
    for (size_t i = 0; i < graph_.inputs.size(); ++i)
      text += "      " + print_input(graph_.inputs[i]) + (i + 1 < graph_.inputs.size() ? ",\n" : "):\n");
    return text;
  }

  static std::string print_range(const std::string& symbol, const SymbolRange& range) {
    std::string text = print_name(symbol);
    if (range.min) text = std::to_string(*range.min) + " <= " + text;
    if (range.max) text += " <= " + std::to_string(*range.max);
    return text;
  }

  static std::string print_target(const Node& node) {
    if (node.kind == NodeKind::kEngine) return "engine " + quote_string(node.target);
    if (is_plain_target(node.kind, node.target)) return node.target;
    return (node.kind == NodeKind::kOperator ? "operator " : "scalar ") + quote_string(node.target);
  }

  std::string print_value(ValueId id) const {
    return id.index < graph_.values.size() ? "%" + print_name(graph_.value(id).name) : "%<invalid>";
  }

  std::string print_definition(ValueId id) const {
    if (!id.valid()) return "None";
    return print_value(id) + (id.index < graph_.values.size() ? print_type(graph_.value(id)) : "");
  }

  std::string print_definition(const NodeOutput& output) const {
    const std::string text = join(output.values, [&](ValueId id) { return print_definition(id); });
    return output.is_list ? "[" + text + "]" : text;
  }

  std::string print_argument(const Argument& argument, std::string_view parameter) const {
    if (argument.is_constant()) return print_constant(argument.constant(), parameter);
    if (argument.is_value()) return print_value(argument.value());
    const std::string elements = join(argument.list(), [&](const Argument& element) { return print_argument(element, ""); });
    return (is_constant_list(argument.list()) ? "list[" : "[") + elements + "]";
  }

  std::string print_input(const GraphInput& input) const {
    if (input.kind == GraphInput::Kind::kUserConstant) return print_name(input.name) + " = " + print_constant(input.constant, "");
    std::string text = print_definition(input.value);
    const bool renamed = input.value.index >= graph_.values.size() || graph_.value(input.value).name != input.name;
    if (renamed) text += " as " + print_name(input.name);
    switch (input.kind) {
      case GraphInput::Kind::kParameter: return text + " = parameter " + quote_string(input.target);
      case GraphInput::Kind::kBuffer: return text + " = buffer " + quote_string(input.target);
      case GraphInput::Kind::kConstant: return text + " = constant " + quote_string(input.target);
      case GraphInput::Kind::kUser:
      case GraphInput::Kind::kUserConstant: break;
    }
    return text;
  }

  std::string print_output(const GraphOutput& output) const {
    const std::string value = print_argument(output.value, "");
    switch (output.kind) {
      case GraphOutput::Kind::kUser: break;
      case GraphOutput::Kind::kBufferMutation: return "buffer " + quote_string(output.target) + " = " + value;
      case GraphOutput::Kind::kInputMutation: return "input " + quote_string(output.target) + " = " + value;
    }
    return value;
  }

  const Graph& graph_;
};

}  // namespace

std::string to_text(const Graph& graph) { return Printer(graph).print(); }

std::string to_text(const Graph& graph, const Node& node) { return Printer(graph).print_node(node, std::nullopt); }

}  // namespace tenure
