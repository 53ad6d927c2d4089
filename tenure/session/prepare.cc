#include "tenure/session/prepare.h"

#include <ATen/ATen.h>
#include <c10/core/Allocator.h>

#include "tenure/session/frame.h"

namespace tenure {
namespace {

using Origin = ValueRecord::Origin;

// Not tenure_delete: a replay counts what it handed out and got back, and these storages are neither.
void leave_alone(void*) {}

at::Tensor tensor_over(const c10::Storage& storage, const ValueRecord& seen) {
  const c10::DispatchKey key = seen.device.is_cpu() ? c10::DispatchKey::CPU : c10::DispatchKey::CUDA;
  at::Tensor tensor = at::detail::make_tensor<c10::TensorImpl>(c10::Storage(storage), c10::DispatchKeySet(key),
                                                               c10::scalarTypeToTypeMeta(seen.dtype));
  tensor.unsafeGetTensorImpl()->set_sizes_and_strides(seen.sizes, seen.strides, seen.storage_offset);
  return tensor;
}

// ATen's _unsafe_masked_index and its _put_accumulate write their own scratch into the list of indices that they are given: it must
// be one that ends with the call.
bool keeps_scratch_in_lists(const Node& node) { return node.target.starts_with("aten::_unsafe_masked_index"); }

/// Builds one PreparedRun.
class Preparation {
 public:
  Preparation(const Program& program, std::shared_ptr<const Plan> plan, const Arenas& arenas, const Registers& weights)
      : program_(program), graph_(program.graph()), run_(std::make_unique<PreparedRun>()) {
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
      storages_[r] = c10::Storage(c10::Storage::use_byte_size_t(), static_cast<size_t>(requests[r].bytes),
                                  c10::DataPtr(address, address, &leave_alone, device), c10::GetAllocator(device.type()),
                                  /*resizable=*/true);
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
        fixed = tensor_over(storages_[static_cast<size_t>(seen.request)], seen);
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
    return call;
  }

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

std::unique_ptr<PreparedRun> prepare(const Program& program, std::shared_ptr<const Plan> plan, const Arenas& arenas,
                                     const Registers& weights, const std::vector<std::vector<ValueId>>& release_after) {
  return Preparation(program, std::move(plan), arenas, weights).run(release_after);
}

}  // namespace tenure
