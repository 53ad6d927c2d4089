// tests/engine/parts.h: the parts of the conformance suite: what testdata/make_engine_blobs.py compiled, with inputs and right
// answers.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tenure/engine/engine.h"

namespace tenure::testing {

/// A part and what PyTorch makes of it.
struct Part {
  std::string name;
  /// Random inputs. `size` is the part's dynamic size; parts of fixed sizes ignore it.
  std::function<std::vector<at::Tensor>(int64_t size)> make_inputs;
  std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>& inputs)> reference;
  bool is_dynamic = false;
};

/// Those whose sizes follow from the inputs' sizes.
const std::vector<Part>& parts();
const Part& part(const std::string& name);

/// Whether the backend's compiler takes the part.
bool has_part(const std::string& backend, const std::string& part);

/// What the manifest of that backend says of the part, and the bytes of the blob.
EngineSpec part_spec(const std::string& backend, const std::string& part);
std::vector<char> part_blob(const std::string& backend, const std::string& part);

/// Loads it through the registry.
std::unique_ptr<Engine> load_part(const std::string& backend, const std::string& part);

/// A tensor whose memory is aligned to one element only, between two strips of marked bytes.
class Fenced {
 public:
  Fenced(at::IntArrayRef sizes, at::ScalarType dtype, at::Device device = at::kCPU);
  /// Copies the content of `source`.
  explicit Fenced(const at::Tensor& source);

  const at::Tensor& tensor() const { return tensor_; }
  bool fence_is_intact() const;

 private:
  at::Tensor bytes_;
  int64_t begin_ = 0;
  int64_t end_ = 0;
  at::Tensor tensor_;
};

/// Fenced memory for the outputs of `engine` for these inputs, on their device.
std::vector<Fenced> make_outputs(const Engine& engine, const std::vector<at::Tensor>& inputs);

}  // namespace tenure::testing
