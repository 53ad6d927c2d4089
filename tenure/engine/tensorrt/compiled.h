// tenure/engine/tensorrt/compiled.h: a deserialised engine and its contexts.
#pragma once

#include <NvInferRuntime.h>

#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "tenure/engine/binding.h"
#include "tenure/engine/engine.h"
#include "tenure/engine/tensorrt/device.h"
#include "tenure/engine/tensorrt/execution_contexts.h"
#include "tenure/engine/tensorrt/made_output.h"

namespace tenure::tensorrt {

/// One input or output, with what is the same in all contexts.
struct Port {
  BindingGuard guard;
  std::string name;               // TensorRT's
  bool on_host = false;           // sizes follow from its values, which TensorRT reads on the CPU
  std::optional<size_t> aliases;  // an output that TensorRT writes into the memory of that input
  bool is_made = false;           // an output whose sizes depend on data: TensorRT asks for its memory while it runs
};

/// An engine on one device. Immutable.
class Compiled final : public CompiledEngine {
 public:
  /// Throws Error(kBadFile) if the engine's inputs and outputs are not those that the spec tells.
  Compiled(std::unique_ptr<nvinfer1::ICudaEngine> engine, const EngineSpec& spec, c10::Device device,
           const std::filesystem::path& program_file);

  ~Compiled() override { enter_context(device_); }

  std::unique_ptr<EngineContext> make_context() override;

  const std::string& name() const { return name_; }
  c10::Device device() const { return device_; }
  const std::vector<Port>& inputs() const { return inputs_; }
  const std::vector<Port>& outputs() const { return outputs_; }
  bool has_host_inputs() const { return has_host_inputs_; }
  /// What tensors without elements are bound to: TensorRT wants an address for them too.
  void* no_elements() const { return no_elements_.get(); }

  size_t profile_count() const { return profiles_.size(); }
  /// The first optimisation profile that takes inputs of these sizes. Throws Error(kInvalidArgument) that lists the profiles.
  size_t profile_for(const std::vector<std::vector<int64_t>>& sizes) const;
  std::unique_ptr<nvinfer1::IExecutionContext> make_execution_context(size_t profile);
  /// See ExecutionContexts.
  std::unique_lock<std::mutex> compile() { return execution_contexts_->compile(); }

 private:
  struct Bounds {
    nvinfer1::Dims low, high;
  };
  using Profile = std::vector<Bounds>;  // by input

  Port make_port(const char* name, BindingGuard guard, const EngineSpec& spec, BindingRole role, size_t index) const;
  std::vector<Port> make_ports(const EngineSpec& spec, BindingRole role) const;
  std::vector<Profile> make_profiles() const;
  std::string profiles_text() const;

  const std::string name_;
  const c10::Device device_;
  const std::unique_ptr<nvinfer1::ICudaEngine> engine_;
  const std::vector<Port> inputs_;
  const std::vector<Port> outputs_;
  const std::vector<Profile> profiles_;
  const bool has_host_inputs_;
  const c10::DataPtr no_elements_;
  std::mutex mutex_;  // guards execution_contexts_
  const std::unique_ptr<ExecutionContexts> execution_contexts_;
};

/// What TensorRT tells of the layers of a run.
class LayerTimes final : public nvinfer1::IProfiler {
 public:
  std::vector<LayerTime> times;

 private:
  void reportLayerTime(const char* name, float milliseconds) noexcept override;
};

/// What is bound in one frame, with an execution context for each profile that was needed. Refers to its Compiled, which outlives
/// it.
class Context final : public EngineContext {
 public:
  explicit Context(Compiled& engine);
  ~Context() override;

  void bind_input(size_t index, const at::Tensor& tensor) override { bind(inputs_, engine_.inputs(), index, tensor); }
  void bind_output(size_t index, const at::Tensor& tensor) override { bind(outputs_, engine_.outputs(), index, tensor); }
  void enqueue() override;
  std::vector<LayerTime> enqueue_and_time() override;
  at::Tensor take_output(size_t index) override;

 private:
  struct Bound {
    void* data = nullptr;  // nullptr: nothing bound
    std::vector<int64_t> sizes;
    size_t bytes = 0;
  };

  /// An execution context, and what it was told so far.
  struct Execution {
    struct Told {
      const void* address = nullptr;
      std::optional<std::vector<int64_t>> sizes;  // of inputs
    };

    std::vector<std::unique_ptr<MadeOutput>> made;  // by output; null for those that are bound. TensorRT's context refers to it
    std::unique_ptr<LayerTimes> profiler;           // of timed runs. TensorRT's context refers to it
    std::unique_ptr<nvinfer1::IExecutionContext> context;
    std::vector<Told> inputs, outputs;
    size_t scratch_bytes = 0;
    const void* scratch = nullptr;
    std::string host_values;  // the bytes of all host inputs when sizes were inferred last
  };

  /// Memory that TensorRT cannot take where it lies: it is copied to or from memory that is aligned.
  struct Misaligned {
    const Port* port;
    Bound* bound;
    Execution::Told* told;
    bool is_output;
  };

  void bind(std::vector<Bound>& bound, const std::vector<Port>& ports, size_t index, const at::Tensor& tensor);
  void check_all_bound() const;
  void tell();
  void choose_profile();
  void forget_active();
  bool tell_sizes();
  void tell_addresses(const std::vector<Port>& ports, std::vector<Bound>& bound, std::vector<Execution::Told>& told, bool outputs);
  void tell_address(const Port& port, Execution::Told& told, void* address);
  void infer_sizes();
  void check_outputs();
  std::string host_values() const;
  bool host_values_changed() const;
  Execution& execution_for(size_t profile);
  void make_outputs(Execution& execution) const;
  void run(cudaStream_t stream);
  void run_with_copies(cudaStream_t stream);

  Compiled& engine_;
  std::vector<Bound> inputs_;
  std::vector<Bound> outputs_;
  bool is_told_ = false;  // TensorRT knows of all that is bound
  bool has_new_sizes_ = true;
  bool has_work_ = false;
  bool has_run_ = false;
  bool is_timed_ = false;  // the run that is asked for
  // By profile; null until needed. TensorRT-RTX 1.4 goes on using a profiler that was taken away: timed runs have contexts of their
  // own.
  std::vector<std::unique_ptr<Execution>> executions_, timed_executions_;
  Execution* active_ = nullptr;
  std::vector<Misaligned> misaligned_;
};

}  // namespace tenure::tensorrt
