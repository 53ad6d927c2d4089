#include "tenure/session/observation.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <tuple>

#include "tenure/base/error.h"
namespace tenure {

using Origin = ValueRecord::Origin;

namespace {

bool is_plain(const at::Tensor& tensor) {
  if (!tensor.defined() || !tensor.has_storage()) return false;
  const c10::DispatchKeySet autograd = c10::autograd_dispatch_keyset | c10::autocast_dispatch_keyset;
  const c10::DispatchKeySet keys = tensor.key_set() - autograd - c10::DispatchKeySet(c10::DispatchKey::ADInplaceOrView);
  return keys == c10::DispatchKeySet(c10::DispatchKey::CPU) || keys == c10::DispatchKeySet(c10::DispatchKey::CUDA);
}

}  // namespace

Observer::Observer(const Program& program) : program_(program) {
  observation_.of_node.assign(program.graph().nodes.size(), {0, 0});
  observation_.values.resize(program.graph().values.size());
}

void Observer::start(const Registers& registers) {
  const std::vector<std::string>& state = program_.ownership().state;
  for (const GraphInput& input : program_.graph().inputs) {
    if (!input.value.valid()) continue;
    const c10::IValue& content = registers[input.value.index];
    if (const at::Tensor* tensor = stored_tensor(content)) {
      const bool user = input.kind == GraphInput::Kind::kUser;
      const c10::StorageImpl* storage = tensor->storage().unsafeGetStorageImpl();
      borrowed_.emplace(storage, std::pair(user ? Origin::kInput : Origin::kWeight, input.value));
      if (!user && std::binary_search(state.begin(), state.end(), input.target)) state_.insert(storage);
    }
    record(input.value, content);
  }
}

void Observer::check_writes(int node, const Registers& registers) const {
  const AliasFacts& facts = program_.ownership().facts[static_cast<size_t>(node)];
  for (ValueId value : facts.mutates) {
    const at::Tensor* tensor = stored_tensor(registers[value.index]);
    if (tensor == nullptr) continue;
    const auto found = borrowed_.find(tensor->storage().unsafeGetStorageImpl());
    const bool weight = found != borrowed_.end() && found->second.first == Origin::kWeight && !state_.contains(found->first);
    check(!weight, ErrorCode::kUnsupported, "node ", program_.graph().nodes[static_cast<size_t>(node)].name, " writes into ",
          program_.graph().value(value).name,
          ", which lies in the memory of a weight though no operator's schema says so; the schema of the operator that returned it "
          "must declare the alias: (Tensor(a) x) -> Tensor(a)");
  }
}

void Observer::enter_node(int node, const Registers& registers) {
  check_writes(node, registers);
  node_ = last_node_ = node;
  freed_scratch_ = 0;
  observation_.of_node[static_cast<size_t>(node)].first = static_cast<int>(observation_.requests.size());
}

void Observer::leave_node(const Registers& registers) {
  auto& [first, count] = observation_.of_node[static_cast<size_t>(node_)];
  count = static_cast<int>(observation_.requests.size()) - first;
  for_each_output(program_.graph().nodes[static_cast<size_t>(node_)],
                  [&](ValueId value) { record(value, registers[value.index]); });
  node_ = -1;
}

void Observer::allocated(Space space, void* p, size_t bytes) {
  CountingScope::allocated(space, p, bytes);
  if (node_ < 0) return;
  live_[p] = static_cast<int>(observation_.requests.size());
  Request request;
  request.node = node_;
  request.space = space;
  request.end_node = static_cast<int>(observation_.of_node.size());
  request.bytes = static_cast<plan::Bytes>(bytes);
  request.begin = clock_++;
  request.freed_before = freed_scratch_;
  observation_.requests.push_back(request);
}

void Observer::freed(void* p) {
  const auto found = live_.find(p);
  if (found == live_.end()) return;
  Request& request = observation_.requests[static_cast<size_t>(found->second)];
  request.end = clock_++;
  request.end_node = last_node_;
  request.scratch = request.node == node_;
  if (request.scratch) freed_scratch_ += free_mark(found->second - observation_.of_node[static_cast<size_t>(node_)].first);
  live_.erase(found);
}

void Observer::used_on_other_stream(void* p) {
  if (const auto found = live_.find(p); found != live_.end())
    observation_.requests[static_cast<size_t>(found->second)].other_stream = true;
}

void Observer::record(ValueId value, const c10::IValue& content) {
  ValueRecord& record = observation_.values[value.index];
  if (!content.isTensor()) {
    record.origin = Origin::kNumber;
    record.number = content;
    return;
  }
  const at::Tensor& tensor = content.toTensor();
  record.plain = is_plain(tensor);
  record.origin = Origin::kElsewhere;
  if (!tensor.defined() || tensor.layout() != at::kStrided || !tensor.has_storage()) return;
  record.sizes = tensor.sizes().vec();
  record.strides = tensor.strides().vec();
  record.storage_offset = tensor.storage_offset();
  record.dtype = tensor.scalar_type();
  record.device = tensor.device();
  const c10::Storage& storage = tensor.storage();
  if (const auto found = borrowed_.find(storage.unsafeGetStorageImpl()); found != borrowed_.end()) {
    std::tie(record.origin, record.input) = found->second;
    if (record.origin == Origin::kWeight) record.tensor = tensor;
  } else if (const auto made = live_.find(storage.data()); made != live_.end()) {
    record.origin = Origin::kRequest;
    record.request = made->second;
  } else if (storage.nbytes() == 0) {
    record.origin = Origin::kEmpty;
  }
}

Observation Observer::finish(const std::vector<c10::IValue>& outputs, std::string signature) {
  for (const c10::IValue& output : outputs) {
    const at::Tensor* tensor = stored_tensor(output);
    if (tensor == nullptr) continue;
    if (const auto found = live_.find(tensor->storage().data()); found != live_.end())
      observation_.requests[static_cast<size_t>(found->second)].returned = true;
  }
  observation_.signature = std::move(signature);
  return std::move(observation_);
}

}  // namespace tenure
