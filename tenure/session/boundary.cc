#include "tenure/session/boundary.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <set>

#include "tenure/base/error.h"
#include "tenure/session/result_copies.h"
#include "tenure/session/sharing.h"

namespace tenure {
namespace {

// The graph inputs that nodes write, themselves or through views.
std::set<ValueId> inputs_that_nodes_write(const Program& program) {
  const Graph& graph = program.graph();
  const std::vector<AliasFacts>& facts = program.ownership().facts;
  std::vector<std::vector<ValueId>> viewed(graph.values.size());
  std::vector<ValueId> open;
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    size_t output = 0;
    for_each_output(graph.nodes[n], [&](ValueId value) { viewed[value.index] = facts[n].may_alias[output++]; });
    open.insert(open.end(), facts[n].mutates.begin(), facts[n].mutates.end());
  }
  std::set<ValueId> reached;
  while (!open.empty()) {
    const ValueId value = open.back();
    open.pop_back();
    if (reached.insert(value).second) open.insert(open.end(), viewed[value.index].begin(), viewed[value.index].end());
  }
  return reached;
}

// The run is below the level at which operators do so. Autograd, which may have kept the tensor, then knows that it has changed.
void bump_version(const c10::IValue& input) {
  if (input.isTensor() && input.toTensor().defined() && !input.toTensor().is_inference())
    input.toTensor().unsafeGetTensorImpl()->bump_version();
}

}  // namespace

Boundary::Boundary(const Program& program) : program_(program), state_(program), weights_(program.graph().values.size()) {
  const Graph& graph = program.graph();
  const std::set<ValueId> written = inputs_that_nodes_write(program);
  for (const GraphInput& input : graph.inputs) {
    if (input.kind == GraphInput::Kind::kUser || input.kind == GraphInput::Kind::kUserConstant) {
      if (written.contains(input.value)) versioned_inputs_.push_back(user_inputs_.size());
      if (program.is_written_in_place(input.value)) written_in_place_.push_back(user_inputs_.size());
      user_inputs_.push_back(input.value);
      continue;
    }
    if (!input.value.valid()) continue;
    const auto state = state_.tensors().find(input.target);
    const auto weight = program.weights().find(input.target);
    check(weight != program.weights().end(), ErrorCode::kBadFile, "the file lacks the weight ", input.target);
    const bool changes = state != state_.tensors().end();
    weights_[input.value.index] = changes ? state->second : weight->second;
    if (!changes) weight_storages_.insert(weight->second.storage().unsafeGetStorageImpl());
  }
  for (const GraphOutput& output : graph.outputs) {
    check(!output.value.is_list(), ErrorCode::kUnsupported, "an output of the program is a list; outputs must be flat");
    if (output.kind == GraphOutput::Kind::kUser || !output.value.is_value()) continue;
    const ValueId target = mutated_input(graph, output);
    check(target.valid(), ErrorCode::kBadFile, "an output changes ", output.target, ", which is no input of the program");
    const auto position = std::find(user_inputs_.begin(), user_inputs_.end(), target);
    const bool is_input = position != user_inputs_.end();
    if (is_input) changed_inputs_.push_back(position - user_inputs_.begin());
    write_backs_.push_back(
        {output.value.value(), target, is_input ? std::optional<size_t>(position - user_inputs_.begin()) : std::nullopt});
  }
}

void Boundary::enter(std::span<const c10::IValue> inputs, Registers& registers) const {
  for (size_t i = 0; i < inputs.size(); ++i)
    if (user_inputs_[i].valid()) registers[user_inputs_[i].index] = inputs[i];
  for (size_t i : changed_inputs_) check_is_apart(inputs, i);
  for (size_t i : written_in_place_)
    if (may_overlap_itself(inputs[i].toTensor())) registers[user_inputs_[i].index] = copy_with_strides(inputs[i].toTensor());
}

void Boundary::check_is_apart(std::span<const c10::IValue> inputs, size_t index) const {
  const at::Tensor& tensor = inputs[index].toTensor();
  if (!tensor.has_storage()) return;
  const auto name = [&](size_t i) {
    return [this, i] { return user_inputs_[i].valid() ? program_.graph().value(user_inputs_[i]).name : concat("number ", i); };
  };
  const char* const advice = "; the compiled program takes them for separate memory: pass a copy of one";
  check(!weight_storages_.contains(tensor.storage().unsafeGetStorageImpl()), ErrorCode::kInvalidArgument, "input ", name(index),
        ", which the program changes, lies in the memory of one of its weights", advice);
  for (size_t i = 0; i < inputs.size(); ++i) {
    const at::Tensor* const other = stored_tensor(inputs[i]);
    check(i == index || other == nullptr || !may_overlap(tensor, *other), ErrorCode::kInvalidArgument, "input ", name(index),
          ", which the program changes, shares memory with input ", name(i), advice);
  }
}

bool Boundary::will_change(const at::Tensor& tensor, const Registers& registers) const {
  return std::any_of(write_backs_.begin(), write_backs_.end(), [&](const WriteBack& w) {
    const at::Tensor& target = registers[w.target.index].toTensor();
    return share_storage(tensor, target) && !is_same_place(registers[w.source.index].toTensor(), target);
  });
}

const Boundary::WriteBack* Boundary::new_input_content(ValueId value) const {
  const auto found =
      std::find_if(write_backs_.begin(), write_backs_.end(), [&](const WriteBack& w) { return w.input && w.source == value; });
  return found == write_backs_.end() ? nullptr : &*found;
}

bool Boundary::is_new_state_content(ValueId value) const {
  return std::any_of(write_backs_.begin(), write_backs_.end(), [&](const WriteBack& w) { return !w.input && w.source == value; });
}

// With a result that is another value.
bool Boundary::is_shared(const at::Tensor& result, ValueId value, const Registers& registers) const {
  const auto& outputs = program_.graph().outputs;
  return std::any_of(outputs.begin(), outputs.end(), [&](const GraphOutput& output) {
    if (output.kind != GraphOutput::Kind::kUser || !output.value.is_value() || output.value.value() == value) return false;
    const at::Tensor* other = stored_tensor(registers[output.value.value().index]);
    return other != nullptr && share_storage(*other, result);
  });
}

std::vector<c10::IValue> Boundary::results(std::span<const c10::IValue> inputs, const Registers& registers,
                                           const Arenas& arenas) const {
  std::vector<c10::IValue> results;
  ResultCopies copies;
  for (const GraphOutput& output : program_.graph().outputs) {
    if (output.kind != GraphOutput::Kind::kUser) continue;
    const WriteBack* own = output.value.is_value() ? new_input_content(output.value.value()) : nullptr;
    if (own != nullptr) {
      results.push_back(inputs[*own->input]);
      continue;
    }
    results.push_back(output.value.is_value() ? registers[output.value.value().index] : output.value.constant());
    if (stored_tensor(results.back()) == nullptr) continue;
    const at::Tensor& tensor = results.back().toTensor();
    const bool of_state = !program_.is_compiled() && output.value.is_value() && is_new_state_content(output.value.value());
    if (arenas.contains(tensor.storage().data()) || state_.holds(tensor) || will_change(tensor, registers) ||
        (of_state && is_shared(tensor, output.value.value(), registers))) {
      copies.add(results.size() - 1, tensor, of_state);
    } else if (weight_storages_.contains(tensor.storage().unsafeGetStorageImpl())) {
      results.back() = at::alias(tensor);  // the weight's own tensor object would carry attributes from caller to caller
    }
  }
  copies.make(results);
  return results;
}

void Boundary::write_back(std::span<const c10::IValue> inputs, const Registers& registers) const {
  std::vector<at::Tensor> sources;
  for (const WriteBack& w : write_backs_) {
    const at::Tensor& source = registers[w.source.index].toTensor();
    const bool in_place = is_same_place(source, registers[w.target.index].toTensor());
    // Two buffers may swap their content: what another write-back will overwrite is copied first.
    sources.push_back(!in_place && will_change(source, registers) ? source.clone() : source);
  }
  for (size_t i = 0; i < write_backs_.size(); ++i) {
    const at::Tensor& target = registers[write_backs_[i].target.index].toTensor();
    if (!is_same_place(sources[i], target)) target.copy_(sources[i]);
  }
  for (size_t i : written_in_place_) {  // those that enter() copied
    const at::Tensor& written = registers[user_inputs_[i].index].toTensor();
    if (!is_same_place(written, inputs[i].toTensor())) inputs[i].toTensor().copy_(written);
  }
  for (size_t i : versioned_inputs_) bump_version(inputs[i]);
  for (size_t i : changed_inputs_) bump_version(inputs[i]);
}

}  // namespace tenure
