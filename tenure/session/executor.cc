#include "tenure/session/executor.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "tenure/base/error.h"
#include "tenure/graph/step.h"

namespace tenure {
namespace {

constexpr int kMaxCellsOfNode = 256;  // an operator that makes more requests in one call is served as PyTorch does

// Whether `made` is what consumers of the fixed tensor hold: the same bytes, seen the same way.
bool is_same(const at::Tensor& made, const at::Tensor& fixed) {
  return made.unsafeGetTensorImpl() == fixed.unsafeGetTensorImpl() ||
         (made.const_data_ptr() == fixed.const_data_ptr() && made.sizes() == fixed.sizes() && made.strides() == fixed.strides());
}

// The plan keeps a place in the arena only for as long as the value that was observed there lives.
bool lies_elsewhere_in_arena(const PreparedResult& result, const c10::IValue& made, const Arenas& arenas) {
  const at::Tensor* tensor = stored_tensor(made);
  if (tensor == nullptr) return false;
  const void* place = tensor->storage().data();
  return place != result.place && arenas.contains(place);
}

bool take_result(const PreparedResult& result, c10::IValue&& made, const Arenas& arenas, Registers& registers) {
  c10::IValue& slot = registers[result.value.index];
  bool as_observed = !lies_elsewhere_in_arena(result, made, arenas);
  if (result.fixed) {
    if (!slot.isTensor()) return true;  // a number that the signature determines
    as_observed = made.isTensor() && made.toTensor().defined() && is_same(made.toTensor(), slot.toTensor());
    if (as_observed) return true;
  }
  slot = std::move(made);
  return as_observed;
}

// True if every result is where it was observed.
bool take_results(const Node& node, const PreparedCall& call, torch::jit::Stack& stack, const Arenas& arenas,
                  Registers& registers) {
  bool as_observed = true;
  for (const PreparedResult& result : call.results) {
    const size_t position = static_cast<size_t>(result.position);
    c10::IValue& item = stack[position];
    if (result.element < 0) {
      as_observed &= take_result(result, std::move(item), arenas, registers);
    } else {
      const auto elements = elements_of(node, node.outputs[position], item);
      as_observed &= take_result(result, c10::IValue(elements[static_cast<size_t>(result.element)]), arenas, registers);
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
  call_operator(*call.op, stack);
}

// Its results are where they belong. Should the variant want other scratch memory than the operator itself, it is not called again.
void run_bound_operator(PreparedCall& call, torch::jit::Stack& stack, const Registers& registers, const ReplayScope& scope) {
  run_operator(call, stack, registers);
  if (scope.strayed()) [[unlikely]]
    unbind(call);
}

void run_scalar(const Node& node, const PreparedCall& call, torch::jit::Stack& stack, const Registers& registers) {
  stack.assign(call.arguments.begin(), call.arguments.end());
  for (int i : call.patched) stack[static_cast<size_t>(i)] = registers[node.inputs[static_cast<size_t>(i)].value.value().index];
  c10::IValue result = call.scalar(stack);
  stack.assign(1, std::move(result));
}

// All that it reads and writes is fixed, and bound to the context since it ran for this plan before.
void run_bound_engine(const PreparedCall& call, uint64_t run, FrameContext& of_frame, const Registers& registers, RunTrace* trace) {
  if (of_frame.bound_by != run) {
    of_frame.bound_by = 0;
    for (size_t i = 0; i < call.arguments.size(); ++i) of_frame.context->bind_input(i, call.arguments[i].toTensor());
    for (const PreparedResult& result : call.results)
      of_frame.context->bind_output(static_cast<size_t>(result.position), registers[result.value.index].toTensor());
    of_frame.bound_by = run;
  }
  run_bound(*of_frame.context, trace);
}

// Fixed outputs are bound where consumers expect them; the others are requested, in the order in which they were observed.
void run_engine(const Node& node, const ResolvedNode& resolved, const PreparedCall& call, FrameContext& of_frame,
                torch::jit::Stack& stack, const Registers& registers, RunTrace* trace) {
  EngineContext& context = *of_frame.context;
  of_frame.bound_by = 0;
  const std::vector<at::Tensor> inputs = engine_inputs(node, registers);
  for (size_t i = 0; i < inputs.size(); ++i) context.bind_input(i, inputs[i]);
  std::vector<at::Tensor> outputs(node.outputs.size());
  for (const PreparedResult& result : call.results)
    if (result.fixed) outputs[static_cast<size_t>(result.position)] = registers[result.value.index].toTensor();
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (call.engine->sizes_depend_on_data(i)) continue;
    const Binding& binding = call.engine->spec().outputs[i];
    if (binding.aliases_input) {
      outputs[i] = inputs[*binding.aliases_input];
    } else if (!outputs[i].defined()) {
      outputs[i] = at::empty(call.engine->output_sizes(i, inputs), resolved.output_options[i]);
    }
    context.bind_output(i, outputs[i]);
  }
  run_bound(context, trace);
  take_outputs(*call.engine, context, outputs);
  write_aliased_inputs(node, *call.engine, inputs, registers, outputs);
  stack.assign(outputs.begin(), outputs.end());
}

void run_call(PreparedCall& call, const Node& node, const ResolvedNode& resolved, PreparedRun& run, Frame& frame,
              ReplayScope& scope, torch::jit::Stack& stack) {
  switch (call.kind) {
    case NodeKind::kScalar: return run_scalar(node, call, stack, run.registers);
    case NodeKind::kOperator:
      return call.is_bound ? run_bound_operator(call, stack, run.registers, scope) : run_operator(call, stack, run.registers);
    case NodeKind::kEngine: {
      FrameContext& context = context_of(resolved, static_cast<size_t>(call.node), frame.contexts);
      if (call.is_bound) return run_bound_engine(call, run.id, context, run.registers, frame.trace);
      return run_engine(node, resolved, call, context, stack, run.registers, frame.trace);
    }
  }
}

}  // namespace

void ReplayScope::enter(const PreparedCall& call) {
  call_ = &call;
  next_ = 0;
  served_.clear();
  freed_scratch_ = 0;
  strayed_ = false;
  inside_ = true;
}

void ReplayScope::enter_results() { in_results_ = inside_ = true; }

namespace {

Served in_cell(Cell* cell) { return cell != nullptr ? Served{cell->data(), cell} : Served{}; }

}  // namespace

Served ReplayScope::serve(Space space, size_t bytes) {
  if (!inside_) return {};
  if (in_results_)
    return in_cell(cells_.pool(cells_.results_node(), result_copies_[space]++, CellUse::kSlot, space).acquire(bytes, max_cells_));
  if (!call_->varies) return serve_planned(space, bytes);
  const bool leaves = next_ < call_->requests && placement(next_).kind == Placement::Kind::kSlot;
  return serve_cell(space, bytes, leaves ? CellUse::kSlot : CellUse::kOwn);
}

const Placement& ReplayScope::placement(int request) const {
  return run_.plan->placements[static_cast<size_t>(call_->first_request + request)];
}

Served ReplayScope::serve_planned(Space space, size_t bytes) {
  while (static_cast<size_t>(next_) < call_->given.size() && call_->given[static_cast<size_t>(next_)]) note({});
  strayed_ |= next_ >= call_->requests;
  if (strayed_) return {};
  const size_t r = static_cast<size_t>(call_->first_request + next_);
  const Request& request = run_.plan->observation.requests[r];
  if (request.bytes != static_cast<plan::Bytes>(bytes) || request.space != space || request.freed_before != freed_scratch_) {
    // The order of requests is no longer the observed one: the rest of the call could be given memory that is still in use.
    strayed_ = true;
    return {};
  }
  switch (run_.plan->placements[r].kind) {
    case Placement::Kind::kArena: ++outstanding_; [[fallthrough]];
    case Placement::Kind::kState: return note({run_.addresses[r]});
    case Placement::Kind::kSlot: return serve_cell(space, bytes, CellUse::kSlot);
    case Placement::Kind::kOwn: return serve_cell(space, bytes, CellUse::kOwn);
    case Placement::Kind::kOrdinary: return note({});
  }
  return {};
}

Served ReplayScope::serve_cell(Space space, size_t bytes, CellUse use) {
  if (next_ >= kMaxCellsOfNode) return {};
  return note(in_cell(cells_.pool(call_->node, next_, use, space).acquire(bytes, max_cells_)));
}

Served ReplayScope::note(Served served) {
  served_.push_back(served.data);
  ++next_;
  return served;
}

void ReplayScope::freed(void* p) {
  outstanding_ -= arenas_.contains(p);
  if (!inside_ || in_results_ || call_->varies) return;
  // The last request that was served there is the one that lives there.
  for (int i = std::min(next_, call_->requests) - 1; i >= 0; --i) {
    if (served_[static_cast<size_t>(i)] != p) continue;
    // Only scratch counts, as it did in the observation.
    const size_t r = static_cast<size_t>(call_->first_request + i);
    if (run_.plan->observation.requests[r].scratch) freed_scratch_ += free_mark(i);
    return;
  }
}

size_t run_prepared(const Program& program, PreparedRun& run, Frame& frame, ReplayScope& scope, OwnershipCheck* check) {
  torch::jit::Stack stack;
  for (PreparedCall& call : run.calls) {
    const size_t index = static_cast<size_t>(call.node);
    const Node& node = program.graph().nodes[index];
    try {
      if (check != nullptr) check->before(call);
      if (frame.trace != nullptr) frame.trace->begin_node(index);
      scope.enter(call);
      run_call(call, node, program.nodes()[index], run, frame, scope, stack);
      scope.leave();
      if (frame.trace != nullptr) frame.trace->end_node();
      run.deviated = !call.is_bound && !take_results(node, call, stack, frame.arenas, run.registers);
    } catch (Error& error) {
      throw error.add_context(concat("node ", node.name, " (", node.target, ")"));
    }
    if (run.deviated) return index + 1;
    for (ValueId value : call.released) run.registers[value.index] = c10::IValue();
    if (check != nullptr) check->after(call);
  }
  return program.graph().nodes.size();
}

}  // namespace tenure
