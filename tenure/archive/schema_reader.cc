// The only file that includes torch's generated schema header, which is slow to compile. Stages: check what that header's readers
// trust, convert the JSON to the schema's classes, then walk inputs, nodes and outputs in order, naming values as they are made.
#include "tenure/archive/schema_reader.h"

#include <torch/csrc/utils/generated_serialization_types.h>

#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>

#include "tenure/archive/foreign_error.h"
#include "tenure/archive/json_text.h"
#include "tenure/archive/node_target.h"
#include "tenure/archive/schema_enums.h"

namespace tenure {
namespace {

namespace schema = torch::_export;
using c10::IValue;
using Tag = schema::Argument::Tag;

constexpr int64_t kSchemaMajor = 8;

[[noreturn]] void unknown_kind() {
  throw Error(ErrorCode::kUnsupported, "this is of a kind that this version does not know; use a newer Tenure");
}

// Runs `body` with the context `where()`. A union of the schema whose JSON has none of the known members throws from its getters.
template <typename Where, typename Body>
decltype(auto) located(const Where& where, const Body& body) {
  return with_context(where, [&]() -> decltype(auto) {
    try {
      return body();
    } catch (const std::bad_variant_access&) {
      unknown_kind();
    }
  });
}

template <typename T>
IValue constant_list(const std::vector<T>& elements) {
  return c10::List<T>(c10::ArrayRef<T>(elements));
}

IValue constant_list(const std::vector<schema::F64>& elements) {
  c10::List<double> list;
  for (const schema::F64& element : elements) list.push_back(element.get());
  return list;
}

IValue constant_list(const std::vector<bool>& elements) {
  c10::List<bool> list;
  for (const bool element : elements) list.push_back(element);
  return list;
}

IValue constant_list(const std::vector<std::vector<int64_t>>& elements) {
  c10::List<c10::List<int64_t>> list;
  for (const auto& element : elements) list.push_back(c10::List<int64_t>(c10::ArrayRef<int64_t>(element)));
  return list;
}

at::Device read_device(const schema::Device& device) { return device_of_schema(device.get_type(), device.get_index()); }

IValue read_constant(const schema::ConstantValue& value) {
  switch (value.tag()) {
    case schema::ConstantValue::Tag::AS_NONE: value.get_as_none(); return {};
    case schema::ConstantValue::Tag::AS_INT: return value.get_as_int();
    case schema::ConstantValue::Tag::AS_FLOAT: return value.get_as_float().get();
    case schema::ConstantValue::Tag::AS_STRING: return value.get_as_string();
    case schema::ConstantValue::Tag::AS_BOOL: return value.get_as_bool();
  }
  unknown_kind();
}

// Fills a Graph. Each read_* adds what it reads; errors gain the node's or argument's name on the way out.
class GraphReader {
 public:
  GraphReader(const schema::GraphModule& module, const std::unordered_map<std::string, schema::RangeConstraint>& ranges)
      : source_(module.get_graph()), signature_(module.get_signature()) {
    for (const auto& [symbol, range] : ranges) graph_.symbol_ranges[symbol] = {range.get_min_val(), range.get_max_val()};
  }

  Graph read() {
    read_inputs();
    for (size_t i = 0; i < source_.get_nodes().size(); ++i) read_node(source_.get_nodes()[i], i);
    read_outputs();
    return std::move(graph_);
  }

 private:
  // Values.
  ValueId define(const std::string& name, ValueKind kind, NodeId producer);
  ValueId find(const std::string& name, ValueKind kind) const;
  TensorMeta read_meta(const schema::TensorMeta& meta);
  Expr read_size(const schema::SymInt& size);
  Expr read_expr(const std::string& text);

  // Arguments.
  Argument read_argument(const schema::Argument& argument) const;
  Argument tensor(const schema::TensorArgument& argument) const { return {find(argument.get_name(), ValueKind::kTensor)}; }
  Argument tensor(const schema::OptionalTensorArgument& argument) const;
  Argument number(const schema::SymIntArgument& argument) const;
  Argument number(const schema::SymFloatArgument& argument) const;
  Argument number(const schema::SymBoolArgument& argument) const;
  template <typename Element>
  Argument tensors(const std::vector<Element>& elements) const;
  template <typename T, typename Element>
  Argument numbers(const std::vector<Element>& elements) const;

  // Nodes.
  void read_node(const schema::Node& node, size_t index);
  void read_engine_call(const schema::Node& source, NodeId id, Node& node);
  NodeOutput read_node_output(const schema::Argument& output, NodeId producer, const std::string& fallback_name);

  // Signature.
  void read_inputs();
  GraphInput read_input(const schema::InputSpec& spec, const schema::Argument& argument, size_t index);
  GraphInput read_user_input(const schema::Argument& argument, size_t index);
  void read_outputs();
  GraphOutput read_output(const schema::OutputSpec& spec, const schema::Argument& argument) const;
  const GraphInput* find_input(GraphInput::Kind kind, const std::string& key) const;

  const schema::Graph& source_;
  const schema::GraphSignature& signature_;
  Graph graph_;
  std::unordered_map<std::string, ValueId> values_;
  size_t unknown_sizes_ = 0;
};

ValueId GraphReader::define(const std::string& name, ValueKind kind, NodeId producer) {
  const ValueId id(graph_.values.size());
  check(values_.emplace(name, id).second, ErrorCode::kBadFile, "value ", name, " is made twice");
  Value value{name, kind, producer, std::nullopt, Expr()};
  if (kind == ValueKind::kTensor) {
    const auto meta = source_.get_tensor_values().find(name);
    if (meta != source_.get_tensor_values().end()) value.meta = read_meta(meta->second);
  }
  if (kind == ValueKind::kSymInt) {
    const auto size = source_.get_sym_int_values().find(name);
    check(size != source_.get_sym_int_values().end(), ErrorCode::kBadFile, "value ", name, " is missing from sym_int_values");
    value.expr = read_size(size->second);
  }
  graph_.values.push_back(std::move(value));
  return id;
}

ValueId GraphReader::find(const std::string& name, ValueKind kind) const {
  const auto found = values_.find(name);
  check(found != values_.end(), ErrorCode::kBadFile, "value ", name, " is used before anything makes it");
  check(graph_.value(found->second).kind == kind, ErrorCode::kBadFile, "value ", name, " is used as another kind than it is made");
  return found->second;
}

TensorMeta GraphReader::read_meta(const schema::TensorMeta& meta) {
  check(layout_of_schema(static_cast<int64_t>(meta.get_layout())) == at::Layout::Strided, ErrorCode::kUnsupported,
        "sparse tensors and other layouts that are not strided cannot run");
  TensorMeta result;
  result.dtype = dtype_of_schema(static_cast<int64_t>(meta.get_dtype()));
  for (const schema::SymInt& size : meta.get_sizes()) result.sizes.push_back(read_size(size));
  for (const schema::SymInt& stride : meta.get_strides()) result.strides.push_back(read_size(stride));
  result.storage_offset = read_size(meta.get_storage_offset());
  result.device = read_device(meta.get_device());
  check(result.sizes.size() == result.strides.size(), ErrorCode::kBadFile, "a tensor has ", result.sizes.size(), " sizes but ",
        result.strides.size(), " strides");
  return result;
}

Expr GraphReader::read_size(const schema::SymInt& size) {
  if (size.tag() == schema::SymInt::Tag::AS_INT) return Expr(size.get_as_int());
  return read_expr(size.get_as_expr().get_expr_str());
}

// A size that Expr has no function for is unknown until a run: a symbol that nothing defines, another one for each such size.
Expr GraphReader::read_expr(const std::string& text) {
  try {
    return Expr::parse(text);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kUnsupported) throw;
    return Expr::parse(concat("Symbol('unknown_", unknown_sizes_++, "')"));
  }
}

Argument GraphReader::tensor(const schema::OptionalTensorArgument& argument) const {
  if (argument.tag() == schema::OptionalTensorArgument::Tag::AS_TENSOR) return tensor(argument.get_as_tensor());
  argument.get_as_none();
  return {IValue()};
}

Argument GraphReader::number(const schema::SymIntArgument& argument) const {
  if (argument.tag() == schema::SymIntArgument::Tag::AS_NAME) return {find(argument.get_as_name(), ValueKind::kSymInt)};
  return {IValue(argument.get_as_int())};
}

Argument GraphReader::number(const schema::SymFloatArgument& argument) const {
  if (argument.tag() == schema::SymFloatArgument::Tag::AS_NAME) return {find(argument.get_as_name(), ValueKind::kSymFloat)};
  return {IValue(argument.get_as_float().get())};
}

Argument GraphReader::number(const schema::SymBoolArgument& argument) const {
  if (argument.tag() == schema::SymBoolArgument::Tag::AS_NAME) return {find(argument.get_as_name(), ValueKind::kSymBool)};
  return {IValue(argument.get_as_bool())};
}

template <typename Element>
Argument GraphReader::tensors(const std::vector<Element>& elements) const {
  Argument::List list;
  for (const Element& element : elements) list.push_back(tensor(element));
  return {std::move(list)};
}

// A list in which no element is a value is a constant.
template <typename T, typename Element>
Argument GraphReader::numbers(const std::vector<Element>& elements) const {
  Argument::List list;
  c10::List<T> constants;
  for (const Element& element : elements) {
    list.push_back(number(element));
    if (list.back().is_constant()) constants.push_back(list.back().constant().to<T>());
  }
  if (constants.size() == list.size()) return {IValue(std::move(constants))};
  return {std::move(list)};
}

Argument GraphReader::read_argument(const schema::Argument& argument) const {
  switch (argument.tag()) {
    case Tag::AS_NONE: argument.get_as_none(); return {IValue()};
    case Tag::AS_TENSOR: return tensor(argument.get_as_tensor());
    case Tag::AS_OPTIONAL_TENSOR: return tensor(argument.get_as_optional_tensor());
    case Tag::AS_TENSORS: return tensors(argument.get_as_tensors());
    case Tag::AS_OPTIONAL_TENSORS: return tensors(argument.get_as_optional_tensors());
    case Tag::AS_NESTED_TENSORS: {
      Argument::List list;
      for (const auto& inner : argument.get_as_nested_tensors()) list.push_back(tensors(inner));
      return {std::move(list)};
    }
    case Tag::AS_INT: return {IValue(argument.get_as_int())};
    case Tag::AS_INTS: return {constant_list(argument.get_as_ints())};
    case Tag::AS_INT_LISTS: return {constant_list(argument.get_as_int_lists())};
    case Tag::AS_FLOAT: return {IValue(argument.get_as_float().get())};
    case Tag::AS_FLOATS: return {constant_list(argument.get_as_floats())};
    case Tag::AS_BOOL: return {IValue(argument.get_as_bool())};
    case Tag::AS_BOOLS: return {constant_list(argument.get_as_bools())};
    case Tag::AS_STRING: return {IValue(argument.get_as_string())};
    case Tag::AS_STRINGS: return {constant_list(argument.get_as_strings())};
    case Tag::AS_COMPLEX: {
      const schema::ComplexValue& value = argument.get_as_complex();
      return {IValue(c10::complex<double>(value.get_real().get(), value.get_imag().get()))};
    }
    case Tag::AS_SYM_INT: return number(argument.get_as_sym_int());
    case Tag::AS_SYM_INTS: return numbers<int64_t>(argument.get_as_sym_ints());
    case Tag::AS_SYM_FLOAT: return number(argument.get_as_sym_float());
    case Tag::AS_SYM_FLOATS: return numbers<double>(argument.get_as_sym_floats());
    case Tag::AS_SYM_BOOL: return number(argument.get_as_sym_bool());
    case Tag::AS_SYM_BOOLS: return numbers<bool>(argument.get_as_sym_bools());
    // c10's numbers, which is how operators take them.
    case Tag::AS_SCALAR_TYPE:
      return {IValue(static_cast<int64_t>(dtype_of_schema(static_cast<int64_t>(argument.get_as_scalar_type()))))};
    case Tag::AS_LAYOUT: return {IValue(static_cast<int64_t>(layout_of_schema(static_cast<int64_t>(argument.get_as_layout()))))};
    case Tag::AS_MEMORY_FORMAT:
      return {IValue(static_cast<int64_t>(memory_format_of_schema(static_cast<int64_t>(argument.get_as_memory_format()))))};
    case Tag::AS_DEVICE: return {IValue(read_device(argument.get_as_device()))};
    case Tag::AS_GRAPH: throw Error(ErrorCode::kUnsupported, "a graph as an argument cannot run");
    case Tag::AS_CUSTOM_OBJ:
      throw Error(ErrorCode::kUnsupported, "a script object as an argument cannot run; nothing pickled is read");
    case Tag::AS_OPERATOR: throw Error(ErrorCode::kUnsupported, "an operator as an argument cannot run");
    case Tag::AS_STRING_TO_ARGUMENT: throw Error(ErrorCode::kUnsupported, "a dictionary as an argument cannot run");
  }
  unknown_kind();
}

void GraphReader::read_node(const schema::Node& source, size_t index) {
  Node node;
  node.name = source.get_name().value_or("");
  if (node.name.empty()) node.name = concat("node_", index);
  const NodeId id(index);
  located([&] { return "node " + node.name; },
          [&] {
            NodeTarget target = parse_node_target(source.get_target());
            node.kind = target.kind;
            node.target = std::move(target.name);
            if (node.kind == NodeKind::kEngine) return read_engine_call(source, id, node);
            for (const schema::NamedArgument& input : source.get_inputs()) {
              node.inputs.push_back(located([&] { return concat("argument ", input.get_name(), " of ", node.target); },
                                            [&] { return NamedArgument{input.get_name(), read_argument(input.get_arg())}; }));
            }
            for (size_t i = 0; i < source.get_outputs().size(); ++i) {
              node.outputs.push_back(read_node_output(source.get_outputs()[i], id, concat(node.name, "_output_", i)));
            }
          });
  graph_.nodes.push_back(std::move(node));
}

// tenure::call_engine(Tensor[] inputs, str engine) -> Tensor[]
void GraphReader::read_engine_call(const schema::Node& source, NodeId id, Node& node) {
  for (const schema::NamedArgument& input : source.get_inputs()) {
    const schema::Argument& argument = input.get_arg();
    if (input.get_name() == "engine" && argument.tag() == Tag::AS_STRING) node.target = argument.get_as_string();
    if (input.get_name() != "inputs" || argument.tag() != Tag::AS_TENSORS) continue;
    for (const schema::TensorArgument& one : argument.get_as_tensors()) {
      node.inputs.push_back({std::to_string(node.inputs.size()), tensor(one)});
    }
  }
  check(!node.target.empty(), ErrorCode::kBadFile, "an engine call does not name its engine");
  check(source.get_inputs().size() == 2 && source.get_outputs().size() == 1 && source.get_outputs()[0].tag() == Tag::AS_TENSORS,
        ErrorCode::kBadFile, "an engine call must have a list of tensors, an engine's name, and a list of tensors as its result");
  for (const ValueId value : read_node_output(source.get_outputs()[0], id, node.name + "_output").values) {
    node.outputs.push_back({false, {value}});
  }
}

NodeOutput GraphReader::read_node_output(const schema::Argument& output, NodeId producer, const std::string& fallback_name) {
  const auto make = [&](const std::string& name, ValueKind kind, size_t index) {
    return define(name.empty() ? concat(fallback_name, "_", index) : name, kind, producer);
  };
  NodeOutput result;
  switch (output.tag()) {
    case Tag::AS_NONE:
      output.get_as_none();
      result.values.emplace_back();
      return result;
    case Tag::AS_TENSOR: result.values.push_back(make(output.get_as_tensor().get_name(), ValueKind::kTensor, 0)); return result;
    case Tag::AS_SYM_INT:
      result.values.push_back(make(output.get_as_sym_int().get_as_name(), ValueKind::kSymInt, 0));
      return result;
    case Tag::AS_SYM_FLOAT:
      result.values.push_back(make(output.get_as_sym_float().get_as_name(), ValueKind::kSymFloat, 0));
      return result;
    case Tag::AS_SYM_BOOL:
      result.values.push_back(make(output.get_as_sym_bool().get_as_name(), ValueKind::kSymBool, 0));
      return result;
    case Tag::AS_TENSORS:
      result.is_list = true;
      for (const schema::TensorArgument& one : output.get_as_tensors()) {
        result.values.push_back(make(one.get_name(), ValueKind::kTensor, result.values.size()));
      }
      return result;
    case Tag::AS_OPTIONAL_TENSORS:
      result.is_list = true;
      for (const schema::OptionalTensorArgument& one : output.get_as_optional_tensors()) {
        const bool present = one.tag() == schema::OptionalTensorArgument::Tag::AS_TENSOR;
        result.values.push_back(present ? make(one.get_as_tensor().get_name(), ValueKind::kTensor, result.values.size())
                                        : ValueId());
      }
      return result;
    default: throw Error(ErrorCode::kUnsupported, "a result that is neither a tensor, a list of tensors nor a number cannot run");
  }
}

void GraphReader::read_inputs() {
  const auto& specs = signature_.get_input_specs();
  check(specs.size() == source_.get_inputs().size(), ErrorCode::kBadFile, "the graph has ", source_.get_inputs().size(),
        " inputs, its signature ", specs.size());
  for (size_t i = 0; i < specs.size(); ++i) {
    graph_.inputs.push_back(
        located([&] { return concat("input ", i); }, [&] { return read_input(specs[i], source_.get_inputs()[i], i); }));
  }
}

GraphInput GraphReader::read_input(const schema::InputSpec& spec, const schema::Argument& argument, size_t index) {
  using SpecTag = schema::InputSpec::Tag;
  const auto weight = [&](GraphInput::Kind kind, const std::string& target) {
    const std::string& name = argument.get_as_tensor().get_name();
    return GraphInput{kind, define(name, ValueKind::kTensor, NodeId()), target, name, IValue()};
  };
  switch (spec.tag()) {
    case SpecTag::USER_INPUT: spec.get_user_input(); return read_user_input(argument, index);
    case SpecTag::PARAMETER: return weight(GraphInput::Kind::kParameter, spec.get_parameter().get_parameter_name());
    case SpecTag::BUFFER: return weight(GraphInput::Kind::kBuffer, spec.get_buffer().get_buffer_name());
    case SpecTag::TENSOR_CONSTANT:
      return weight(GraphInput::Kind::kConstant, spec.get_tensor_constant().get_tensor_constant_name());
    case SpecTag::CONSTANT_INPUT: {
      const schema::InputToConstantInputSpec& constant = spec.get_constant_input();
      return {GraphInput::Kind::kUserConstant, ValueId(), "", constant.get_name(), read_constant(constant.get_value())};
    }
    case SpecTag::CUSTOM_OBJ:
      throw Error(ErrorCode::kUnsupported, concat("script object ", spec.get_custom_obj().get_custom_obj_name(),
                                                  " cannot be loaded; nothing pickled is read"));
    case SpecTag::TOKEN: throw Error(ErrorCode::kUnsupported, "effect tokens cannot run");
  }
  unknown_kind();
}

GraphInput GraphReader::read_user_input(const schema::Argument& argument, size_t index) {
  const auto user = [&](const std::string& name, ValueKind kind) {
    return GraphInput{GraphInput::Kind::kUser, define(name, kind, NodeId()), "", name, IValue()};
  };
  switch (argument.tag()) {
    case Tag::AS_TENSOR: return user(argument.get_as_tensor().get_name(), ValueKind::kTensor);
    case Tag::AS_SYM_INT: return user(argument.get_as_sym_int().get_as_name(), ValueKind::kSymInt);
    case Tag::AS_SYM_FLOAT: return user(argument.get_as_sym_float().get_as_name(), ValueKind::kSymFloat);
    case Tag::AS_SYM_BOOL: return user(argument.get_as_sym_bool().get_as_name(), ValueKind::kSymBool);
    case Tag::AS_NONE:
    case Tag::AS_INT:
    case Tag::AS_FLOAT:
    case Tag::AS_BOOL:
    case Tag::AS_STRING:
      return {GraphInput::Kind::kUserConstant, ValueId(), "", concat("input_", index), read_argument(argument).constant()};
    default: throw Error(ErrorCode::kUnsupported, "inputs can be tensors, numbers, strings and None only");
  }
}

const GraphInput* GraphReader::find_input(GraphInput::Kind kind, const std::string& key) const {
  for (const GraphInput& input : graph_.inputs) {
    if (input.kind == kind && (kind == GraphInput::Kind::kUser ? input.name : input.target) == key) return &input;
  }
  return nullptr;
}

void GraphReader::read_outputs() {
  const auto& specs = signature_.get_output_specs();
  check(specs.size() == source_.get_outputs().size(), ErrorCode::kBadFile, "the graph has ", source_.get_outputs().size(),
        " outputs, its signature ", specs.size());
  for (size_t i = 0; i < specs.size(); ++i) {
    graph_.outputs.push_back(
        located([&] { return concat("output ", i); }, [&] { return read_output(specs[i], source_.get_outputs()[i]); }));
  }
}

GraphOutput GraphReader::read_output(const schema::OutputSpec& spec, const schema::Argument& argument) const {
  using SpecTag = schema::OutputSpec::Tag;
  const auto mutation = [&](GraphOutput::Kind kind, GraphInput::Kind input, const std::string& target) {
    check(find_input(input, target) != nullptr, ErrorCode::kBadFile, "changes ", target, ", which is not among the inputs");
    return GraphOutput{kind, tensor(argument.get_as_tensor()), target};
  };
  switch (spec.tag()) {
    case SpecTag::USER_OUTPUT: {
      spec.get_user_output();
      Argument value = read_argument(argument);
      check(!value.is_list(), ErrorCode::kUnsupported, "a list as one output cannot run");
      return {GraphOutput::Kind::kUser, std::move(value), ""};
    }
    case SpecTag::BUFFER_MUTATION:
      return mutation(GraphOutput::Kind::kBufferMutation, GraphInput::Kind::kBuffer, spec.get_buffer_mutation().get_buffer_name());
    case SpecTag::USER_INPUT_MUTATION:
      return mutation(GraphOutput::Kind::kInputMutation, GraphInput::Kind::kUser,
                      spec.get_user_input_mutation().get_user_input_name());
    case SpecTag::PARAMETER_MUTATION:
      throw Error(ErrorCode::kUnsupported,
                  concat("changes parameter ", spec.get_parameter_mutation().get_parameter_name(), "; register it as a buffer"));
    case SpecTag::LOSS_OUTPUT:
    case SpecTag::GRADIENT_TO_PARAMETER:
    case SpecTag::GRADIENT_TO_USER_INPUT:
      throw Error(ErrorCode::kUnsupported, "a training program cannot run; export the model for inference (torch.export.export)");
    case SpecTag::TOKEN: throw Error(ErrorCode::kUnsupported, "effect tokens cannot run");
  }
  unknown_kind();
}

void check_version(const nlohmann::json& program) {
  const nlohmann::json& version = program.at("schema_version");
  const int64_t major = version.at("major").get<int64_t>();
  check(major == kSchemaMajor, ErrorCode::kUnsupported, "the program has schema version ", major, ".", version.at("minor").dump(),
        ", written by torch ", program.value("torch_version", "unknown"), "; this version reads ", kSchemaMajor,
        ".x: export the model again with torch 2.11, or use another Tenure");
}

// torch's generated readers leave flags undefined when they are missing.
void check_members(const nlohmann::json& program) {
  const nlohmann::json& module = program.at("graph_module");
  for (const auto& [name, meta] : module.at("graph").at("tensor_values").items()) {
    for (const char* member : {"dtype", "sizes", "requires_grad", "device", "strides", "storage_offset", "layout"}) {
      check(meta.contains(member), ErrorCode::kBadFile, "the description of tensor ", name, " lacks \"", member, "\"");
    }
  }
  for (const nlohmann::json& spec : module.at("signature").at("input_specs")) {
    if (spec.contains("buffer")) spec.at("buffer").at("persistent").get<bool>();
  }
}

}  // namespace

Model read_model(std::string_view text) {
  const nlohmann::json json = parse_json(text);
  return foreign_errors_as_bad_file([&] {
    check_version(json);
    check_members(json);
    const auto program = json.get<schema::ExportedProgram>();
    const schema::GraphModule& module = program.get_graph_module();
    Model model;
    model.graph = GraphReader(module, program.get_range_constraints()).read();
    for (const schema::ModuleCallEntry& entry : module.get_module_call_graph()) {
      if (!entry.get_fqn().empty() || !entry.get_signature()) continue;
      model.in_spec = entry.get_signature()->get_in_spec();
      model.out_spec = entry.get_signature()->get_out_spec();
    }
    verify(model.graph);
    return model;
  });
}

}  // namespace tenure
