#include "tenure/graph/operator.h"

#include <ATen/ScalarOps.h>
#include <ATen/core/List.h>
#include <ATen/core/jit_type.h>

#include <algorithm>
#include <utility>

#include "tenure/base/error.h"

namespace tenure {
namespace {

using c10::IValue;
using c10::TypeKind;

const c10::Type& without_optional(const c10::Type& type) {
  const c10::Type* inner = &type;
  while (const auto* optional = inner->castRaw<c10::OptionalType>()) inner = optional->getElementType().get();
  return *inner;
}

bool is_number(const c10::Type& type) { return type.kind() == TypeKind::NumberType; }

// A scalar constant or value in the representation the parameter wants: the schema's float takes an int, its int a bool, its tensor
// a number.
IValue convert_scalar(IValue value, const c10::Type& type) {
  switch (type.kind()) {
    case TypeKind::FloatType:
      if (value.isInt()) return static_cast<double>(value.toInt());
      break;
    case TypeKind::IntType:
    case TypeKind::SymIntType:
      if (value.isBool()) return int64_t{value.toBool()};
      break;
    case TypeKind::TensorType:
      // As Python's binding does: a number where a tensor is expected takes part in type promotion as a number.
      if (value.isInt() || value.isDouble() || value.isBool() || value.isComplexDouble()) {
        at::Tensor wrapped = c10::scalar_to_tensor(value.toScalar());
        wrapped.unsafeGetTensorImpl()->set_wrapped_number(true);
        return wrapped;
      }
      break;
    default: break;
  }
  return value;
}

template <typename T, typename Convert>
IValue typed_list(const std::vector<IValue>& elements, const Convert& convert) {
  c10::List<T> list;
  list.reserve(elements.size());
  for (const IValue& element : elements) list.push_back(convert(element));
  return list;
}

IValue make_list(const std::vector<IValue>& elements, const c10::Type& element_type) {
  if (element_type.kind() == TypeKind::OptionalType) {
    check(without_optional(element_type).kind() == TypeKind::TensorType, ErrorCode::kUnsupported, "a list of ", element_type.str());
    return typed_list<std::optional<at::Tensor>>(elements, [](const IValue& v) {
      return v.isNone() ? std::optional<at::Tensor>() : std::optional<at::Tensor>(v.toTensor());
    });
  }
  switch (element_type.kind()) {
    case TypeKind::TensorType: return typed_list<at::Tensor>(elements, [](const IValue& v) { return v.toTensor(); });
    case TypeKind::IntType:
    case TypeKind::SymIntType:
      return typed_list<int64_t>(elements, [](const IValue& v) { return v.isBool() ? int64_t{v.toBool()} : v.toInt(); });
    case TypeKind::FloatType:
      return typed_list<double>(elements,
                                [](const IValue& v) { return v.isInt() ? static_cast<double>(v.toInt()) : v.toDouble(); });
    case TypeKind::BoolType: return typed_list<bool>(elements, [](const IValue& v) { return v.toBool(); });
    case TypeKind::StringType: return typed_list<std::string>(elements, [](const IValue& v) { return v.toStringRef(); });
    case TypeKind::NumberType: return typed_list<at::Scalar>(elements, [](const IValue& v) { return v.toScalar(); });
    default: break;
  }
  throw Error(ErrorCode::kUnsupported, concat("an argument that is a list of ", element_type.str()));
}

std::vector<IValue> elements_of(const IValue& list) {
  std::vector<IValue> elements;
  for (const IValue& element : list.toListRef()) elements.push_back(element);
  return elements;
}

IValue convert_constant(const IValue& constant, const c10::Type& declared) {
  if (constant.isNone()) return constant;
  const c10::Type& type = without_optional(declared);
  if (const auto* list = type.castRaw<c10::ListType>()) {
    if (constant.isList()) return make_list(elements_of(constant), *list->getElementType());
    return make_list({constant}, *list->getElementType());  // `int[1] dim` may be written as one int
  }
  if (is_number(type)) return constant;
  return convert_scalar(constant, type);
}

// Constants are converted once, here; what holds a value is converted when the value is known.
Argument convert_argument(const Argument& argument, const c10::Type& type) {
  if (argument.is_constant()) return {convert_constant(argument.constant(), type)};
  if (argument.is_list()) {
    check(without_optional(type).castRaw<c10::ListType>() != nullptr, ErrorCode::kBadFile, "a list where ", type.str(),
          " is expected");
  }
  return argument;
}

std::string first_line(std::string_view text) { return std::string(text.substr(0, text.find('\n'))); }

bool is_assertion(const c10::OperatorHandle& op) {
  const std::string_view name = op.operator_name().name;
  return name == "aten::_assert_scalar" || name == "aten::_assert_async" || name == "aten::sym_constrain_range" ||
         name == "aten::sym_constrain_range_for_size" || name == "aten::_assert_tensor_metadata";
}

// swapaxes_ and swapdims_ are other names of transpose_. Below autograd, where programs run, PyTorch 2.11 gives them a pending
// conjugation carried out into the old sizes, as it does in inference mode.
bool is_transpose(const c10::OperatorHandle& op) {
  return op.operator_name().name == "aten::swapaxes_" || op.operator_name().name == "aten::swapdims_";
}

}  // namespace

c10::OperatorHandle find_operator(std::string_view target) {
  const size_t dot = target.rfind('.');
  const size_t colons = target.find("::");
  const bool has_overload = dot != std::string_view::npos && dot > colons;
  const c10::OperatorName name(std::string(target.substr(0, dot)),
                               has_overload ? std::string(target.substr(dot + 1)) : std::string());
  if (auto handle = c10::Dispatcher::singleton().findSchema(name)) return *handle;
  throw Error(
      ErrorCode::kNotFound,
      concat("the operator ", target, " is not registered; load the library or import the package that defines it (the namespace ",
             target.substr(0, colons), "), and name it in the load options' custom_op_libraries"));
}

void order_arguments(Node& node, const c10::OperatorHandle& op) {
  const auto& parameters = op.schema().arguments();
  const auto place = [&](const NamedArgument& given) {
    return std::find_if(parameters.begin(), parameters.end(),
                        [&](const c10::Argument& parameter) { return parameter.name() == given.name; });
  };
  std::stable_sort(node.inputs.begin(), node.inputs.end(),
                   [&](const NamedArgument& a, const NamedArgument& b) { return place(a) < place(b); });
}

OperatorCall resolve_call(const Node& node) {
  OperatorCall call{find_operator(node.target), {}};
  const auto& parameters = call.op.schema().arguments();
  call.arguments.reserve(parameters.size());
  size_t used = 0;
  for (const c10::Argument& parameter : parameters) {
    const auto given = std::find_if(node.inputs.begin(), node.inputs.end(),
                                    [&](const NamedArgument& input) { return input.name == parameter.name(); });
    if (given != node.inputs.end()) {
      ++used;
      try {
        call.arguments.push_back(convert_argument(given->value, *parameter.type()));
      } catch (const c10::Error& error) {
        throw Error(ErrorCode::kBadFile, concat("the argument ", parameter.name(), " of ", node.target, " is not ",
                                                parameter.type()->str(), ": ", first_line(error.what_without_backtrace())));
      }
      continue;
    }
    check(parameter.default_value().has_value(), ErrorCode::kBadFile, node.target, " lacks its argument ", parameter.name());
    call.arguments.push_back({*parameter.default_value()});
  }
  check(used == node.inputs.size(), ErrorCode::kBadFile, node.target, " is given ", node.inputs.size(),
        " arguments, of which only ", used, " are in its schema ", call.op.schema());
  if (is_transpose(call.op)) call.op = find_operator("aten::transpose_");
  return call;
}

IValue materialize(const Argument& argument, const c10::Type& type, const Registers& registers) {
  if (argument.is_constant()) return argument.constant();
  if (argument.is_value()) {
    const IValue& value = registers[argument.value().index];
    if (value.isTensor()) return value;
    const c10::Type& inner = without_optional(type);
    if (const auto* list = inner.castRaw<c10::ListType>()) return make_list({value}, *list->getElementType());
    return convert_scalar(value, inner);
  }
  const c10::Type& element_type = *without_optional(type).expectRef<c10::ListType>().getElementType();
  std::vector<IValue> elements;
  elements.reserve(argument.list().size());
  for (const Argument& element : argument.list()) elements.push_back(materialize(element, element_type, registers));
  return make_list(elements, element_type);
}

void call_operator(const c10::OperatorHandle& op, torch::jit::Stack& stack) {
  try {
    op.callBoxed(stack);
  } catch (const Error&) {
    throw;
  } catch (const c10::Error& error) {
    const ErrorCode code = is_assertion(op) ? ErrorCode::kRuntimeAssert : ErrorCode::kOperator;
    throw Error(code, first_line(error.what_without_backtrace())).caused_by_current();
  } catch (const std::exception& error) {
    throw Error(ErrorCode::kOperator, first_line(error.what())).caused_by_current();
  }
}

}  // namespace tenure
