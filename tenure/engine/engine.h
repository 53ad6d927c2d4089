// tenure/engine/engine.h: the seam between Tenure and a compiled engine.
//
// An engine never allocates what leaves it: its outputs are bound by the caller, before it runs, to memory the caller owns.
// Reading order: graph/block.h (what the file says), Backend (who loads it), CompiledEngine (loaded once, shared by all
// frames), EngineContext (one per frame, runs), Engine (the public handle with the RFC's ownership switches).
#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tenure/graph/block.h"

namespace tenure {

/// One engine in one frame: bindings and scratch. Not thread-safe; each frame has its own. Outlived by its CompiledEngine.
class EngineContext {
 public:
  virtual ~EngineContext() = default;

  /// Binds contiguous memory to input or output `index`. The caller keeps the tensor's memory alive until the next bind of the same
  /// index or the context's end. dtype and rank equal the binding's. No copy is made; binding the same memory and sizes again is cheap.
  virtual void bind_input(size_t index, const at::Tensor& tensor) = 0;
  virtual void bind_output(size_t index, const at::Tensor& tensor) = 0;

  /// Runs on what is bound; every index has been bound. On CPU the outputs are written when it returns. Throws Error(kEngine).
  virtual void enqueue() = 0;
};

/// A loaded engine. Thread-safe.
class CompiledEngine {
 public:
  virtual ~CompiledEngine() = default;
  virtual std::unique_ptr<EngineContext> make_context() = 0;
};

/// Loads blobs of one kind. Thread-safe.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string_view name() const = 0;
  /// Imports a blob (not compiled again). Throws Error(kEngine or kBadFile) that says what to do.
  virtual std::unique_ptr<CompiledEngine> load(const EngineSpec& spec, std::span<const char> blob) = 0;
};

/// The public handle of an engine in a program; shared by all sessions of the program. Thread-safe.
class Engine {
 public:
  Engine(EngineSpec spec, std::unique_ptr<CompiledEngine> compiled);

  const EngineSpec& spec() const { return spec_; }
  std::unique_ptr<EngineContext> make_context() const { return compiled_->make_context(); }

  /// Sizes of output `index` for these inputs. Throws Error(kInvalidArgument) if the inputs do not fit the spec.
  std::vector<int64_t> output_sizes(size_t index, std::span<const at::Tensor> inputs) const;

  // The ownership switches of RFC #3985 (set_output_tensors_as_unowned and so on) follow in this class; they are the session
  // layer's author's.

 private:
  EngineSpec spec_;
  std::unique_ptr<CompiledEngine> compiled_;
};

}  // namespace tenure
