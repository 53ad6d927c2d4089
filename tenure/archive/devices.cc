#include "tenure/archive/devices.h"

#include <ATen/ATen.h>

#include <map>
#include <utility>

#include "tenure/base/error.h"

namespace tenure {
namespace {

c10::Device numbered(c10::Device device) { return device.is_cuda() && !device.has_index() ? c10::Device(c10::kCUDA, 0) : device; }

/// Calls visit(c10::Device&) for every device that the argument names.
template <typename Visit>
void for_each_device(Argument& argument, const Visit& visit) {
  if (argument.is_list()) {
    for (Argument& element : std::get<Argument::List>(argument.data)) for_each_device(element, visit);
  } else if (argument.is_constant() && argument.constant().isDevice()) {
    c10::Device device = argument.constant().toDevice();
    visit(device);
    argument.data = c10::IValue(device);
  }
}

template <typename Visit>
void for_each_device(Graph& graph, const Visit& visit) {
  for (Value& value : graph.values)
    if (value.meta) visit(value.meta->device);
  for (Node& node : graph.nodes)
    for (NamedArgument& input : node.inputs) for_each_device(input.value, visit);
  for (GraphInput& input : graph.inputs) {
    Argument constant{input.constant};
    for_each_device(constant, visit);
    input.constant = constant.constant();
  }
}

at::Tensor all_bytes(const c10::Storage& storage) {
  const auto options = at::TensorOptions().dtype(at::kByte).device(storage.device());
  return at::empty({0}, options).set_(storage, 0, {static_cast<int64_t>(storage.nbytes())}, {1});
}

}  // namespace

std::optional<c10::Device> find_accelerator(Graph& graph) {
  std::optional<c10::Device> found;
  for_each_device(graph, [&](c10::Device& device) {
    device = numbered(device);
    if (device.is_cpu() || device.is_meta()) return;
    check(device.is_cuda(), ErrorCode::kUnsupported, "the program lies on ", device,
          "; Tenure runs on the CPU and on CUDA devices");
    check(!found || *found == device, ErrorCode::kUnsupported, "the program lies on ", found ? found->str() : "", " and on ",
          device, "; Tenure runs a program on one device besides the CPU");
    found = device;
  });
  return found;
}

void move_to_device(Graph& graph, c10::Device device) {
  const c10::Device from = find_accelerator(graph).value_or(c10::kCPU), to = numbered(device);
  for_each_device(graph, [&](c10::Device& each) {
    if (each == from) each = to;
  });
}

void place_weights(ProgramFile& file) {
  std::map<const c10::StorageImpl*, c10::Storage> moved;
  for (const GraphInput& input : file.graph.inputs) {
    const auto weight = file.weights.find(input.target);
    if (weight == file.weights.end() || !input.value.valid() || !file.graph.value(input.value).meta) continue;
    const c10::Device device = file.graph.value(input.value).meta->device;
    if (device == weight->second.device()) continue;
    const c10::Storage& storage = weight->second.storage();
    if (!moved.contains(storage.unsafeGetStorageImpl()))
      moved.emplace(storage.unsafeGetStorageImpl(), all_bytes(storage).to(device).storage());
  }
  if (moved.empty()) return;
  for (auto& [name, weight] : file.weights) {
    const auto found = moved.find(weight.storage().unsafeGetStorageImpl());
    if (found == moved.end()) continue;
    at::Tensor there = at::empty({0}, weight.options().device(found->second.device()));
    there.set_(found->second, weight.storage_offset(), weight.sizes(), weight.strides());
    weight = std::move(there);
  }
}

}  // namespace tenure
