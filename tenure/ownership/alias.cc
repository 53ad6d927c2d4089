// tenure/ownership/alias.cc: what one operator's schema says about shared memory.
#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "tenure/ownership/ownership.h"

namespace tenure {
namespace {

// Names of all alias sets in an annotation: Tensor(a -> *) gives {a, *}; Tensor(a)[] gives {a} from its contained type.
void collect_sets(const c10::AliasInfo& info, std::set<std::string>& names) {
  for (const auto& symbol : info.beforeSets()) names.insert(symbol.toQualString());
  for (const auto& symbol : info.afterSets()) names.insert(symbol.toQualString());
  for (const auto& contained : info.containedTypes()) collect_sets(contained, names);
}

std::set<std::string> alias_sets(const c10::Argument& argument) {
  std::set<std::string> names;
  if (argument.alias_info() != nullptr) collect_sets(*argument.alias_info(), names);
  return names;
}

bool intersect(const std::set<std::string>& a, const std::set<std::string>& b) {
  return std::any_of(a.begin(), a.end(), [&](const std::string& name) { return b.contains(name); });
}

// Operators whose result is a view or a copy, depending on sizes, strides and dtype.
bool aliases_conditionally(const std::string& name) {
  static const std::set<std::string> names = {"aten::reshape",     "aten::reshape_as", "aten::contiguous", "aten::to",
                                              "aten::flatten",     "aten::ravel",      "aten::type_as",    "aten::resolve_conj",
                                              "aten::resolve_neg", "aten::_to_cpu",    "aten::unflatten"};
  return names.contains(name);
}

// Operators that may return an operand, or a view of one, though their schemas do not say so.
bool hides_aliasing(const std::string& name) {
  static const std::set<std::string> names = {
      "aten::dropout",           "aten::feature_dropout", "aten::alpha_dropout",  "aten::feature_alpha_dropout",
      "aten::type_as",           "aten::atleast_1d",      "aten::atleast_2d",     "aten::atleast_3d",
      "aten::broadcast_tensors", "aten::meshgrid",        "aten::sum_to_size",    "aten::lift",
      "aten::_unsafe_view",      "aten::unsafe_split",    "aten::unsafe_chunk",   "aten::unsafe_split_with_sizes",
      "aten::conj_physical",     "aten::to_dense",        "aten::cartesian_prod", "aten::chain_matmul"};
  return names.contains(name);
}

// Operators that update running statistics in place unless this argument is false, though their schemas do not say so
// (torch/csrc/utils/schema_info.cpp knows them as training operators).
const char* hidden_update_switch(const std::string& name) {
  static const std::map<std::string, const char*> switches = {
      {"aten::batch_norm", "training"},       {"aten::native_batch_norm", "training"}, {"aten::_batch_norm_impl_index", "training"},
      {"aten::cudnn_batch_norm", "training"}, {"aten::miopen_batch_norm", "training"}, {"aten::instance_norm", "use_input_stats"}};
  const auto found = switches.find(name);
  return found == switches.end() ? nullptr : found->second;
}

const Argument* given_argument(const Node& node, const std::string& name) {
  for (const NamedArgument& input : node.inputs)
    if (input.name == name) return &input.value;
  return nullptr;
}

}  // namespace

AliasFacts alias_facts(const Node& node, const EngineSpec& engine) {
  AliasFacts facts;
  facts.always_aliases = true;
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    const std::optional<size_t> input = engine.outputs[i].aliases_input;
    std::vector<ValueId> aliased;
    if (input) aliased.push_back(node.inputs[*input].value.value());
    facts.mutates.insert(facts.mutates.end(), aliased.begin(), aliased.end());
    for (ValueId value : node.outputs[i].values)
      if (value.valid()) facts.may_alias.push_back(aliased);
  }
  return facts;
}

AliasFacts alias_facts(const Node& node, const c10::OperatorHandle* op) {
  AliasFacts facts;
  if (op == nullptr) {
    for_each_output(node, [&](ValueId) { facts.may_alias.emplace_back(); });
    return facts;
  }
  const c10::FunctionSchema& schema = op->schema();
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    std::vector<ValueId> aliased;
    if (i < schema.returns().size()) {
      const std::set<std::string> returned = alias_sets(schema.returns()[i]);
      for (const c10::Argument& parameter : schema.arguments()) {
        const Argument* given = given_argument(node, parameter.name());
        if (given == nullptr || (!hides_aliasing(schema.name()) && !intersect(returned, alias_sets(parameter)))) continue;
        for_each_value(*given, [&](ValueId value) { aliased.push_back(value); });
      }
    }
    for (ValueId value : node.outputs[i].values)
      if (value.valid()) facts.may_alias.push_back(aliased);
  }
  for (const c10::Argument& parameter : schema.arguments()) {
    if (parameter.alias_info() == nullptr || !parameter.alias_info()->isWrite()) continue;
    if (const Argument* given = given_argument(node, parameter.name()))
      for_each_value(*given, [&](ValueId value) { facts.mutates.push_back(value); });
  }
  const std::string& name = schema.name();
  if (const char* flag = hidden_update_switch(name)) {
    const Argument* given = given_argument(node, flag);
    const bool off = given != nullptr && given->is_constant() && given->constant().isBool() && !given->constant().toBool();
    for (const char* statistic : {"running_mean", "running_var"})
      if (const Argument* written = off ? nullptr : given_argument(node, statistic))
        for_each_value(*written, [&](ValueId value) { facts.mutates.push_back(value); });
  }
  facts.custom = !name.starts_with("aten::") && !name.starts_with("prims::");
  facts.always_aliases = !aliases_conditionally(name) && !hides_aliasing(name);
  facts.changes_metadata_in_place =
      op->hasTag(at::Tag::inplace_view) || name == "aten::resize_" || name == "aten::resize_as_" || name == "aten::set_";
  return facts;
}

}  // namespace tenure
