#include "tenure/session/executor.h"

#include <ATen/ATen.h>

#include "tenure/base/error.h"
#include "tenure/session/region.h"

namespace tenure {
namespace {

constexpr int kMaxCellsOfNode = 256;  // an operator that makes more requests in one call is served as PyTorch does

// Whether `made` is what consumers of the fixed tensor hold: the same bytes, seen the same way.
bool is_same(const at::Tensor& made, const at::Tensor& fixed) {
  return made.unsafeGetTensorImpl() == fixed.unsafeGetTensorImpl() ||
         (made.const_data_ptr() == fixed.const_data_ptr() && made.sizes() == fixed.sizes() && made.strides() == fixed.strides());
}

bool take_result(const PreparedResult& result, c10::IValue&& made, Registers& registers) {
  c10::IValue& slot = registers[result.value.index];
  if (result.fixed && (!slot.isTensor() || is_same(made.toTensor(), slot.toTensor()))) return true;
  slot = std::move(made);
  return !result.fixed;
}

// True if every fixed result is where it was observed.
bool take_results(const PreparedCall& call, torch::jit::Stack& stack, Registers& registers) {
  bool as_observed = true;
  for (const PreparedResult& result : call.results) {
    c10::IValue& item = stack[static_cast<size_t>(result.position)];
    if (result.element < 0) {
      as_observed &= take_result(result, std::move(item), registers);
    } else {
      as_observed &= take_result(result, c10::IValue(item.toListRef()[static_cast<size_t>(result.element)]), registers);
    }
  }
  return as_observed;
}

void run_operator(const PreparedCall& call, torch::jit::Stack& stack, const Registers& registers) {
  stack.assign(call.arguments.begin(), call.arguments.end());
  const auto& parameters = call.call->op.schema().arguments();
  for (int i : call.patched) {
    const size_t p = static_cast<size_t>(i);
    stack[p] = materialize(call.call->arguments[p], *parameters[p].type(), registers);
  }
  call_operator(call.call->op, stack);
}

void run_scalar(const Node& node, const PreparedCall& call, torch::jit::Stack& stack, const Registers& registers) {
  stack.assign(call.arguments.begin(), call.arguments.end());
  for (int i : call.patched) stack[static_cast<size_t>(i)] = registers[node.inputs[static_cast<size_t>(i)].value.value().index];
  c10::IValue result = call.scalar(stack);
  stack.assign(1, std::move(result));
}

// Fixed outputs are bound where consumers expect them; the others are requested, in the order in which they were observed.
void run_engine(const Node& node, const PreparedCall& call, EngineContext& context, ReplayScope& scope, torch::jit::Stack& stack,
                const Registers& registers) {
  const std::vector<at::Tensor> inputs = engine_inputs(node, registers);
  for (size_t i = 0; i < inputs.size(); ++i) context.bind_input(i, inputs[i]);
  stack.assign(node.outputs.size(), c10::IValue());
  for (const PreparedResult& result : call.results) {
    if (result.fixed) stack[static_cast<size_t>(result.position)] = registers[result.value.index];
  }
  for (size_t i = 0; i < stack.size(); ++i) {
    if (stack[i].isTensor()) {
      scope.skip();
    } else {
      stack[i] = at::empty(call.engine->output_sizes(i, inputs), call.engine->spec().outputs[i].dtype);
    }
    context.bind_output(i, stack[i].toTensor());
  }
  context.enqueue();
}

}  // namespace

void ReplayScope::enter(const PreparedCall& call) {
  call_ = &call;
  next_ = 0;
  scratch_frees_ = 0;
  strayed_ = false;
  inside_ = true;
}

void* ReplayScope::serve(size_t bytes) {
  if (off_ || !inside_) return nullptr;
  return call_->varies ? serve_cell(bytes) : serve_planned(bytes);
}

void* ReplayScope::serve_planned(size_t bytes) {
  if (strayed_ || next_ >= call_->requests) return nullptr;
  const size_t r = static_cast<size_t>(call_->first_request + next_);
  const Request& request = run_.plan->observation.requests[r];
  if (request.bytes != static_cast<plan::Bytes>(bytes) || request.frees_before != scratch_frees_) {
    // The order of requests is no longer the observed one: the rest of the call could be given memory that is still in use.
    strayed_ = true;
    return nullptr;
  }
  switch (run_.plan->placements[r].kind) {
    case Placement::Kind::kArena:
      ++next_;
      ++outstanding_;
      return run_.addresses[r];
    case Placement::Kind::kSlot:
    case Placement::Kind::kOwn: return serve_cell(bytes);
    case Placement::Kind::kOrdinary: ++next_; return nullptr;
  }
  return nullptr;
}

void* ReplayScope::serve_cell(size_t bytes) {
  if (next_ >= kMaxCellsOfNode) return nullptr;
  return cells_.pool(call_->node, next_++).acquire(bytes, max_cells_);
}

void ReplayScope::allocated(void*, size_t bytes) {
  ++ordinary_requests_;
  ordinary_bytes_ += static_cast<int64_t>(bytes);
}

void ReplayScope::freed(void* p) {
  if (!arena_region().contains(p)) return;
  --outstanding_;
  if (!inside_ || call_->varies) return;
  for (int i = 0; i < next_ && i < call_->requests; ++i) {
    const size_t r = static_cast<size_t>(call_->first_request + i);
    // Only scratch counts, as it did in the observation; cells and ordinary memory have no planned address.
    if (run_.addresses[r] == p && run_.plan->observation.requests[r].scratch) {
      ++scratch_frees_;
      return;
    }
  }
}

size_t run_prepared(const Program& program, PreparedRun& run, Frame& frame, ReplayScope& scope) {
  torch::jit::Stack stack;
  for (const PreparedCall& call : run.calls) {
    const size_t index = static_cast<size_t>(call.node);
    const Node& node = program.graph().nodes[index];
    try {
      scope.enter(call);
      switch (call.kind) {
        case NodeKind::kOperator: run_operator(call, stack, run.registers); break;
        case NodeKind::kScalar: run_scalar(node, call, stack, run.registers); break;
        case NodeKind::kEngine:
          run_engine(node, call, context_of(program.nodes()[index], index, frame.contexts), scope, stack, run.registers);
          break;
      }
      scope.leave();
    } catch (Error& error) {
      throw error.add_context(concat("node ", node.name, " (", node.target, ")"));
    }
    if (!take_results(call, stack, run.registers)) return index + 1;
    for (ValueId value : call.released) run.registers[value.index] = c10::IValue();
  }
  return program.graph().nodes.size();
}

}  // namespace tenure
