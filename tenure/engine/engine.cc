#include "tenure/engine/engine.h"

#include <utility>

#include "tenure/base/error.h"

namespace tenure {
namespace {

Expr::Lookup lookup_in(std::span<const at::Tensor> inputs) {
  return [inputs](std::string_view symbol) -> std::optional<int64_t> {
    const BindingDim place = dimension_of(symbol).value();
    if (place.role == BindingRole::kOutput) return std::nullopt;
    return inputs[place.binding].size(static_cast<int64_t>(place.dim));
  };
}

}  // namespace

at::Tensor EngineContext::take_output(size_t index) {
  throw Error(ErrorCode::kUnsupported, concat("output ", index, " is bound before the engine runs"));
}

void refuse_data_dependent_outputs(const EngineSpec& spec) {
  for (const Binding& output : spec.outputs)
    check(!sizes_depend_on_data(output), ErrorCode::kUnsupported, "engine \"", spec.name, "\": the sizes of output \"", output.name,
          "\" depend on data, which ", spec.backend, " engines do not have here; leave what makes it to PyTorch");
}

std::string describe(const EngineSpec& spec) {
  return concat("<tenure engine ", spec.name, ": ", spec.backend, ", ", spec.inputs.size(), " inputs, ", spec.outputs.size(),
                " outputs>");
}

Engine::Engine(EngineSpec spec, std::unique_ptr<CompiledEngine> compiled)
    : spec_(std::move(spec)),
      input_guards_(make_guards(spec_, BindingRole::kInput)),
      compiled_(std::move(compiled)),
      ownership_(spec_.outputs.size()) {
  with_context([&] { return concat("engine \"", spec_.name, "\""); }, [&] { check_sizes(spec_); });
  for (size_t i = 0; i < spec_.outputs.size(); ++i) {
    depends_on_data_.push_back(tenure::sizes_depend_on_data(spec_.outputs[i]));
    ownership_[i].unowned = spec_.outputs[i].declared_unowned;
  }
}

std::vector<int64_t> Engine::output_sizes(size_t index, std::span<const at::Tensor> inputs) const {
  check_output(index);
  check(inputs.size() == input_guards_.size(), ErrorCode::kInvalidArgument, "engine \"", spec_.name, "\": expected ",
        input_guards_.size(), " inputs, got ", inputs.size());
  for (size_t input = 0; input < inputs.size(); ++input) input_guards_[input].check_fits(inputs[input]);

  const Expr::Lookup lookup = lookup_in(inputs);
  const Binding& output = spec_.outputs[index];
  std::vector<int64_t> sizes;
  sizes.reserve(output.sizes.size());
  for (const Expr& expr : output.sizes) {
    const std::optional<int64_t> size = expr.evaluate(lookup);
    check(
        size.has_value() && *size >= 0, ErrorCode::kInvalidArgument, "engine \"", spec_.name, "\": output ", index, " \"",
        output.name, "\": the size ", [&] { return expr.to_string(); }, " has no valid value for these inputs",
        [&] { return size ? concat(" (", *size, ")") : std::string(); });
    sizes.push_back(*size);
  }
  return sizes;
}

void Engine::check_output(size_t output) const {
  check(output < spec_.outputs.size(), ErrorCode::kInvalidArgument, "engine \"", spec_.name, "\": output ", output,
        " is out of range; it has ", spec_.outputs.size(), " outputs");
}

void Engine::check_may_change(size_t output, bool unowned) const {
  const std::string& through = ownership_[output].escapes_through;
  check(unowned || through.empty(), ErrorCode::kInvalidArgument, "engine \"", spec_.name, "\": output ", output, " \"",
        spec_.outputs[output].name, "\" cannot be owned by the engine: it escapes (", through,
        "), so its holder would see it overwritten by the next run");
}

void Engine::set_output_tensors_as_unowned(bool unowned) {
  const std::lock_guard lock(mutex_);
  for (size_t output = 0; output < ownership_.size(); ++output) check_may_change(output, unowned);
  for (OutputOwnership& output : ownership_) output.unowned = unowned;
  ownership_version_.fetch_add(1, std::memory_order_release);
}

void Engine::set_output_tensors_as_unowned(size_t output, bool unowned) {
  check_output(output);
  const std::lock_guard lock(mutex_);
  check_may_change(output, unowned);
  ownership_[output].unowned = unowned;
  ownership_version_.fetch_add(1, std::memory_order_release);
}

bool Engine::are_output_tensors_unowned() const {
  const std::lock_guard lock(mutex_);
  for (const OutputOwnership& output : ownership_) {
    if (!output.unowned) return false;
  }
  return true;
}

bool Engine::are_output_tensors_unowned(size_t output) const {
  check_output(output);
  const std::lock_guard lock(mutex_);
  return ownership_[output].unowned;
}

bool Engine::is_declared_unowned(size_t output) const {
  check_output(output);
  const std::lock_guard lock(mutex_);
  return ownership_[output].unowned && ownership_[output].escapes_through.empty();
}

void Engine::set_output_escapes(size_t output, std::string reason) {
  check_output(output);
  check(!reason.empty(), ErrorCode::kInternal, "an output escapes through something: say what");
  const std::lock_guard lock(mutex_);
  ownership_[output] = {.unowned = true, .escapes_through = std::move(reason)};
  ownership_version_.fetch_add(1, std::memory_order_release);
}

}  // namespace tenure
