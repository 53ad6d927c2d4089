// tenure/ownership/in_place.cc
//
// For each mutated input: place() walks from its new content back to the input and replaces each step by one that writes;
// is_sound() then runs through the changed graph and asks, of every read of the input's memory, whether the content that was meant
// is still there. If not, the steps are put back.
#include "tenure/ownership/in_place.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "tenure/base/error.h"
#include "tenure/graph/operator.h"
#include "tenure/ownership/soundness.h"

namespace tenure {
namespace {

// The functional operator's twin that writes into its first argument.
std::optional<std::string> in_place_variant(const c10::FunctionSchema& schema) {
  const std::string name = schema.name() + "_";
  const auto twin = c10::Dispatcher::singleton().findSchema({name, schema.overload_name()});
  if (!twin || twin->schema().arguments().size() != schema.arguments().size() || twin->schema().returns().size() != 1)
    return std::nullopt;
  for (size_t i = 0; i < schema.arguments().size(); ++i) {
    const c10::Argument &mine = schema.arguments()[i], &theirs = twin->schema().arguments()[i];
    const bool written = theirs.alias_info() != nullptr && theirs.alias_info()->isWrite();
    if (mine.name() != theirs.name() || *mine.type() != *theirs.type() || written != (i == 0)) return std::nullopt;
  }
  return schema.overload_name().empty() ? name : concat(name, ".", schema.overload_name());
}

// The view that a scatter writes through: slice_scatter(self, src, dim, ...) into slice(self, dim, ...).
std::optional<std::string> view_of_scatter(const std::string& target) {
  if (target == "aten::slice_scatter") return "aten::slice.Tensor";
  if (target == "aten::select_scatter") return "aten::select.int";
  return std::nullopt;
}

class Rewriting {
 public:
  Rewriting(Graph& graph, std::vector<AliasFacts>& facts) : graph_(graph) {
    for (size_t i = 0; i < graph.nodes.size(); ++i) {
      names_.insert(graph.nodes[i].name);
      steps_.push_back({Step{std::move(graph.nodes[i]), std::move(facts[i]), false, {}}});
    }
    for (const Value& value : graph.values) names_.insert(value.name);
  }

  bool rewrite(ValueId source, ValueId target) {
    target_ = target;
    saved_.clear();
    const size_t values = graph_.values.size();
    const auto same_as = same_as_;
    if (place(source, target) && is_sound()) return true;
    for (auto& [node, steps] : saved_) steps_[node] = std::move(steps);
    graph_.values.resize(values);
    same_as_ = same_as;
    return false;
  }

  void finish(std::vector<AliasFacts>& facts) {
    graph_.nodes.clear();
    facts.clear();
    for (auto& steps : steps_) {
      for (Step& step : steps) {
        for_each_output(step.node, [&](ValueId value) { graph_.values[value.index].producer = NodeId(graph_.nodes.size()); });
        graph_.nodes.push_back(std::move(step.node));
        facts.push_back(std::move(step.facts));
      }
    }
  }

 private:
  bool same_layout(ValueId a, ValueId b) const {
    const auto &x = graph_.value(a).meta, &y = graph_.value(b).meta;
    return x && y && x->dtype == y->dtype && x->sizes == y->sizes && x->strides == y->strides;
  }

  // Makes the content of `value` come to lie where `place` lies. False if it cannot; steps may have changed then.
  bool place(ValueId value, ValueId place) {
    if (value == place) return true;
    const NodeId producer = graph_.value(value).producer;
    if (!producer.valid() || !same_layout(value, place)) return false;
    if (key_of(value) == key_of(place)) return true;
    const std::vector<Step>& steps = steps_[producer.index];
    if (steps.size() != 1 || steps[0].node.kind != NodeKind::kOperator) return false;
    const AliasFacts& facts = steps[0].facts;
    const bool functional = facts.mutates.empty() && facts.may_alias.size() == 1 && facts.may_alias[0].empty() && !facts.custom;
    if (!functional || steps[0].node.inputs.empty() || !steps[0].node.inputs[0].value.is_value()) return false;
    const Node node = steps[0].node;
    if (const auto view = view_of_scatter(node.target)) return place_scatter(producer, node, *view, place);
    return place_by_twin(producer, node, place);
  }

  bool place_by_twin(NodeId producer, Node node, ValueId where) {
    const ValueId value = node.outputs[0].values.at(0), self = node.inputs[0].value.value();
    const auto twin = in_place_variant(find_operator(node.target).schema());
    if (!twin || !place(self, where)) return false;
    const std::vector<char> shared = memory_of_target();
    for (size_t i = 1; i < node.inputs.size(); ++i) {
      bool overlaps = false;
      for_each_value(node.inputs[i].value, [&](ValueId other) { overlaps |= shared[other.index] != 0; });
      if (overlaps) return false;
    }
    node.target = *twin;
    const c10::OperatorHandle op = find_operator(node.target);
    const AliasFacts facts = alias_facts(node, &op);
    if (facts.changes_metadata_in_place) return false;
    replace(producer, {Step{std::move(node), facts, false, {}}});
    same_as_[value] = self;
    return true;
  }

  bool place_scatter(NodeId producer, const Node& node, const std::string& view, ValueId where) {
    const ValueId value = node.outputs[0].values.at(0), self = node.inputs[0].value.value();
    if (node.inputs.size() < 2 || !node.inputs[1].value.is_value() || !place(self, where)) return false;
    const ValueId source = node.inputs[1].value.value();
    Node view_node{
        .name = new_name(node.name + "_place"), .kind = NodeKind::kOperator, .target = view, .inputs = {}, .outputs = {}};
    for (const NamedArgument& input : node.inputs)
      if (input.name != "src") view_node.inputs.push_back(input);
    std::vector<Step> steps;
    ValueId scattered = source;
    const std::optional<ValueId> existing = first_view_behind(source);
    const bool made_there = existing && key_of(*existing) == key_of(view_node) && place(source, *existing);
    if (!made_there) {
      std::optional<TensorMeta> meta = view_meta(view_node, source);
      if (!meta || memory_of_target()[source.index] != 0) return false;
      const ValueId slice = add_value(view_node.name, std::move(*meta));
      view_node.outputs = {{.is_list = false, .values = {slice}}};
      scattered = add_value(new_name(node.name + "_write"), *graph_.value(slice).meta);
      Node copy{.name = graph_.value(scattered).name,
                .kind = NodeKind::kOperator,
                .target = "aten::copy_",
                .inputs = {{"self", {slice}}, {"src", {source}}},
                .outputs = {{.is_list = false, .values = {scattered}}}};
      for (Node* each : {&view_node, &copy}) {
        const c10::OperatorHandle op = find_operator(each->target);
        steps.push_back({*each, alias_facts(*each, &op), false, {}});
      }
    }
    Node alias{.name = node.name,
               .kind = NodeKind::kOperator,
               .target = "aten::alias",
               .inputs = {{"self", {self}}},
               .outputs = {{.is_list = false, .values = {value}}}};
    const c10::OperatorHandle op = find_operator(alias.target);
    steps.push_back({alias, alias_facts(alias, &op), true, scattered});
    replace(producer, std::move(steps));
    same_as_[value] = self;
    return true;
  }

  // Sizes are those of what is written; strides follow from the tensor that is seen. Nothing if the view's dimension is none of it.
  std::optional<TensorMeta> view_meta(const Node& view, ValueId source) const {
    TensorMeta meta = *graph_.value(view.inputs[0].value.value()).meta;
    if (!graph_.value(source).meta) return std::nullopt;
    meta.sizes = graph_.value(source).meta->sizes;
    const OperatorCall call = resolve_call(view);
    if (!call.arguments[1].is_constant() || !call.arguments[1].constant().isInt()) return std::nullopt;
    const int64_t dims = static_cast<int64_t>(meta.strides.size());
    int64_t dim = call.arguments[1].constant().toInt();
    if (dim < 0) dim += dims;
    if (dim < 0 || dim >= dims) return std::nullopt;
    const auto stride = meta.strides.begin() + dim;
    if (view.target == "aten::select.int") {
      meta.strides.erase(stride);
    } else if (const Argument& step = call.arguments[4]; step.is_constant() && step.constant().isInt()) {
      *stride = Expr::parse_infix(concat("(", stride->to_string(), ") * ", step.constant().toInt()));
    }
    return meta;
  }

  // The nearest view among a functional operator's first arguments.
  std::optional<ValueId> first_view_behind(ValueId value) const {
    for (;;) {
      const NodeId producer = graph_.value(value).producer;
      if (!producer.valid() || steps_[producer.index].size() != 1) return std::nullopt;
      const Step& step = steps_[producer.index][0];
      if (step.facts.may_alias.size() != 1) return std::nullopt;
      if (!step.facts.may_alias[0].empty()) return value;
      if (step.node.inputs.empty() || !step.node.inputs[0].value.is_value()) return std::nullopt;
      value = step.node.inputs[0].value.value();
    }
  }

  // The same text for values that are the same view of the same memory.
  std::string key_of(ValueId value) const {
    if (const auto same = same_as_.find(value); same != same_as_.end()) return key_of(same->second);
    const NodeId producer = graph_.value(value).producer;
    if (producer.valid() && producer.index < steps_.size() && steps_[producer.index].size() == 1) {
      const Step& step = steps_[producer.index][0];
      const bool view = step.node.kind == NodeKind::kOperator && step.facts.may_alias.size() == 1 &&
                        step.facts.may_alias[0].size() == 1 && step.facts.mutates.empty() && step.facts.always_aliases;
      if (view) return key_of(step.node);
    }
    return graph_.value(value).name;
  }

  std::string key_of(const Node& view) const {
    std::string key = view.target + "(" + key_of(view.inputs[0].value.value());
    const OperatorCall call = resolve_call(view);
    for (size_t i = 1; i < call.arguments.size(); ++i) append(call.arguments[i], key);
    return key + ")";
  }

  void append(const Argument& argument, std::string& key) const {
    key += ", ";
    if (argument.is_constant()) key += concat(argument.constant());
    if (argument.is_value()) key += graph_.value(argument.value()).name;
    if (argument.is_list())
      for (const Argument& element : argument.list()) append(element, key);
  }

  std::string new_name(std::string name) {
    while (!names_.insert(name).second) name += "_";
    return name;
  }

  ValueId add_value(const std::string& name, TensorMeta meta) {
    graph_.values.push_back({.name = name, .kind = ValueKind::kTensor, .producer = {}, .meta = std::move(meta), .expr = {}});
    return ValueId(graph_.values.size() - 1);
  }

  void replace(NodeId node, std::vector<Step> steps) {
    saved_.try_emplace(node.index, steps_[node.index]);
    steps_[node.index] = std::move(steps);
  }

  std::vector<char> memory_of_target() const {
    std::vector<char> shared(graph_.values.size());
    shared[target_.index] = 1;
    for (const auto& steps : steps_) {
      for (const Step& step : steps) {
        size_t k = 0;
        for_each_output(step.node, [&](ValueId value) {
          for (ValueId other : step.facts.may_alias[k]) shared[value.index] |= shared[other.index];
          ++k;
        });
      }
    }
    return shared;
  }

  bool is_sound() const {
    Soundness soundness(graph_.values.size(), target_);
    for (const auto& steps : steps_)
      for (const Step& step : steps) soundness.pass(step);
    return soundness.is_sound_at_end(graph_);
  }

  Graph& graph_;
  std::vector<std::vector<Step>> steps_;         // what each node of the original graph has become
  std::map<ValueId, ValueId> same_as_;           // values that are all of another value's memory
  ValueId target_;                               // of the rewrite under way
  std::map<uint32_t, std::vector<Step>> saved_;  // by node: what it was before
  std::set<std::string> names_;
};

}  // namespace

std::vector<ValueId> write_in_place(Graph& graph, std::vector<AliasFacts>& facts, const std::set<ValueId>& may_rewrite) {
  std::vector<ValueId> rewritten;
  std::optional<Rewriting> rewriting;
  for (const GraphOutput& output : graph.outputs) {
    const ValueId input = mutated_input(graph, output);
    if (!may_rewrite.contains(input) || !output.value.is_value() || output.value.value() == input) continue;
    if (!rewriting) rewriting.emplace(graph, facts);
    if (rewriting->rewrite(output.value.value(), input)) rewritten.push_back(input);
  }
  if (rewriting) rewriting->finish(facts);
  return rewritten;
}

}  // namespace tenure
