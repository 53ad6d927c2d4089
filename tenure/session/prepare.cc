#include "tenure/session/prepare.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <atomic>

#include "tenure/graph/out_variant.h"
#include "tenure/graph/tensor_over.h"
#include "tenure/session/frame.h"

namespace tenure {
namespace {

using Origin = ValueRecord::Origin;

// Not tenure_delete: a replay counts what it handed out and got back, and these storages are neither.
void leave_alone(void*) {}

at::Tensor value_over(const c10::Storage& storage, const ValueRecord& seen) {
  at::Tensor tensor = tensor_over(storage, seen.dtype);
  tensor.unsafeGetTensorImpl()->set_sizes_and_strides(seen.sizes, seen.strides, seen.storage_offset);
  return tensor;
}

// ATen's _unsafe_masked_index and its _put_accumulate write their own scratch into the list of indices that they are given: it must
// be one that ends with the call.
bool keeps_scratch_in_lists(const Node& node) { return node.target.starts_with("aten::_unsafe_masked_index"); }

uint64_t next_id() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

// Arithmetic of a float32 tensor and a number: PyTorch makes the number a float32 tensor in each call.
bool is_float32_arithmetic(const Node& node) {
  static constexpr std::string_view kTargets[] = {"aten::add.Tensor", "aten::sub.Tensor", "aten::mul.Tensor", "aten::div.Tensor"};
  return std::find(std::begin(kTargets), std::end(kTargets), node.target) != std::end(kTargets);
}

bool is_wrapped_number(const c10::IValue& value) {
  return value.isTensor() && value.toTensor().defined() && value.toTensor().unsafeGetTensorImpl()->is_wrapped_number();
}

c10::IValue as_float32(const c10::IValue& wrapped) {
  at::Tensor number = wrapped.toTensor().to(at::kFloat);
  number.unsafeGetTensorImpl()->set_wrapped_number(true);
  return number;
}

/// Builds one PreparedRun.
class Preparation {
 public:
  Preparation(const Program& program, std::shared_ptr<const Plan> plan, const Arenas& arenas, const Registers& weights)
      : program_(program), graph_(program.graph()), run_(std::make_unique<PreparedRun>()) {
    run_->id = next_id();
    run_->plan = std::move(plan);
    run_->registers = weights;
    place_requests(arenas, weights);
    make_fixed_values();
  }

  std::unique_ptr<PreparedRun> run(const std::vector<std::vector<ValueId>>& release_after) {
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (!is_elided(program_, *run_->plan, i)) run_->calls.push_back(make_call(i));
      // What an elided node was the last to read is released with the call before it.
      if (run_->calls.empty()) continue;
      for (ValueId value : release_after[i])
        if (!is_fixed(value)) run_->calls.back().released.push_back(value);
    }
    return std::move(run_);
  }

 private:
  bool is_fixed(ValueId value) const { return run_->plan->modes[value.index] == ValueMode::kFixed; }

  void place_requests(const Arenas& arenas, const Registers& weights) {
    const auto& requests = run_->plan->observation.requests;
    run_->addresses.assign(requests.size(), nullptr);
    storages_.resize(requests.size());
    for (size_t r = 0; r < requests.size(); ++r) {
      const Placement& placement = run_->plan->placements[r];
      if (placement.kind == Placement::Kind::kSlot) {
        const int node = requests[r].node;
        const int first = run_->plan->observation.of_node[static_cast<size_t>(node)].first;
        run_->slots.push_back({node, static_cast<int>(r) - first, requests[r].space});
      }
      if (!placement.is_fixed()) continue;
      const bool in_arena = placement.kind == Placement::Kind::kArena;
      void* address =
          in_arena ? arenas[requests[r].space].base() + placement.offset : weights[placement.state.index].toTensor().data_ptr();
      const c10::Device device = requests[r].space == Space::kHost ? c10::Device(c10::kCPU) : *program_.accelerator();
      run_->addresses[r] = address;
      storages_[r] = storage_over({address, address, &leave_alone, device}, static_cast<size_t>(requests[r].bytes));
    }
  }

  void make_fixed_values() {
    std::vector<bool> is_weight(graph_.values.size());
    for (const GraphInput& input : graph_.inputs)
      if (input.value.valid()) is_weight[input.value.index] = input.kind != GraphInput::Kind::kUser;
    for (size_t v = 0; v < graph_.values.size(); ++v) {
      if (is_weight[v]) continue;  // it stays in its register, also where its metadata may change
      const ValueRecord& seen = run_->plan->observation.values[v];
      if (run_->plan->modes[v] != ValueMode::kFixed) {
        run_->varying.push_back(ValueId(v));
        continue;
      }
      c10::IValue& fixed = run_->registers[v];
      if (seen.origin == Origin::kNumber) {
        fixed = seen.number;
      } else if (seen.origin == Origin::kWeight) {
        fixed = seen.tensor;
      } else {
        fixed = value_over(storages_[static_cast<size_t>(seen.request)], seen);
      }
    }
  }

  PreparedCall make_call(size_t index) {
    const Node& node = graph_.nodes[index];
    const ResolvedNode& resolved = program_.nodes()[index];
    PreparedCall call;
    call.node = static_cast<int>(index);
    call.kind = node.kind;
    call.varies = run_->plan->varies[index];
    call.scalar = resolved.scalar;
    call.engine = resolved.engine.get();
    std::tie(call.first_request, call.requests) = run_->plan->observation.of_node[index];
    if (resolved.call) {
      call.call = &*resolved.call;
      call.op = resolved.call->op;
      const auto& parameters = resolved.call->op.schema().arguments();
      for (size_t i = 0; i < parameters.size(); ++i) add_argument(call, node, resolved.call->arguments[i], *parameters[i].type());
    } else {
      for (const NamedArgument& input : node.inputs) add_argument(call, node, input.value, *c10::AnyType::get());
    }
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      const NodeOutput& output = node.outputs[i];
      for (size_t k = 0; k < output.values.size(); ++k) {
        if (!output.values[k].valid()) continue;
        call.results.push_back({.value = output.values[k],
                                .position = static_cast<int>(i),
                                .element = output.is_list ? static_cast<int>(k) : -1,
                                .fixed = is_fixed(output.values[k]),
                                .place = planned_place(output.values[k])});
      }
    }
    if (call.kind == NodeKind::kEngine) {
      give_results(call);
      call.is_bound = makes_fixed_memory(index, call) && reads_fixed_memory(node, call);
    } else if (call.kind == NodeKind::kOperator && makes_fixed_memory(index, call)) {
      bind_operator(node, call);
    }
    return call;
  }

  // What it makes that is fixed lies in memory that it need not ask for.
  void give_results(PreparedCall& call) const {
    call.given.assign(static_cast<size_t>(call.requests), false);
    for (const PreparedResult& result : call.results) {
      const int request = run_->plan->observation.values[result.value.index].request - call.first_request;
      if (result.fixed && request >= 0 && request < call.requests) call.given[static_cast<size_t>(request)] = true;
    }
  }

  // Every result is a fixed tensor in memory that the node asked for itself.
  bool makes_fixed_memory(size_t index, const PreparedCall& call) const {
    const AliasFacts& facts = program_.ownership().facts[index];
    const auto aliases = [](const auto& of_output) { return !of_output.empty(); };
    if (call.varies || call.results.size() != graph_.nodes[index].outputs.size() || facts.custom || !facts.mutates.empty() ||
        facts.changes_metadata_in_place || std::any_of(facts.may_alias.begin(), facts.may_alias.end(), aliases))
      return false;
    return !call.results.empty() && std::all_of(call.results.begin(), call.results.end(), [&](const PreparedResult& result) {
      const ValueRecord& seen = run_->plan->observation.values[result.value.index];
      return result.fixed && result.element < 0 && seen.origin == Origin::kRequest &&
             run_->plan->observation.requests[static_cast<size_t>(seen.request)].node == call.node;
    });
  }

  bool reads_fixed_memory(const Node& node, const PreparedCall& call) const {
    bool fixed = call.patched.empty();
    for_each_input(node, [&](ValueId value) {
      const c10::IValue& input = run_->registers[value.index];
      fixed = fixed && is_plain(value) && input.isTensor() && input.toTensor().is_contiguous();
    });
    return fixed;
  }

  // The operator was done with scratch memory when it asked for a result's, and the plan made them one; a variant that is given the
  // result may write it before.
  bool results_lie_on_scratch(const PreparedCall& call) const {
    const auto begin = [&](int r) { return static_cast<const char*>(run_->addresses[static_cast<size_t>(r)]); };
    const auto end = [&](int r) { return begin(r) + run_->plan->observation.requests[static_cast<size_t>(r)].bytes; };
    for (const PreparedResult& result : call.results) {
      const int made = run_->plan->observation.values[result.value.index].request;
      for (int r = call.first_request; r < call.first_request + call.requests; ++r)
        if (r != made && begin(r) != nullptr && begin(r) < end(made) && begin(made) < end(r)) return true;
    }
    return false;
  }

  // Where it can be, an operator is given its results, and neither asks for memory nor makes tensors.
  void bind_operator(const Node& node, PreparedCall& call) {
    bool plain = true;
    for_each_input(node, [&](ValueId value) { plain &= graph_.value(value).kind != ValueKind::kTensor || is_plain(value); });
    if (!plain || results_lie_on_scratch(call)) return;
    const at::Tensor& first = run_->registers[call.results[0].value.index].toTensor();
    const auto out = find_out_variant(*call.op, first.is_cpu() ? c10::DispatchKey::CPU : c10::DispatchKey::CUDA);
    if (!out) return;
    if (first.is_cpu() && first.scalar_type() == at::kFloat && is_float32_arithmetic(node)) {
      for (c10::IValue& argument : call.arguments)
        if (is_wrapped_number(argument)) argument = as_float32(argument);
    }
    call.arguments.insert(call.arguments.end(), out->more.begin(), out->more.end());
    for (const PreparedResult& result : call.results) call.arguments.push_back(run_->registers[result.value.index]);
    call.op = out->op;
    call.is_bound = true;
    give_results(call);
  }

  bool is_plain(ValueId value) const { return run_->plan->observation.values[value.index].plain; }

  const void* planned_place(ValueId value) const {
    const ValueRecord& seen = run_->plan->observation.values[value.index];
    return seen.origin == Origin::kRequest ? run_->addresses[static_cast<size_t>(seen.request)] : nullptr;
  }

  void add_argument(PreparedCall& call, const Node& node, const Argument& argument, const c10::Type& type) {
    bool fixed = !(argument.is_list() && keeps_scratch_in_lists(node));
    for_each_value(argument, [&](ValueId value) { fixed &= is_fixed(value); });
    if (!fixed) call.patched.push_back(static_cast<int>(call.arguments.size()));
    call.arguments.push_back(fixed ? materialize(argument, type, run_->registers) : c10::IValue());
  }

  const Program& program_;
  const Graph& graph_;
  std::unique_ptr<PreparedRun> run_;
  std::vector<c10::Storage> storages_;  // by request
};

}  // namespace

void unbind(PreparedCall& call) {
  call.op = call.call->op;
  call.arguments.resize(call.call->arguments.size());
  for (size_t i = 0; i < call.arguments.size(); ++i)
    if (call.call->arguments[i].is_constant()) call.arguments[i] = call.call->arguments[i].constant();
  call.given.clear();
  call.is_bound = false;
}

std::unique_ptr<PreparedRun> prepare(const Program& program, std::shared_ptr<const Plan> plan, const Arenas& arenas,
                                     const Registers& weights, const std::vector<std::vector<ValueId>>& release_after) {
  return Preparation(program, std::move(plan), arenas, weights).run(release_after);
}

}  // namespace tenure
