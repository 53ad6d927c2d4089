// tenure/session/interpreter.h: runs nodes one after the other in the plainest way: look up arguments, call, store results.
//
// The reference for every answer; the observing run is it with a MemoryScope around; a replay that deviates goes on with it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "tenure/engine/engine.h"
#include "tenure/graph/operator.h"
#include "tenure/session/program.h"
#include "tenure/session/run_trace.h"

namespace tenure {

/// After which node each produced value is read for the last time. Program outputs are never released.
struct ReleaseTable {
  explicit ReleaseTable(const Graph& graph);
  std::vector<std::vector<ValueId>> after;  // by node
};

/// The context of an engine in one frame.
struct FrameContext {
  std::unique_ptr<EngineContext> context;
  uint64_t bound_by = 0;  // id of the PreparedRun whose fixed tensors are bound to it; 0: others are, or none
};

/// By node; made when first used.
using EngineContexts = std::vector<FrameContext>;

/// That of engine node `node`.
FrameContext& context_of(const ResolvedNode& resolved, size_t node, EngineContexts& contexts);

/// Runs node `node` of the program: reads and writes `registers`. `trace` may be null. Throws Error with the context "node NAME".
void interpret_node(const Program& program, size_t node, EngineContexts& contexts, Registers& registers, RunTrace* trace);

/// Runs what is bound; in a traced run the engine's layers are timed.
void run_bound(EngineContext& context, RunTrace* trace);

/// The call's tensors as engine inputs: dense copies are made of those that are not contiguous.
std::vector<at::Tensor> engine_inputs(const Node& node, const Registers& registers);

/// After the engine ran: puts in those whose sizes depend on data.
void take_outputs(const Engine& engine, EngineContext& context, std::vector<at::Tensor>& outputs);

/// After the engine ran: puts the node's own inputs in the place of the outputs that alias them, and writes to those that
/// engine_inputs() had to copy.
void write_aliased_inputs(const Node& node, const Engine& engine, const std::vector<at::Tensor>& inputs, const Registers& registers,
                          std::vector<at::Tensor>& outputs);

}  // namespace tenure
