#include "tests/engine/parts.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "tenure/archive/schema_enums.h"
#include "tenure/engine/registry.h"

namespace tenure::testing {
namespace {

using Tensors = std::vector<at::Tensor>;

constexpr int64_t kWidth = 8;
constexpr int64_t kFence = 128;  // bytes
constexpr int64_t kMark = 0xa5;

std::string folder(const std::string& backend) { return std::string(TENURE_TEST_ENGINE_BLOBS) + "/" + backend + "/"; }

std::vector<char> read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("no test data at " + path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::vector<Binding> read_bindings(const nlohmann::json& list) {
  std::vector<Binding> bindings;
  for (const auto& entry : list) {
    Binding binding;
    binding.name = entry.at("name").get<std::string>();
    binding.dtype = dtype_of_schema(entry.at("dtype").get<int64_t>());
    for (const auto& size : entry.at("sizes")) binding.sizes.push_back(Expr::parse(size.get<std::string>()));
    bindings.push_back(std::move(binding));
  }
  return bindings;
}

nlohmann::json read_manifest(const std::string& backend) {
  return nlohmann::json::parse(read_bytes(folder(backend) + "manifest.json"));
}

// As make_engine_blobs.py makes them.
at::Tensor weight(at::IntArrayRef sizes) {
  const int64_t count = c10::multiply_integers(sizes);
  return ((at::arange(count) % 64 - 32).to(at::kFloat) / 64.0).reshape(sizes);
}

Tensors linear(const Tensors& in) { return {at::linear(in[0], weight({4, kWidth}), weight({4}))}; }

Tensors casts(const Tensors& in) {
  const at::Tensor total = in[0].to(at::kFloat) + in[1].to(at::kFloat) + in[2].to(at::kFloat) + in[3].to(at::kFloat);
  return {total.to(at::kByte), total.to(at::kHalf), total.to(at::kBFloat16), in[3].logical_not()};
}

Tensors small_numbers() {
  const auto numbers = [](at::ScalarType dtype) { return at::randint(0, 10, {6}).to(dtype); };
  return {numbers(at::kByte), numbers(at::kHalf), numbers(at::kBFloat16), at::randint(0, 2, {6}).to(at::kBool)};
}

std::vector<Part> make_parts() {
  const auto fixed = [](std::vector<int64_t> sizes) { return [sizes](int64_t) { return Tensors{at::randn(sizes)}; }; };
  const auto rows = [](int64_t width) { return [width](int64_t size) { return Tensors{at::randn({size, width})}; }; };
  return {
      {"relu", fixed({3, 4}), [](const Tensors& in) { return Tensors{in[0].relu()}; }, false},
      {"linear", fixed({2, kWidth}), linear, false},
      {"two_outputs", [](int64_t) { return Tensors{at::randn({2, 3}), at::randn({2, 3})}; },
       [](const Tensors& in) { return Tensors{in[0] + in[1], in[0] * in[1]}; }, false},
      {"dynamic_batch", rows(kWidth), linear, true},
      {"dynamic_convolution", [](int64_t size) { return Tensors{at::randn({size, 3, size + 3, 9})}; },
       [](const Tensors& in) { return Tensors{at::conv2d(in[0], weight({kWidth, 3, 3, 3})).relu()}; }, true},
      {"int64_input", [](int64_t size) { return Tensors{at::randint(0, 16, {size})}; },
       [](const Tensors& in) { return Tensors{at::embedding(weight({16, kWidth}), in[0]), in[0] * 3}; }, true},
      {"bool_output", fixed({3, 4}), [](const Tensors& in) { return Tensors{in[0] > 0}; }, false},
      {"scalar_output", fixed({3, 4}), [](const Tensors& in) { return Tensors{in[0].sum()}; }, false},
      {"dynamic_sum", rows(kWidth), [](const Tensors& in) { return Tensors{in[0].sum()}; }, true},
      {"scalar_input", [](int64_t) { return Tensors{at::randn({3, 4}), at::randn({})}; },
       [](const Tensors& in) { return Tensors{in[0] * in[1]}; }, false},
      {"identity", rows(4), [](const Tensors& in) { return Tensors{in[0].clone(), in[0] + 1}; }, true},
      {"identity_alone", rows(4), [](const Tensors& in) { return Tensors{in[0].clone()}; }, true},
      {"copy", rows(4), [](const Tensors& in) { return Tensors{in[0].clone(), in[0] + 1}; }, true},
      {"views", rows(4), [](const Tensors& in) { return Tensors{in[0].relu(), in[0].relu().reshape({-1}), in[0].unsqueeze(0)}; },
       true},
      {"casts", [](int64_t) { return small_numbers(); }, casts, false},
  };
}

}  // namespace

const std::vector<Part>& parts() {
  static const std::vector<Part> all = make_parts();
  return all;
}

const Part& part(const std::string& name) {
  for (const Part& candidate : parts()) {
    if (candidate.name == name) return candidate;
  }
  static const Part positives = {"positives", [](int64_t size) { return Tensors{at::randn({size, 4})}; },
                                 [](const Tensors& in) { return Tensors{at::nonzero(in[0] > 0), in[0] * 2}; }, true};
  if (name == positives.name) return positives;
  throw std::invalid_argument("no part " + name);
}

bool has_part(const std::string& backend, const std::string& part) {
  const nlohmann::json engines = read_manifest(backend).at("engines");
  return std::any_of(engines.begin(), engines.end(), [&](const nlohmann::json& entry) { return entry.at("name") == part; });
}

EngineSpec part_spec(const std::string& backend, const std::string& part) {
  const nlohmann::json manifest = read_manifest(backend);
  for (const auto& entry : manifest.at("engines")) {
    if (entry.at("name") != part) continue;
    return {.name = part,
            .backend = backend,
            .inputs = read_bindings(entry.at("inputs")),
            .outputs = read_bindings(entry.at("outputs")),
            .options = entry.at("options")};
  }
  throw std::invalid_argument("the manifest has no part " + part);
}

std::vector<char> part_blob(const std::string& backend, const std::string& part) {
  return read_bytes(folder(backend) + part + ".blob");
}

std::unique_ptr<Engine> load_part(const std::string& backend, const std::string& part) {
  const EngineSpec spec = part_spec(backend, part);
  return std::make_unique<Engine>(spec, find_backend(backend).load(spec, part_blob(backend, part)));
}

Fenced::Fenced(at::IntArrayRef sizes, at::ScalarType dtype, at::Device device) {
  const int64_t element = static_cast<int64_t>(c10::elementSize(dtype));
  const int64_t size = c10::multiply_integers(sizes) * element;
  bytes_ = at::full({2 * kFence + size}, kMark, at::TensorOptions().dtype(at::kByte).device(device));
  begin_ = kFence / 2 + element;
  end_ = begin_ + size;
  char* const begin = static_cast<char*>(bytes_.data_ptr()) + begin_;
  tensor_ = at::from_blob(begin, sizes, at::TensorOptions().dtype(dtype).device(device));
}

Fenced::Fenced(const at::Tensor& source) : Fenced(source.sizes(), source.scalar_type(), source.device()) { tensor_.copy_(source); }

bool Fenced::fence_is_intact() const {
  const at::Tensor before = bytes_.slice(0, 0, begin_), after = bytes_.slice(0, end_);
  return before.eq(kMark).all().item<bool>() && after.eq(kMark).all().item<bool>();
}

std::vector<Fenced> make_outputs(const Engine& engine, const std::vector<at::Tensor>& inputs) {
  const at::Device device = inputs.empty() ? at::Device(at::kCPU) : inputs[0].device();
  std::vector<Fenced> outputs;
  for (size_t index = 0; index < engine.spec().outputs.size(); ++index)
    outputs.emplace_back(engine.output_sizes(index, inputs), engine.spec().outputs[index].dtype, device);
  return outputs;
}

}  // namespace tenure::testing
