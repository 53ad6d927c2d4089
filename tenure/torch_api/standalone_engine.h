// tenure/torch_api/standalone_engine.h: an engine on its own, outside any Tenure program. Python and TorchScript know the class as
// torch.classes.tenure.Engine and run it with torch.ops.tenure.execute_engine.
#pragma once

#include <ATen/core/List.h>
#include <ATen/core/Tensor.h>
#include <torch/custom_class.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "tenure/engine/engine.h"
#include "tenure/torch_api/engine_frame.h"
#include "tenure/torch_api/loaded_engine.h"

namespace tenure {

/// Bytes are of memory reserved now.
struct StandaloneStats {
  int64_t calls = 0;                  // that succeeded
  int64_t frames = 0;                 // engine contexts, each with its own memory: the most calls that ran at once
  int64_t standing_bytes = 0;         // buffers of owned outputs, and copies of inputs that were not dense
  int64_t leased_bytes = 0;           // slots of unowned outputs, held or free
  int64_t slots = 0;                  // of unowned outputs
  int64_t held_slots = 0;             // slots whose tensor somebody still holds
  int64_t last_call_allocations = 0;  // buffers that the last call had to wait for
};

/// Thread-safe: up to four calls run at once, further ones wait.
///
/// With nobody around it to tell who reads an output, the engine follows RFC #3985 by its switches. *Owned* (the default): the
/// output's buffer stands and serves the next call. *Unowned*: the output is the caller's; the next buffer is made behind a call's
/// work when callers keep results. Either way a buffer is reused only when nobody holds a tensor on it: a result never changes
/// while it is held.
class StandaloneEngine final : public torch::CustomClassHolder {
 public:
  /// What is pickled: format version; description and blob; which outputs are unowned and whether buffers are reused.
  using State = std::tuple<int64_t, std::tuple<std::string, at::Tensor>, std::tuple<c10::List<bool>, bool>>;

  /// `spec_json` is what a manifest says of an engine. Throws Error; see load_engine.
  StandaloneEngine(const std::string& spec_json, std::string_view blob);
  explicit StandaloneEngine(const State& state);

  State state() const;

  /// Throws Error: kInvalidArgument for inputs that do not fit, kEngine. The engine stays usable.
  std::vector<at::Tensor> run(const std::vector<at::Tensor>& inputs);

  const EngineSpec& spec() const { return engine_.spec(); }
  const std::string& spec_json() const { return loaded_->spec_json; }
  /// Its ownership switches.
  Engine& engine() { return engine_; }
  c10::List<bool> unowned_outputs() const;

  /// Off: each output is allocated when it is made. The answers are the same, bit for bit. Acts from the next call on.
  void set_use_pre_allocated_outputs(bool enabled) { reuse_ = enabled; }
  bool use_pre_allocated_outputs() const { return reuse_; }

  StandaloneStats stats() const;
  /// Gives back the memory that nobody holds and no call uses; returns the bytes.
  int64_t trim() { return static_cast<int64_t>(frames_.trim()); }

 private:
  explicit StandaloneEngine(std::shared_ptr<const LoadedEngine> loaded);

  std::shared_ptr<const LoadedEngine> loaded_;
  Engine engine_;
  SharedLedger ledger_;
  EngineFrames frames_;
  std::atomic<bool> reuse_{true};
  std::atomic<int64_t> calls_{0};
  std::atomic<int64_t> last_call_allocations_{0};
};

}  // namespace tenure
