// tenure/engine/engine.h: the seam between Tenure and a compiled engine.
//
// An engine never allocates what leaves it: its outputs are bound by the caller, before it runs, to memory the caller owns.
// Reading order: graph/engine_spec.h (what the file says), Backend (who loads it), CompiledEngine (loaded once, shared by all
// frames), EngineContext (one per frame, runs), Engine (the public handle with the RFC's ownership switches).
#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tenure/engine/binding.h"
#include "tenure/graph/engine_spec.h"

namespace tenure {

/// What a layer of an engine took in one run.
struct LayerTime {
  std::string name;  // the engine's own
  int64_t nanoseconds = 0;
};

/// One engine in one frame: bindings and scratch. Not thread-safe; each frame has its own. Outlived by its CompiledEngine.
class EngineContext {
 public:
  virtual ~EngineContext() = default;

  /// Binds contiguous memory to input or output `index`. The caller keeps it alive until enqueue() has returned; afterwards it may
  /// be gone, so the context keeps at most the address, to find that the same memory is bound again, and never the tensor. dtype
  /// and rank equal the binding's. No copy is made; binding the same memory and sizes again is cheap. If it throws, nothing is
  /// bound.
  virtual void bind_input(size_t index, const at::Tensor& tensor) = 0;
  virtual void bind_output(size_t index, const at::Tensor& tensor) = 0;

  /// Runs on what is bound; every index has been bound. On CPU the outputs are written when it returns. Throws Error(kEngine).
  virtual void enqueue() = 0;

  /// The same, and tells what each of the engine's layers took, in their order; nothing where the backend cannot tell. May wait for
  /// the engine's work on a device, and cost more than a plain run: for traces.
  virtual std::vector<LayerTime> enqueue_and_time() {
    enqueue();
    return {};
  }

  /// An output whose sizes depend on data is not bound, but taken after each enqueue(), once: dense memory of its own that the
  /// engine asked PyTorch's allocator for while it ran, where the caller's MemoryScope saw to it. The context keeps nothing of it.
  /// Throws Error(kUnsupported): a backend that has no such outputs refuses them when it loads.
  virtual at::Tensor take_output(size_t index);
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
  /// The runtime behind it as its users know it, with the version that is loaded: "TensorRT-RTX 1.4.0". Empty: Tenure's own.
  virtual std::string runtime() const { return {}; }
  /// What its engines run on, wherever the model was exported; nothing: where it was exported.
  virtual std::optional<c10::DeviceType> device_type() const { return std::nullopt; }
  /// Imports a blob (not compiled again) for the current device of that type. Beside `program_file`, the file that the blob is
  /// from, a backend may keep what it makes of the engine for this machine, in files whose names begin with that one's; that it
  /// cannot write there is no error. Empty: nothing is kept. Throws Error(kEngine or kBadFile) that says what to do.
  virtual std::unique_ptr<CompiledEngine> load(const EngineSpec& spec, std::span<const char> blob,
                                               const std::filesystem::path& program_file) = 0;
};

/// For backends whose engines have no such outputs. Throws Error(kUnsupported) that names the output.
void refuse_data_dependent_outputs(const EngineSpec& spec);

/// "<tenure engine engine_0: openvino, 1 inputs, 2 outputs>".
std::string describe(const EngineSpec& spec);

/// The public handle of an engine in a program; shared by all sessions of the program. Thread-safe.
///
/// Who owns an output's memory (RFC #3985). *Unowned*: the caller gets it, so each run writes into memory that nobody else holds.
/// *Owned*: it is the engine's standing buffer, overwritten by the next run. By default an output is unowned if and only if it
/// escapes from the program; sessions follow a change at their next run.
class Engine {
 public:
  /// Throws Error(kBadFile) if a size of the spec speaks of an input or dimension that is not there.
  Engine(EngineSpec spec, std::unique_ptr<CompiledEngine> compiled);

  const EngineSpec& spec() const { return spec_; }
  std::unique_ptr<EngineContext> make_context() const { return compiled_->make_context(); }

  /// Sizes of output `index` for these inputs. Throws Error(kInvalidArgument) if the inputs do not fit the spec, or the sizes
  /// depend on data.
  std::vector<int64_t> output_sizes(size_t index, std::span<const at::Tensor> inputs) const;

  /// Whether the sizes of that output are known only when the engine has run: see EngineContext::take_output.
  bool sizes_depend_on_data(size_t output) const { return depends_on_data_[output]; }

  /// All outputs at once, or one. Making a non-escaping output unowned is allowed (it costs a slot instead of a standing buffer).
  /// Throws Error(kInvalidArgument) and changes nothing if `unowned` is false for an output that escapes, or `output` is out of
  /// range.
  void set_output_tensors_as_unowned(bool unowned);
  void set_output_tensors_as_unowned(size_t output, bool unowned);

  /// True if all outputs are unowned.
  bool are_output_tensors_unowned() const;
  bool are_output_tensors_unowned(size_t output) const;

  /// True if the output is unowned because somebody said so, not because it escapes: what a file must keep.
  bool is_declared_unowned(size_t output) const;

  /// The ownership analysis's finding, told once when the program loads: output `output` leaves the program, through what `reason`
  /// says ("returned as output 0 through %view"). The output becomes unowned and must stay so.
  void set_output_escapes(size_t output, std::string reason);

  /// Grows whenever an answer of are_output_tensors_unowned may have changed; read it before each run instead of the answers.
  uint64_t ownership_version() const { return ownership_version_.load(std::memory_order_acquire); }

 private:
  struct OutputOwnership {
    bool unowned = false;
    std::string escapes_through;  // empty: stays inside the program
  };

  void check_output(size_t output) const;
  void check_may_change(size_t output, bool unowned) const;  // with mutex_ held

  EngineSpec spec_;
  std::vector<BindingGuard> input_guards_;
  std::vector<bool> depends_on_data_;  // by output
  std::unique_ptr<CompiledEngine> compiled_;

  mutable std::mutex mutex_;
  std::vector<OutputOwnership> ownership_;  // guarded by mutex_
  std::atomic<uint64_t> ownership_version_{0};
};

}  // namespace tenure
