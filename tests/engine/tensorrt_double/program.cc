#include "tests/engine/tensorrt_double/program.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <future>
#include <utility>

#include "tenure/archive/archive.h"
#include "tenure/base/error.h"

namespace tenure::testing::trt {
namespace {

using nvinfer1::DataType;
using nvinfer1::Dims;

DataType to_data_type(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat: return DataType::kFLOAT;
    case at::kHalf: return DataType::kHALF;
    case at::kBFloat16: return DataType::kBF16;
    case at::kLong: return DataType::kINT64;
    case at::kInt: return DataType::kINT32;
    case at::kChar: return DataType::kINT8;
    case at::kByte: return DataType::kUINT8;
    case at::kBool: return DataType::kBOOL;
    default: throw Error(ErrorCode::kUnsupported, concat("TensorRT has no ", c10::toString(dtype)));
  }
}

Port make_port(const Graph& graph, ValueId id, std::string name, bool is_input, const BlobOptions& options) {
  const std::optional<TensorMeta>& meta = graph.value(id).meta;
  check(meta.has_value(), ErrorCode::kBadFile, "the archive does not tell the sizes of ", name);
  std::vector<int64_t> sizes;
  for (const Expr& size : meta->sizes) sizes.push_back(size.constant().value_or(-1));
  const auto alias = options.aliases.find(name);
  Port port{.name = std::move(name),
            .is_input = is_input,
            .dtype = meta->dtype,
            .type = to_data_type(meta->dtype),
            .dims = to_dims(sizes),
            .on_host = false,
            .aliases = alias == options.aliases.end() || is_input ? "" : alias->second,
            .sizes = meta->sizes};
  port.on_host = is_input && options.host_inputs.contains(port.name);
  return port;
}

std::vector<Port> make_ports(const Graph& graph, const BlobOptions& options) {
  std::vector<Port> ports;
  for (const GraphInput& input : graph.inputs) {
    if (input.kind != GraphInput::Kind::kUser) continue;
    ports.push_back(make_port(graph, input.value, concat("input_", ports.size()), true, options));
  }
  for (size_t index = 0; index < graph.outputs.size(); ++index)
    ports.push_back(make_port(graph, graph.outputs[index].value.value(), concat("output_", index), false, options));
  return ports;
}

void check_names(const std::vector<Port>& ports, const BlobOptions& options) {
  const auto check_name = [&](const std::string& name, bool is_input) {
    const bool found =
        std::any_of(ports.begin(), ports.end(), [&](const Port& port) { return port.name == name && port.is_input == is_input; });
    check(found, ErrorCode::kBadFile, "the options of the blob name ", name, ", which the archive lacks");
  };
  for (const std::string& name : options.host_inputs) check_name(name, true);
  for (const auto& [output, input] : options.aliases) {
    check_name(output, false);
    check_name(input, true);
  }
  for (const Profile& profile : options.profiles)
    for (const auto& [name, bounds] : profile) check_name(name, true);
}

// Of the symbols that are the size of an input; an expression that needs others has no value.
Expr::Lookup lookup_in(const std::vector<Port>& ports, const std::vector<Input>& inputs) {
  return [&](std::string_view symbol) -> std::optional<int64_t> {
    for (size_t input = 0; input < inputs.size(); ++input)
      for (size_t dim = 0; dim < ports[input].sizes.size(); ++dim)
        if (ports[input].sizes[dim].symbol() == symbol) return inputs[input].dims.d[dim];
    return std::nullopt;
  };
}

bool is_size_of_input(const std::string& symbol, std::span<const Port> inputs) {
  return std::any_of(inputs.begin(), inputs.end(), [&](const Port& input) {
    return std::any_of(input.sizes.begin(), input.sizes.end(), [&](const Expr& size) {
      const std::vector<std::string> symbols = size.symbols();
      return std::find(symbols.begin(), symbols.end(), symbol) != symbols.end();
    });
  });
}

at::Tensor tensor_of(const Input& input, const Port& port) {
  const std::vector<int64_t> sizes = to_sizes(input.dims);
  if (input.data == nullptr) return at::zeros(sizes, port.dtype);
  return at::from_blob(const_cast<void*>(input.data), sizes, at::TensorOptions(port.dtype));  // the interpreter only reads it
}

}  // namespace

Dims to_dims(std::span<const int64_t> sizes) {
  check(sizes.size() <= static_cast<size_t>(Dims::MAX_DIMS), ErrorCode::kUnsupported, "TensorRT takes no ", sizes.size(),
        " dimensions");
  Dims dims{};
  dims.nbDims = static_cast<int32_t>(sizes.size());
  std::copy(sizes.begin(), sizes.end(), dims.d);
  return dims;
}

std::vector<int64_t> to_sizes(const Dims& dims) { return {dims.d, dims.d + std::max(dims.nbDims, 0)}; }

std::string text_of(const Dims& dims) {
  std::string text;
  for (const int64_t size : to_sizes(dims)) text += concat(text.empty() ? "" : ",", size);
  return "[" + text + "]";
}

bool is_known(const Dims& dims) {
  return dims.nbDims >= 0 && std::none_of(dims.d, dims.d + dims.nbDims, [](int64_t size) { return size < 0; });
}

Program::Program(const Blob& blob) : Program(blob, read_archive(blob.archive, "the engine")) {}

// The ports are made first: they read what the interpreter takes.
Program::Program(const Blob& blob, ProgramFile file)
    : ports_(make_ports(file.graph, blob.options)),
      input_count_(
          static_cast<size_t>(std::count_if(ports_.begin(), ports_.end(), [](const Port& port) { return port.is_input; }))),
      interpreter_(std::move(file)) {
  check_names(ports_, blob.options);
}

std::optional<size_t> Program::find(const char* name) const {
  for (size_t index = 0; name != nullptr && index < ports_.size(); ++index)
    if (ports_[index].name == name) return index;
  return std::nullopt;
}

Dims Program::infer(size_t port, const std::vector<Input>& inputs) const {
  Dims dims = ports_[port].dims;
  const std::span<const Port> input_ports(ports_.data(), input_count_);
  const bool has_shape_tensors = std::any_of(input_ports.begin(), input_ports.end(), [](const Port& each) { return each.on_host; });
  bool must_try = false;
  for (int32_t dim = 0; dim < dims.nbDims; ++dim) {
    const Expr& size = ports_[port].sizes[dim];
    dims.d[dim] = size.evaluate(lookup_in(ports_, inputs)).value_or(-1);
    if (dims.d[dim] >= 0) continue;
    const std::vector<std::string> symbols = size.symbols();
    must_try |= has_shape_tensors || std::all_of(symbols.begin(), symbols.end(),
                                                 [&](const std::string& symbol) { return is_size_of_input(symbol, input_ports); });
  }
  if (!must_try) return dims;
  std::vector<Input> without_data = inputs;
  for (size_t input = 0; input < inputs.size(); ++input)
    if (!ports_[input].on_host) without_data[input].data = nullptr;
  return run(without_data)[port - input_count_].dims;
}

std::vector<Output> Program::run(const std::vector<Input>& inputs) const {
  return std::async(std::launch::async, [&] { return compute(inputs); }).get();
}

std::vector<Output> Program::compute(const std::vector<Input>& inputs) const {
  std::vector<at::Tensor> tensors;
  for (size_t index = 0; index < inputs.size(); ++index) tensors.push_back(tensor_of(inputs[index], ports_[index]));
  std::vector<Output> outputs;
  for (const at::Tensor& computed : interpreter_.run(tensors)) {
    const Port& port = ports_[input_count_ + outputs.size()];
    check(computed.scalar_type() == port.dtype, ErrorCode::kInternal, port.name, " came as ", computed.scalar_type());
    const at::Tensor result = computed.contiguous();
    Output output{to_dims(result.sizes()), std::vector<char>(result.nbytes())};
    if (result.nbytes() > 0) std::memcpy(output.bytes.data(), result.const_data_ptr(), result.nbytes());
    outputs.push_back(std::move(output));
  }
  return outputs;
}

}  // namespace tenure::testing::trt
