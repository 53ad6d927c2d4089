// tenure/torch_api/loaded_engine.h: an engine's description and bytes, loaded once however many torch objects share it.
//
// torch copies a script object each time it traces a graph that holds one, by handing what __getstate__ gave to __setstate__. The
// bytes are a tensor in that state, so the copy has the same bytes at the same address: it gets the engine that is loaded already.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

#include "tenure/engine/engine.h"

namespace tenure {

/// Immutable, thread-safe.
struct LoadedEngine {
  EngineSpec spec;
  std::string spec_json;  // `spec` as a manifest has it
  at::Tensor blob;        // uint8
  c10::Device device;     // on which it runs: of an engine for an accelerator the one that was current when it was loaded
  std::shared_ptr<CompiledEngine> compiled;
};

/// The engine of this blob (one-dimensional, dense, uint8, never written to), loaded unless it is. Throws Error: kBadFile for a
/// description or blob that is damaged, kUnsupported for a backend that this build lacks or outputs in an input's memory, kEngine.
/// Thread-safe.
std::shared_ptr<const LoadedEngine> load_engine(const std::string& spec_json, const at::Tensor& blob);

/// Makes contexts of a loaded engine, which it keeps alive.
std::unique_ptr<CompiledEngine> share_compiled(std::shared_ptr<const LoadedEngine> loaded);

}  // namespace tenure
