#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "tenure/engine/openvino/compiled.h"
#include "tenure/engine/openvino/convert.h"

namespace tenure::openvino {
namespace {

// OpenVINO wants an address for a tensor without elements too; nothing is read or written there.
alignas(64) char no_elements[64];

std::string shape_text(const ov::Shape& shape) {
  const std::vector<int64_t> sizes(shape.begin(), shape.end());
  return sizes_text(sizes);
}

const void* address(const at::Tensor& tensor, const Port& port) {
  check(tensor.device().is_cpu(), ErrorCode::kInvalidArgument, port.guard.label(), ": expected a tensor on cpu, got one on ",
        tensor.device());
  return tensor.numel() == 0 ? no_elements : tensor.const_data_ptr();
}

}  // namespace

Context::Context(ov::InferRequest request, const std::string& name, bool is_timed, const std::vector<Port>& inputs,
                 const std::vector<Port>& outputs)
    : request_(std::move(request)),
      name_(name),
      is_timed_(is_timed),
      input_ports_(inputs),
      output_ports_(outputs),
      inputs_(inputs.size()),
      outputs_(outputs.size()) {}

void Context::remember(Bound& bound, const Port& port, const at::Tensor& tensor, const void* data) {
  bound.data = nullptr;  // until OpenVINO has taken the tensor: should it refuse, nothing is bound
  bound.tensor = wrap(tensor, data, port.type);
  bound.sizes.assign(tensor.sizes().begin(), tensor.sizes().end());
}

void Context::bind_input(size_t index, const at::Tensor& tensor) {
  const Port& port = input_ports_.at(index);
  Bound& bound = inputs_[index];
  port.guard.check_bindable(tensor);
  const void* const data = address(tensor, port);
  if (bound.is(data, tensor.sizes())) return;
  guarded([&] { return "bind " + port.guard.label(); },
          [&] {
            remember(bound, port, tensor, data);
            request_.set_input_tensor(index, bound.tensor);
            bound.data = data;
          });
}

void Context::bind_output(size_t index, const at::Tensor& tensor) {
  const Port& port = output_ports_.at(index);
  Bound& bound = outputs_[index];
  port.guard.check_bindable(tensor);
  const void* const data = address(tensor, port);
  if (bound.is(data, tensor.sizes())) return;
  guarded([&] { return "bind " + port.guard.label(); },
          [&] {
            remember(bound, port, tensor, data);
            if (!port.copy_of_input) request_.set_output_tensor(index, bound.tensor);
            bound.data = data;
          });
}

void Context::check_all_bound() const {
  const auto find_unbound = [](const std::vector<Bound>& bound, const std::vector<Port>& ports) {
    for (size_t index = 0; index < bound.size(); ++index) {
      check(bound[index].data != nullptr, ErrorCode::kInternal, ports[index].guard.label(), " was not bound before the engine ran");
    }
  };
  find_unbound(inputs_, input_ports_);
  find_unbound(outputs_, output_ports_);
}

bool Context::has_work() const {
  for (size_t index = 0; index < outputs_.size(); ++index)
    if (!output_ports_[index].copy_of_input && outputs_[index].tensor.get_size() > 0) return true;
  return false;
}

void Context::enqueue() {
  check_all_bound();
  if (has_work()) infer();
  copy_unchanged_inputs();
}

std::vector<LayerTime> Context::enqueue_and_time() {
  enqueue();
  std::vector<LayerTime> times;
  if (!is_timed_ || !has_work()) return times;
  guarded([&] { return concat("tell the times of engine \"", name_, "\""); },
          [&] {
            for (const ov::ProfilingInfo& layer : request_.get_profiling_info()) {
              if (layer.status != ov::ProfilingInfo::Status::EXECUTED) continue;
              times.push_back({layer.node_name, std::chrono::nanoseconds(layer.real_time).count()});
            }
          });
  return times;
}

void Context::infer() {
  try {
    guarded([&] { return concat("run engine \"", name_, "\""); }, [&] { request_.infer(); });
    for (size_t index = 0; index < outputs_.size(); ++index) {
      const Port& port = output_ports_[index];
      if (!port.is_dynamic || port.copy_of_input) continue;
      const ov::Shape& computed = outputs_[index].tensor.get_shape();
      const bool as_bound = std::equal(computed.begin(), computed.end(), outputs_[index].sizes.begin(), outputs_[index].sizes.end(),
                                       [](size_t a, int64_t b) { return a == static_cast<size_t>(b); });
      check(as_bound, ErrorCode::kEngine, port.guard.label(), ": the program expects the sizes ", sizes_text(outputs_[index].sizes),
            ", OpenVINO computed ", shape_text(computed));
    }
  } catch (...) {
    // OpenVINO may have changed the shapes of the tensors it was given: bind them anew.
    for (Bound& output : outputs_) output.data = nullptr;
    throw;
  }
}

void Context::copy_unchanged_inputs() {
  for (size_t index = 0; index < outputs_.size(); ++index) {
    const std::optional<size_t> source = output_ports_[index].copy_of_input;
    if (!source) continue;
    const Bound& input = inputs_[*source];
    check(outputs_[index].sizes == input.sizes, ErrorCode::kEngine, output_ports_[index].guard.label(),
          ": the program expects the sizes ", sizes_text(outputs_[index].sizes), ", but it is an input of sizes ",
          sizes_text(input.sizes));
    std::memmove(const_cast<void*>(outputs_[index].data), input.data, input.tensor.get_byte_size());
  }
}

}  // namespace tenure::openvino
