// tenure/session/plan.cc: from one observation to the places and modes of a replay.
//
// 1. varies: nodes that touch anything data-dependent
// 2. placements: returned, or an engine's output that is declared unowned -> slot; varying, or in the hands of a custom operator ->
// own buffer; outlived ->
//    ordinary; the new content of state that nobody reads any more -> where the state lies; the rest -> arena
// 3. layout: the arena's buffers through plan::greedy_by_size, checked by plan::find_violation
// 4. modes, forward: a value is fixed when its memory is (arena, weight) and its sizes and place in it follow from the signature
#include "tenure/session/plan.h"

#include <algorithm>

#include "tenure/base/error.h"

namespace tenure {
namespace {

using Origin = ValueRecord::Origin;

// As PyTorch's allocators align tensors, for kernels and libraries that rely on it.
constexpr BySpace<plan::Bytes> kAlignment{64, 512};

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
    for (const Space space : BySpace<int>::kSpaces) lay_out_arena(space);
    plan_->modes.assign(graph_.values.size(), ValueMode::kRegister);
    size_t user = 0;
    for (const GraphInput& input : graph_.inputs) {
      const bool is_user = input.kind == GraphInput::Kind::kUser;
      const bool free_number = is_user && !program_.signature_rules().number[user];
      user += is_user || input.kind == GraphInput::Kind::kUserConstant;
      // A number that the signature holds is the same in each run; the caller's tensors are not.
      if (input.value.valid())
        set_mode(input.value, !free_number && !(is_user && is_tensor(input.value)) && !owner(input.value).movable);
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
    std::vector<bool> declared_unowned(requests.size());
    for (size_t v = 0; v < graph_.values.size(); ++v) {
      const ValueRecord& seen = plan_->observation.values[v];
      if (seen.origin == Origin::kRequest && is_unowned_output(ValueId(v)))
        declared_unowned[static_cast<size_t>(seen.request)] = true;
    }
    const std::vector<bool> may_be_kept = requests_of_custom_operators();
    for (size_t r = 0; r < requests.size(); ++r) {
      const bool varies = plan_->varies[static_cast<size_t>(requests[r].node)];
      Placement::Kind kind = Placement::Kind::kArena;
      if (requests[r].returned || declared_unowned[r]) {
        kind = Placement::Kind::kSlot;
      } else if (requests[r].end < 0 && !varies) {
        kind = Placement::Kind::kOrdinary;
      } else if (varies || may_be_kept[r] || requests[r].other_stream) {
        kind = Placement::Kind::kOwn;
      }
      plan_->placements.push_back({kind, 0, {}});
    }
    for (const GraphOutput& output : graph_.outputs)
      if (output.kind == GraphOutput::Kind::kBufferMutation && output.value.is_value()) place_in_state(output);
  }

  // What a custom operator reads, makes or scratches in: it may begin to keep it in any run, and only a cell finds out in time.
  std::vector<bool> requests_of_custom_operators() const {
    const auto& requests = plan_->observation.requests;
    std::vector<bool> found(requests.size());
    const auto mark = [&](ValueId value) {
      if (record(value).origin == Origin::kRequest) found[static_cast<size_t>(record(value).request)] = true;
    };
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (!program_.ownership().facts[i].custom) continue;
      for_each_input(graph_.nodes[i], mark);
      for_each_output(graph_.nodes[i], mark);
      const auto [first, count] = plan_->observation.of_node[i];
      for (int r = first; r < first + count; ++r) found[static_cast<size_t>(r)] = true;
    }
    return found;
  }

  // An operator may write its result straight over the old content, if that is read by nobody from then on.
  void place_in_state(const GraphOutput& output) {
    const ValueRecord& source = record(output.value.value());
    if (source.origin != Origin::kRequest || !source.plain || source.storage_offset != 0) return;
    const ValueId input = mutated_input(graph_, output);
    if (!input.valid() || record(input).origin != Origin::kWeight || owner(input).movable) return;
    const ValueRecord& target = record(input);
    const Request& request = plan_->observation.requests[static_cast<size_t>(source.request)];
    const bool same_layout = target.dtype == source.dtype && target.sizes == source.sizes && target.strides == source.strides &&
                             target.storage_offset == 0 && static_cast<size_t>(request.bytes) == target.tensor.storage().nbytes();
    Placement& placement = plan_->placements[static_cast<size_t>(source.request)];
    if (!same_layout || placement.kind != Placement::Kind::kArena || last_read(target.tensor) >= request.node) return;
    placement = {Placement::Kind::kState, 0, input};
  }

  // The last node that reads the storage of that weight or state.
  int last_read(const at::Tensor& tensor) const {
    int last = -1;
    for (size_t v = 0; v < graph_.values.size(); ++v) {
      const ValueRecord& seen = record(ValueId(v));
      if (seen.origin == Origin::kWeight && seen.tensor.storage().unsafeGetStorageImpl() == tensor.storage().unsafeGetStorageImpl())
        last = std::max(last, program_.ownership().last_use[v]);
    }
    return last;
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

  void lay_out_arena(Space space) {
    std::vector<plan::Buffer> buffers;
    std::vector<size_t> request_of;
    for (size_t r = 0; r < plan_->placements.size(); ++r) {
      const Request& request = plan_->observation.requests[r];
      if (plan_->placements[r].kind != Placement::Kind::kArena || request.space != space) continue;
      buffers.push_back({.begin = request.begin, .end = request.end, .size = request.bytes, .alignment = kAlignment[space]});
      request_of.push_back(r);
    }
    const plan::Layout layout = plan::greedy_by_size(buffers);
    const auto violation = plan::find_violation(buffers, layout);
    check(!violation, ErrorCode::kInternal, "the memory plan is wrong: ", violation.value_or(""));
    for (size_t b = 0; b < buffers.size(); ++b) plan_->placements[request_of[b]].offset = layout.offsets[b];
    plan_->arena_bytes[space] = layout.arena_size;
  }

  bool all_inputs_fixed(const Node& node) const {
    bool fixed = true;
    for_each_input(node, [&](ValueId value) { fixed &= is_fixed(value); });
    return fixed;
  }

  bool all_number_inputs_fixed(const Node& node) const {
    bool fixed = true;
    for_each_input(node, [&](ValueId value) { fixed &= is_tensor(value) || is_fixed(value); });
    return fixed;
  }

  void choose_modes(size_t node) {
    const bool inputs_fixed = all_inputs_fixed(graph_.nodes[node]);
    const AliasFacts& facts = program_.ownership().facts[node];
    // A view whose place another tensor's content may decide (narrow.Tensor) is not determined by the signature.
    const bool place_unknown =
        facts.changes_metadata_in_place || (facts.mutates.empty() && views_by_content(graph_, graph_.nodes[node], facts));
    const bool numbers_fixed = all_number_inputs_fixed(graph_.nodes[node]);
    size_t k = 0;
    for_each_output(graph_.nodes[node], [&](ValueId value) {
      const bool aliases = !facts.may_alias[k++].empty();
      const ValueRecord& seen = record(value);
      if (owner(value).data_dependent || owner(value).movable || place_unknown || plan_->varies[node] || !seen.plain) return;
      switch (seen.origin) {
        case Origin::kNumber: return set_mode(value, !is_tensor(value) && numbers_fixed);  // a tensor that was None this time
        case Origin::kWeight: return set_mode(value, aliases && inputs_fixed);
        case Origin::kRequest: return set_mode(value, has_fixed_place(seen) && (!aliases || inputs_fixed || makes(node, seen)));
        default: return;
      }
    });
  }

  bool has_fixed_place(const ValueRecord& seen) const { return plan_->placements[static_cast<size_t>(seen.request)].is_fixed(); }

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

int64_t footprint(const Plan& plan) {
  constexpr size_t kTensorBytes = 400, kCallBytes = 300;  // a TensorImpl with its storage, a prepared call with its arguments
  size_t bytes = sizeof(Plan) + plan.observation.requests.size() * (sizeof(Request) + sizeof(Placement) + sizeof(void*));
  bytes += plan.observation.of_node.size() * kCallBytes;
  for (const ValueRecord& record : plan.observation.values)
    bytes += sizeof(ValueRecord) + 2 * record.sizes.size() * sizeof(int64_t);
  for (ValueMode mode : plan.modes) bytes += mode == ValueMode::kFixed ? kTensorBytes : sizeof(c10::IValue);
  return static_cast<int64_t>(bytes);
}

bool is_elided(const Program& program, const Plan& plan, size_t index) {
  const Graph& graph = program.graph();
  const Node& node = graph.nodes[index];
  const AliasFacts& facts = program.ownership().facts[index];
  // What a custom operator does besides its results is not in its schema: it is called in every run.
  if (node.kind == NodeKind::kEngine || facts.custom || !facts.mutates.empty() || facts.changes_metadata_in_place) return false;
  if (plan.observation.of_node[index].second > 0) return false;  // it writes memory
  bool inputs_fixed = true, outputs_fixed = true, reads_tensor = false, only_numbers = true, writes = false;
  for_each_input(node, [&](ValueId value) {
    inputs_fixed &= plan.modes[value.index] == ValueMode::kFixed;
    reads_tensor |= graph.value(value).kind == ValueKind::kTensor;
  });
  size_t k = 0;
  for_each_output(node, [&](ValueId value) {
    const bool is_tensor = graph.value(value).kind == ValueKind::kTensor;
    outputs_fixed &= plan.modes[value.index] == ValueMode::kFixed;
    only_numbers &= !is_tensor;
    writes |= is_tensor && facts.may_alias[k].empty();
    ++k;
  });
  if (!outputs_fixed || writes) return false;
  // An assertion has no results: about sizes it held when observed, about a tensor's content it must be asked in each run.
  if (node.outputs.empty()) return inputs_fixed && !reads_tensor;
  return inputs_fixed || only_numbers;  // sizes that the signature determines, though of a tensor that comes anew in each run
}

}  // namespace tenure
