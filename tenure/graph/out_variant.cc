#include "tenure/graph/out_variant.h"

#include <ATen/core/enum_tag.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

namespace tenure {
namespace {

using Overloads = std::vector<c10::OperatorHandle>;

// PyTorch's operators that write into their last argument, by name. Which overload belongs to which is in no name: max.dim_max goes
// with max.dim.
const Overloads& out_overloads(const std::string& name) {
  static const auto* const by_name = [] {
    auto* all = new std::map<std::string, Overloads>;
    for (const c10::OperatorName& each : c10::Dispatcher::singleton().getAllOpNames()) {
      if (!each.name.starts_with("aten::")) continue;
      const std::optional<c10::OperatorHandle> op = c10::Dispatcher::singleton().findSchema(each);
      if (op && !op->schema().arguments().empty() && op->schema().arguments().back().is_out()) (*all)[each.name].push_back(*op);
    }
    return all;
  }();
  static const Overloads none;
  const auto found = by_name->find(name);
  return found == by_name->end() ? none : found->second;
}

bool is_same_parameter(const c10::Argument& a, const c10::Argument& b) {
  return a.name() == b.name() && *a.type() == *b.type() && a.kwarg_only() == b.kwarg_only();
}

bool writes_what_returns(const c10::FunctionSchema& out, const c10::FunctionSchema& functional) {
  const auto &with = out.arguments(), &without = functional.arguments();
  const size_t results = functional.returns().size();
  if (results == 0 || with.size() != without.size() + results || out.returns().size() != results) return false;
  const auto is_result = [](const c10::Argument& each) {
    return each.is_out() && each.type()->kind() == c10::TypeKind::TensorType;
  };
  return std::equal(without.begin(), without.end(), with.begin(), is_same_parameter) &&
         std::all_of(with.begin() + static_cast<std::ptrdiff_t>(without.size()), with.end(), is_result);
}

}  // namespace

std::optional<OutVariant> find_out_variant(const c10::OperatorHandle& op, c10::DispatchKey backend) {
  if (op.hasTag(at::Tag::dynamic_output_shape)) return std::nullopt;
  if (op.operator_name().name == "aten::relu")  // ATen/native/Activation.cpp: clamp_min(self, 0), which has a kernel for out=
    return OutVariant{c10::Dispatcher::singleton().findSchemaOrThrow("aten::clamp_min", "out"), {int64_t{0}}};
  for (const c10::OperatorHandle& out : out_overloads(op.operator_name().name))
    if (writes_what_returns(out.schema(), op.schema()) && out.hasKernelForDispatchKey(backend)) return OutVariant{out, {}};
  return std::nullopt;
}

}  // namespace tenure
