// tenure/engine/openvino/compiled.h: an imported model and its contexts.
#pragma once

#include <memory>
#include <openvino/runtime/compiled_model.hpp>
#include <openvino/runtime/infer_request.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tenure/engine/binding.h"
#include "tenure/engine/engine.h"

namespace tenure::openvino {

/// One input or output, with what is the same in all contexts.
struct Port {
  BindingGuard guard;
  ov::element::Type type;
  bool is_dynamic = false;
  // An output that is an input of the model, unchanged. OpenVINO 2026 must not be given memory for it: it would then take that
  // memory for the input's and never read the input. The context copies it.
  std::optional<size_t> copy_of_input;
};

/// A model as OpenVINO imported it. Immutable.
class Compiled final : public CompiledEngine {
 public:
  /// Throws Error(kBadFile) if the model's inputs and outputs are not those that the spec tells.
  Compiled(ov::CompiledModel model, const EngineSpec& spec);

  std::unique_ptr<EngineContext> make_context() override;

 private:
  ov::CompiledModel model_;
  std::string name_;
  bool is_timed_;  // compiled with PERF_COUNT
  std::vector<Port> inputs_;
  std::vector<Port> outputs_;
};

/// An infer request with what is bound to it. Refers to the ports of its Compiled, which outlives it.
class Context final : public EngineContext {
 public:
  Context(ov::InferRequest request, const std::string& name, bool is_timed, const std::vector<Port>& inputs,
          const std::vector<Port>& outputs);

  void bind_input(size_t index, const at::Tensor& tensor) override;
  void bind_output(size_t index, const at::Tensor& tensor) override;
  void enqueue() override;
  /// Of engines that were compiled with the option PERF_COUNT.
  std::vector<LayerTime> enqueue_and_time() override;

 private:
  struct Bound {
    const void* data = nullptr;  // nullptr: nothing bound
    ov::Tensor tensor;           // wraps `data`; OpenVINO holds the same object, so it shows a shape that OpenVINO changed
    std::vector<int64_t> sizes;

    bool is(const void* other, at::IntArrayRef other_sizes) const { return data == other && other_sizes.equals(sizes); }
  };

  void remember(Bound& bound, const Port& port, const at::Tensor& tensor, const void* data);
  void check_all_bound() const;
  bool has_work() const;
  void infer();
  void copy_unchanged_inputs();

  ov::InferRequest request_;
  const std::string& name_;
  const bool is_timed_;
  const std::vector<Port>& input_ports_;
  const std::vector<Port>& output_ports_;
  std::vector<Bound> inputs_;
  std::vector<Bound> outputs_;
};

}  // namespace tenure::openvino
