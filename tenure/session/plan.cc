// tenure/session/plan.cc: from one observation to the places and modes of a replay.
//
// 1. varies: nodes that touch anything data-dependent
// 2. placements: returned or possibly escaping -> slot; varying -> own buffer; outlived -> ordinary; the rest -> arena
// 3. layout: the arena's buffers through plan::greedy_by_size, checked by plan::find_violation
// 4. modes, forward: a value is fixed when its memory is (arena, weight) and its sizes and place in it follow from the signature
#include "tenure/session/plan.h"

#include <algorithm>

#include "tenure/base/error.h"

namespace tenure {
namespace {

using Origin = ValueRecord::Origin;

// Whether the node makes a view and also reads a tensor that it is no view of.
bool views_by_content(const Graph& graph, const Node& node, const AliasFacts& facts) {
  std::vector<ValueId> aliased;
  for (const auto& of_output : facts.may_alias) aliased.insert(aliased.end(), of_output.begin(), of_output.end());
  bool other = false;
  for_each_input(node, [&](ValueId value) {
    other |= graph.value(value).kind == ValueKind::kTensor && std::find(aliased.begin(), aliased.end(), value) == aliased.end();
  });
  return other && !aliased.empty();
}

class Planning {
 public:
  Planning(const Program& program, Observation observation)
      : program_(program), graph_(program.graph()), owners_(program.ownership().owners), plan_(std::make_shared<Plan>()) {
    plan_->observation = std::move(observation);
  }

  std::shared_ptr<const Plan> run() {
    find_varying_nodes();
    place_requests();
    lay_out_arena();
    plan_->modes.assign(graph_.values.size(), ValueMode::kRegister);
    for (const GraphInput& input : graph_.inputs) {
      if (!input.value.valid()) continue;
      // The caller's numbers are a part of the signature, but not his tensors.
      const bool changes = input.kind == GraphInput::Kind::kUser && is_tensor(input.value);
      set_mode(input.value, !changes && !owner(input.value).movable);
    }
    for (size_t i = 0; i < graph_.nodes.size(); ++i) choose_modes(i);
    return std::move(plan_);
  }

 private:
  const ValueRecord& record(ValueId value) const { return plan_->observation.values[value.index]; }
  const Owner& owner(ValueId value) const { return owners_[value.index]; }
  bool is_tensor(ValueId value) const { return graph_.value(value).kind == ValueKind::kTensor; }
  bool is_fixed(ValueId value) const { return plan_->modes[value.index] == ValueMode::kFixed; }
  void set_mode(ValueId value, bool fixed) { plan_->modes[value.index] = fixed ? ValueMode::kFixed : ValueMode::kRegister; }

  void find_varying_nodes() {
    plan_->varies.resize(graph_.nodes.size());
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      bool varies = false;
      const auto look = [&](ValueId value) { varies |= owner(value).data_dependent; };
      for_each_input(graph_.nodes[i], look);
      for_each_output(graph_.nodes[i], look);
      plan_->varies[i] = varies;
    }
  }

  void place_requests() {
    const auto& requests = plan_->observation.requests;
    std::vector<bool> may_leave(requests.size());
    for (size_t v = 0; v < graph_.values.size(); ++v) {
      const ValueRecord& seen = plan_->observation.values[v];
      if (seen.origin == Origin::kRequest && (owners_[v].escapes || is_unowned_output(ValueId(v))))
        may_leave[static_cast<size_t>(seen.request)] = true;
    }
    for (size_t r = 0; r < requests.size(); ++r) {
      const bool varies = plan_->varies[static_cast<size_t>(requests[r].node)];
      Placement::Kind kind = Placement::Kind::kArena;
      if (requests[r].returned || may_leave[r]) {
        kind = Placement::Kind::kSlot;
      } else if (varies) {
        kind = Placement::Kind::kOwn;
      } else if (requests[r].end < 0) {
        kind = Placement::Kind::kOrdinary;
      }
      plan_->placements.push_back({kind, 0});
    }
  }

  // The user declared this engine output to be one that the caller gets.
  bool is_unowned_output(ValueId value) const {
    const NodeId producer = graph_.value(value).producer;
    if (!producer.valid()) return false;
    const auto& engine = program_.nodes()[producer.index].engine;
    if (engine == nullptr) return false;
    const auto& outputs = graph_.node(producer).outputs;
    for (size_t i = 0; i < outputs.size(); ++i) {
      const auto& values = outputs[i].values;
      if (std::find(values.begin(), values.end(), value) != values.end()) return engine->are_output_tensors_unowned(i);
    }
    return false;
  }

  void lay_out_arena() {
    std::vector<plan::Buffer> buffers;
    std::vector<size_t> request_of;
    for (size_t r = 0; r < plan_->placements.size(); ++r) {
      if (plan_->placements[r].kind != Placement::Kind::kArena) continue;
      const Request& request = plan_->observation.requests[r];
      buffers.push_back({.begin = request.begin, .end = request.end, .size = request.bytes});
      request_of.push_back(r);
    }
    const plan::Layout layout = plan::greedy_by_size(buffers);
    const auto violation = plan::find_violation(buffers, layout);
    check(!violation, ErrorCode::kInternal, "the memory plan is wrong: ", violation.value_or(""));
    for (size_t b = 0; b < buffers.size(); ++b) plan_->placements[request_of[b]].offset = layout.offsets[b];
    plan_->arena_bytes = layout.arena_size;
  }

  bool all_inputs_fixed(const Node& node) const {
    bool fixed = true;
    for_each_input(node, [&](ValueId value) { fixed &= is_fixed(value); });
    return fixed;
  }

  void choose_modes(size_t node) {
    const bool inputs_fixed = all_inputs_fixed(graph_.nodes[node]);
    const AliasFacts& facts = program_.ownership().facts[node];
    // A view whose place another tensor's content may decide (narrow.Tensor) is not determined by the signature.
    const bool movable_only =
        facts.changes_metadata_in_place || (facts.mutates.empty() && views_by_content(graph_, graph_.nodes[node], facts));
    size_t k = 0;
    for_each_output(graph_.nodes[node], [&](ValueId value) {
      const bool aliases = !facts.may_alias[k++].empty();
      const ValueRecord& seen = record(value);
      if (owner(value).data_dependent || owner(value).movable || movable_only || plan_->varies[node] || !seen.plain) return;
      switch (seen.origin) {
        case Origin::kNumber: return set_mode(value, !is_tensor(value));  // a tensor that was None this time
        case Origin::kWeight: return set_mode(value, aliases && inputs_fixed);
        case Origin::kRequest: return set_mode(value, lies_in_arena(seen) && (!aliases || inputs_fixed || makes(node, seen)));
        default: return;
      }
    });
  }

  bool lies_in_arena(const ValueRecord& seen) const {
    return plan_->placements[static_cast<size_t>(seen.request)].kind == Placement::Kind::kArena;
  }

  // A conditional view that was memory of its own.
  bool makes(size_t node, const ValueRecord& seen) const {
    return plan_->observation.requests[static_cast<size_t>(seen.request)].node == static_cast<int>(node);
  }

  const Program& program_;
  const Graph& graph_;
  const std::vector<Owner>& owners_;
  std::shared_ptr<Plan> plan_;
};

}  // namespace

std::shared_ptr<const Plan> make_plan(const Program& program, Observation observation) {
  return Planning(program, std::move(observation)).run();
}

bool is_elided(const Program& program, const Plan& plan, size_t index) {
  const Node& node = program.graph().nodes[index];
  if (node.kind == NodeKind::kEngine) return false;
  const AliasFacts& facts = program.ownership().facts[index];
  if (!facts.mutates.empty() || facts.changes_metadata_in_place) return false;
  // What a custom operator does besides its results is not in its schema: it is called in every run.
  if (node.kind == NodeKind::kOperator && !node.target.starts_with("aten::") && !node.target.starts_with("prims::")) return false;
  bool fixed = true;
  const auto look = [&](ValueId value) { fixed &= plan.modes[value.index] == ValueMode::kFixed; };
  for_each_input(node, look);
  for_each_output(node, look);
  if (!fixed) return false;
  // What is left: arithmetic on sizes and assertions about them, and views of fixed memory. An operator that writes memory must
  // run.
  if (plan.observation.of_node[index].second > 0) return false;
  bool writes = false;
  size_t k = 0;
  for_each_output(node, [&](ValueId value) {
    const bool is_tensor = program.graph().value(value).kind == ValueKind::kTensor;
    writes |= is_tensor && facts.may_alias[k].empty();
    ++k;
  });
  // An assertion about a tensor's content (no results, a tensor argument) must run too.
  if (node.outputs.empty())
    for_each_input(node, [&](ValueId value) { writes |= program.graph().value(value).kind == ValueKind::kTensor; });
  return !writes;
}

}  // namespace tenure
