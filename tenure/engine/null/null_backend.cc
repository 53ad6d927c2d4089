#include "tenure/engine/null/null_backend.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "tenure/archive/devices.h"
#include "tenure/base/error.h"
#include "tenure/engine/null/interpreter.h"

namespace tenure {
namespace {

class NullContext final : public EngineContext {
 public:
  NullContext(const null::Interpreter& interpreter, const std::vector<BindingGuard>& inputs,
              const std::vector<BindingGuard>& outputs, const std::vector<bool>& taken)
      : interpreter_(interpreter),
        input_guards_(inputs),
        output_guards_(outputs),
        is_taken_(taken),
        inputs_(inputs.size()),
        outputs_(outputs.size()),
        taken_(outputs.size()) {}

  void bind_input(size_t index, const at::Tensor& tensor) override {
    input_guards_.at(index).check_bindable(tensor);
    bind(inputs_[index], tensor);
  }

  void bind_output(size_t index, const at::Tensor& tensor) override {
    output_guards_.at(index).check_bindable(tensor);
    bind(outputs_[index], tensor);
  }

  void enqueue() override {
    check_all_bound(inputs_, input_guards_);
    check_all_bound(outputs_, output_guards_);
    std::vector<at::Tensor> results = interpreter_.run(inputs_);
    keep_what_outputs_overwrite(results);
    for (size_t index = 0; index < results.size(); ++index) {
      at::Tensor& result = results[index];
      if (is_taken_[index]) {
        taken_[index] = in_memory_of_its_own(std::move(result));
        continue;
      }
      check(result.sizes() == outputs_[index].sizes() && result.scalar_type() == outputs_[index].scalar_type(), ErrorCode::kEngine,
            output_guards_[index].label(), ": the program expects the sizes ", sizes_text(outputs_[index].sizes()),
            ", the part computed ", result.scalar_type(), " ", sizes_text(result.sizes()));
      outputs_[index].copy_(result);
    }
  }

  at::Tensor take_output(size_t index) override {
    const at::Tensor result = std::exchange(taken_.at(index), at::Tensor());
    check(result.defined(), ErrorCode::kInternal, output_guards_[index].label(), " was taken before the engine ran");
    output_guards_[index].check_bindable(result);
    return result;
  }

 private:
  // An output may lie in the memory of an input (EngineSpec: aliases_input), and a result be a view of that input.
  void keep_what_outputs_overwrite(std::vector<at::Tensor>& results) const {
    for (at::Tensor& result : results) {
      const bool overwritten = std::any_of(outputs_.begin(), outputs_.end(), [&](const at::Tensor& output) {
        return result.numel() > 0 && output.defined() && output.storage().data() == result.storage().data();
      });
      if (overwritten) result = result.clone();
    }
  }

  // Neither an input's, a weight's nor another result's.
  static at::Tensor in_memory_of_its_own(at::Tensor result) {
    const bool alone = result.use_count() == 1 && result.storage().use_count() == 1 && result.is_contiguous();
    return alone ? result : result.clone(at::MemoryFormat::Contiguous);
  }

  // The address, not the tensor: whoever holds that could not have its memory back until the next run.
  static void bind(at::Tensor& bound, const at::Tensor& tensor) {
    if (bound.defined() && bound.const_data_ptr() == tensor.const_data_ptr() && bound.sizes() == tensor.sizes()) return;
    bound = at::from_blob(tensor.data_ptr(), tensor.sizes(), tensor.options());
  }

  void check_all_bound(const std::vector<at::Tensor>& tensors, const std::vector<BindingGuard>& guards) const {
    for (size_t index = 0; index < tensors.size(); ++index) {
      const bool is_made = &tensors == &outputs_ && is_taken_[index];
      check(is_made || tensors[index].defined(), ErrorCode::kInternal, guards[index].label(),
            " was not bound before the engine ran");
    }
  }

  const null::Interpreter& interpreter_;
  const std::vector<BindingGuard>& input_guards_;
  const std::vector<BindingGuard>& output_guards_;
  const std::vector<bool>& is_taken_;  // by output: its sizes depend on data
  std::vector<at::Tensor> inputs_;
  std::vector<at::Tensor> outputs_;
  std::vector<at::Tensor> taken_;  // after a run, until the caller takes them
};

class NullEngine final : public CompiledEngine {
 public:
  NullEngine(const EngineSpec& spec, null::Interpreter interpreter)
      : interpreter_(std::move(interpreter)),
        inputs_(make_guards(spec, BindingRole::kInput)),
        outputs_(make_guards(spec, BindingRole::kOutput)) {
    check(interpreter_.input_count() == inputs_.size() && interpreter_.output_count() == outputs_.size(), ErrorCode::kBadFile,
          "the manifest tells of ", inputs_.size(), " inputs and ", outputs_.size(), " outputs, the blob has ",
          interpreter_.input_count(), " and ", interpreter_.output_count());
    for (const Binding& output : spec.outputs) is_taken_.push_back(sizes_depend_on_data(output));
  }

  std::unique_ptr<EngineContext> make_context() override {
    return std::make_unique<NullContext>(interpreter_, inputs_, outputs_, is_taken_);
  }

 private:
  null::Interpreter interpreter_;
  std::vector<BindingGuard> inputs_;
  std::vector<BindingGuard> outputs_;
  std::vector<bool> is_taken_;
};

class NullBackend final : public Backend {
 public:
  std::string_view name() const override { return "null"; }

  std::unique_ptr<CompiledEngine> load(const EngineSpec& spec, std::span<const char> blob) override {
    for (const auto& [name, value] : spec.options) {
      throw Error(ErrorCode::kInvalidArgument,
                  concat("engine \"", spec.name, "\": null engines have no options, yet it has ", name));
    }
    return with_context([&] { return concat("engine \"", spec.name, "\""); },
                        [&] {
                          ProgramFile file = read_archive(blob, "its blob");
                          find_accelerator(file.graph);  // numbers its devices, as the program's are
                          place_weights(file);
                          return std::make_unique<NullEngine>(spec, null::Interpreter(std::move(file)));
                        });
  }
};

}  // namespace

std::unique_ptr<Backend> make_null_backend() { return std::make_unique<NullBackend>(); }

}  // namespace tenure
