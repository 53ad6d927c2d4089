// tenure/graph/parse.cc: a graph's text -> Graph. One method a construct of the grammar that text.h describes.
#include <ATen/core/List.h>

#include <unordered_map>

#include "tenure/base/error.h"
#include "tenure/graph/text.h"
#include "tenure/graph/text_lexer.h"
#include "tenure/graph/text_names.h"

namespace tenure {
namespace {

using c10::IValue;

constexpr int kMaxListDepth = 16;

template <typename T, typename Convert>
IValue make_list(const Argument::List& elements, const Convert& convert) {
  c10::List<T> list;
  for (const Argument& element : elements) list.push_back(convert(element.constant()));
  return list;
}

/// Elements of one kind (see is_constant_list).
IValue constant_list(const Argument::List& elements) {
  const IValue& first = elements[0].constant();
  if (first.isInt()) return make_list<int64_t>(elements, [](const IValue& v) { return v.toInt(); });
  if (first.isDouble()) return make_list<double>(elements, [](const IValue& v) { return v.toDouble(); });
  if (first.isBool()) return make_list<bool>(elements, [](const IValue& v) { return v.toBool(); });
  if (first.isString()) return make_list<std::string>(elements, [](const IValue& v) { return v.toStringRef(); });
  return make_list<c10::List<int64_t>>(elements, [](const IValue& v) { return v.toIntList(); });
}

class Parser {
 public:
  explicit Parser(std::string_view text) : lexer_(text) {}

  Graph parse() {
    lexer_.expect("graph");
    lexer_.expect("(");
    list_until(")", [&] { input(); });
    lexer_.expect(":");
    while (lexer_.accept("where")) range();
    while (!lexer_.accept("return")) {
      if (lexer_.at_end()) lexer_.fail("expected 'return'");
      node();
    }
    lexer_.expect("(");
    list_until(")", [&] { output(); });
    if (!lexer_.at_end()) lexer_.fail("unexpected text after the graph");
    verify(graph_);
    return std::move(graph_);
  }

 private:
  /// "a, b, c" and the closing bracket.
  template <typename Element>
  void list_until(std::string_view close, const Element& element) {
    for (bool first = true; !lexer_.accept(close); first = false) {
      if (!first) lexer_.expect(",");
      element();
    }
  }

  /// A value where it is made: known to later lines only after define().
  struct Definition {
    size_t position = 0;
    Value value;
  };

  Definition definition() {
    Definition result{.position = lexer_.position(), .value = {}};
    lexer_.expect("%");
    result.value.name = lexer_.name();
    if (result.value.name.empty()) lexer_.fail_at(result.position, "a value needs a name");
    if (lexer_.accept(":")) type(result.value);
    return result;
  }

  ValueId define(Definition definition, NodeId producer) {
    const ValueId id(graph_.values.size());
    if (!ids_.emplace(definition.value.name, id).second)
      lexer_.fail_at(definition.position, concat("value %", definition.value.name, " is made twice"));
    definition.value.producer = producer;
    graph_.values.push_back(std::move(definition.value));
    return id;
  }

  ValueId use() {
    const size_t position = lexer_.position();
    lexer_.expect("%");
    const std::string name = lexer_.name();
    const auto found = ids_.find(name);
    if (found == ids_.end()) lexer_.fail_at(position, concat("value %", name, " is used before it is made"));
    return found->second;
  }

  void type(Value& value) {
    const size_t position = lexer_.position();
    const std::string_view word = lexer_.word();
    if (word == "int") {
      value.kind = ValueKind::kSymInt;
      if (lexer_.accept("(")) value.expr = expr_until(")");
    } else if (word == "float") {
      value.kind = ValueKind::kSymFloat;
    } else if (word == "bool") {
      value.kind = ValueKind::kSymBool;
    } else {
      const std::optional<at::ScalarType> dtype = find_dtype(word);
      if (!dtype) lexer_.fail_at(position, concat("'", word, "' is no dtype, nor int, float or bool"));
      value.meta = tensor_type(*dtype);
    }
  }

  TensorMeta tensor_type(at::ScalarType dtype) {
    TensorMeta meta;
    meta.dtype = dtype;
    meta.sizes = exprs();
    meta.strides = lexer_.accept("strides") ? exprs() : contiguous_strides(meta.sizes);
    if (lexer_.accept("offset")) {
      lexer_.expect("(");
      meta.storage_offset = expr_until(")");
    }
    if (lexer_.accept("device")) meta.device = lexer_.device();
    return meta;
  }

  std::vector<Expr> exprs() {
    lexer_.expect("[");
    std::vector<Expr> result;
    while (!lexer_.accept("]")) {
      if (!result.empty()) lexer_.expect(",");
      result.push_back(expr(",]"));
    }
    return result;
  }

  Expr expr_until(std::string_view close) {
    Expr result = expr(close);
    lexer_.expect(close);
    return result;
  }

  Expr expr(std::string_view ends) {
    const size_t position = lexer_.position();
    const std::string_view text = lexer_.until(ends);
    try {
      return Expr::parse_infix(text);
    } catch (const Error& error) {
      lexer_.fail_at(position, error.message());
    }
  }

  void input() {
    GraphInput result;
    if (lexer_.peek() != '%') {
      result.kind = GraphInput::Kind::kUserConstant;
      result.name = lexer_.name();
      lexer_.expect("=");
      const size_t position = lexer_.position();
      const Argument given = argument(0);
      if (!given.is_constant()) lexer_.fail_at(position, "expected a constant");
      result.constant = given.constant();
      graph_.inputs.push_back(std::move(result));
      return;
    }
    result.value = define(definition(), NodeId());
    result.name = lexer_.accept("as") ? lexer_.name() : graph_.value(result.value).name;
    if (lexer_.accept("=")) {
      if (lexer_.accept("parameter")) {
        result.kind = GraphInput::Kind::kParameter;
      } else if (lexer_.accept("buffer")) {
        result.kind = GraphInput::Kind::kBuffer;
      } else if (lexer_.accept("constant")) {
        result.kind = GraphInput::Kind::kConstant;
      } else {
        lexer_.fail("expected 'parameter', 'buffer' or 'constant'");
      }
      result.target = lexer_.string();
    }
    graph_.inputs.push_back(std::move(result));
  }

  void range() {
    SymbolRange result;
    if (lexer_.at_number()) {
      result.min = lexer_.integer();
      lexer_.expect("<=");
    }
    const size_t position = lexer_.position();
    std::string symbol = lexer_.name();
    if (lexer_.accept("<=")) result.max = lexer_.integer();
    if (!graph_.symbol_ranges.emplace(symbol, result).second)
      lexer_.fail_at(position, concat("symbol ", symbol, " has two ranges"));
  }

  void node() {
    const size_t position = lexer_.position();
    const NodeId id(graph_.nodes.size());
    std::vector<std::vector<Definition>> made;
    Node result;
    if (const char next = lexer_.peek(); next == '%' || next == '[' || lexer_.accept("None")) {
      lexer_.go_back(position);
      do made.push_back(node_output(result));
      while (lexer_.accept(","));
      lexer_.expect("=");
    }
    target(result);
    lexer_.expect("(");
    list_until(")", [&] { result.inputs.push_back(named_argument(result.inputs.size())); });
    // Only now, so that the node cannot read its own results.
    for (size_t i = 0; i < made.size(); ++i)
      for (Definition& one : made[i])
        result.outputs[i].values.push_back(one.value.name.empty() ? ValueId() : define(std::move(one), id));
    result.name = lexer_.accept("as") ? lexer_.name() : default_node_name(graph_, result, id.index);
    graph_.nodes.push_back(std::move(result));
  }

  /// One result, or a list of them; a Definition without a name stands for None.
  std::vector<Definition> node_output(Node& node) {
    NodeOutput output{.is_list = lexer_.accept("["), .values = {}};
    std::vector<Definition> made;
    const auto one = [&] { made.push_back(lexer_.accept("None") ? Definition() : definition()); };
    if (output.is_list) {
      list_until("]", one);
    } else {
      one();
    }
    node.outputs.push_back(std::move(output));
    return made;
  }

  void target(Node& node) {
    const size_t position = lexer_.position();
    if (lexer_.accept("engine") || lexer_.accept("operator") || lexer_.accept("scalar")) {
      lexer_.go_back(position);
      const std::string_view word = lexer_.word();
      node.kind = word == "engine" ? NodeKind::kEngine : word == "operator" ? NodeKind::kOperator : NodeKind::kScalar;
      node.target = lexer_.string();
      return;
    }
    if (!lexer_.at_word()) lexer_.fail("expected an operator's name, 'engine' or 'return'");
    node.target = lexer_.word();
    node.kind = NodeKind::kScalar;
    if (lexer_.accept("::")) {
      node.kind = NodeKind::kOperator;
      node.target += concat("::", lexer_.word());
    }
    if (!is_plain_target(node.kind, node.target))
      lexer_.fail_at(position, concat("'", node.target, "' is neither an operator (namespace::name) nor a function (module.name)"));
  }

  NamedArgument named_argument(size_t index) {
    const size_t position = lexer_.position();
    if (lexer_.at_word() || lexer_.peek() == '"') {
      std::string name = lexer_.name();
      if (lexer_.accept("=")) return {std::move(name), argument(0)};
      lexer_.go_back(position);
    }
    return {std::to_string(index), argument(0)};
  }

  Argument argument(int depth) {
    if (lexer_.peek() == '%') return {use()};
    const size_t position = lexer_.position();
    const bool explicit_list = lexer_.accept("list") && lexer_.peek() == '[';
    if (!explicit_list) lexer_.go_back(position);
    if (!lexer_.accept("[")) return {constant()};
    if (depth == kMaxListDepth) lexer_.fail_at(position, "lists are nested too deeply");
    Argument::List elements;
    list_until("]", [&] { elements.push_back(argument(depth + 1)); });
    if (!explicit_list && is_constant_list(elements)) return {constant_list(elements)};
    return {std::move(elements)};
  }

  IValue constant() {
    if (lexer_.at_number()) return lexer_.number();
    if (lexer_.peek() == '"') return lexer_.string();
    const size_t position = lexer_.position();
    if (!lexer_.at_word()) lexer_.fail("expected a value, a constant or a list");
    const std::string_view word = lexer_.word();
    if (word == "None") return {};
    if (word == "True") return true;
    if (word == "False") return false;
    if (word == "device") return lexer_.device();
    if (word == "complex") return complex();
    if (const std::optional<IntegerEnum> kind = find_integer_enum(word)) return enum_value(*kind);
    if (lexer_.peek() == '[') return empty_list(word);
    lexer_.fail_at(position, concat("'", word, "' is no constant"));
  }

  IValue complex() {
    lexer_.expect("(");
    const double real = lexer_.floating();
    lexer_.expect(",");
    const double imaginary = lexer_.floating();
    lexer_.expect(")");
    return c10::complex<double>(real, imaginary);
  }

  IValue enum_value(IntegerEnum kind) {
    const size_t position = lexer_.position();
    const std::string_view name = lexer_.word();
    const std::optional<int64_t> value = find_integer_enum_value(kind, name);
    if (!value) lexer_.fail_at(position, concat("'", name, "' is unknown here"));
    return *value;
  }

  IValue empty_list(std::string_view element) {
    const size_t position = lexer_.position();
    lexer_.expect("[");
    lexer_.expect("]");
    if (element == "int" && lexer_.accept("[")) {
      lexer_.expect("]");
      return c10::List<c10::List<int64_t>>();
    }
    if (element == "int") return c10::List<int64_t>();
    if (element == "float") return c10::List<double>();
    if (element == "bool") return c10::List<bool>();
    if (element == "str") return c10::List<std::string>();
    lexer_.fail_at(position, concat("there are no lists of ", element));
  }

  void output() {
    GraphOutput result;
    if (lexer_.accept("buffer")) {
      result.kind = GraphOutput::Kind::kBufferMutation;
    } else if (lexer_.accept("input")) {
      result.kind = GraphOutput::Kind::kInputMutation;
    }
    if (result.kind != GraphOutput::Kind::kUser) {
      result.target = lexer_.string();
      lexer_.expect("=");
    }
    result.value = argument(0);
    graph_.outputs.push_back(std::move(result));
  }

  TextLexer lexer_;
  Graph graph_;
  std::unordered_map<std::string, ValueId> ids_;
};

}  // namespace

Graph parse_graph(std::string_view text) { return Parser(text).parse(); }

}  // namespace tenure
