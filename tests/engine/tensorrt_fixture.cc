#include "tests/engine/tensorrt_fixture.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <cstdlib>

namespace tenure::testing {

EngineSpec spec_of(const std::string& part) {
  EngineSpec spec = part_spec("null", part);
  spec.backend = "tensorrt";
  return spec;
}

std::unique_ptr<Engine> load(const EngineSpec& spec, const trt::BlobOptions& options) {
  return std::make_unique<Engine>(spec, make_tensorrt_backend()->load(spec, trt::make_blob(part_blob("null", spec.name), options)));
}

at::Tensor aligned(const at::Tensor& source) {
  void* const p = std::aligned_alloc(256, (source.nbytes() + 256) / 256 * 256);
  return at::from_blob(p, source.sizes(), [](void* memory) { std::free(memory); }, source.options()).copy_(source);
}

Tensors aligned(Tensors tensors) {
  for (at::Tensor& tensor : tensors) tensor = aligned(tensor);
  return tensors;
}

Tensors empty_outputs(const Engine& engine, const Tensors& inputs) {
  Tensors outputs;
  for (size_t i = 0; i < engine.spec().outputs.size(); ++i)
    outputs.push_back(aligned(at::zeros(engine.output_sizes(i, inputs), engine.spec().outputs[i].dtype)));
  return outputs;
}

void run(EngineContext& context, const Tensors& inputs, const Tensors& outputs) {
  for (size_t i = 0; i < inputs.size(); ++i) context.bind_input(i, inputs[i]);
  for (size_t i = 0; i < outputs.size(); ++i) context.bind_output(i, outputs[i]);
  context.enqueue();
}

// From memory as the double computes from: kernels give other last bits for memory that is aligned otherwise.
void expect_answer(const std::string& name, const Tensors& inputs, const Tensors& outputs) {
  const Tensors want = part(name).reference(aligned(inputs));
  for (size_t i = 0; i < want.size(); ++i) EXPECT_TRUE(at::equal(outputs[i], want[i])) << name << ", output " << i;
}

void expect_run(const Engine& engine, EngineContext& context, int64_t size) {
  const Tensors inputs = aligned(part(engine.spec().name).make_inputs(size)), outputs = empty_outputs(engine, inputs);
  run(context, inputs, outputs);
  expect_answer(engine.spec().name, inputs, outputs);
}

std::vector<std::string> names_of_calls() {
  std::vector<std::string> names;
  for (const trt::Call& call : trt::calls()) names.push_back(call.name);
  return names;
}

void TensorRtEngine::SetUp() {
  make_tensorrt_backend()->load(spec_of("relu"), trt::make_blob(part_blob("null", "relu")));  // starts the runtime
  trt::forget_calls();
  before_ = trt::live_objects();
}

void TensorRtEngine::TearDown() {
  EXPECT_THAT(trt::unexpected_calls(), ::testing::IsEmpty());
  EXPECT_EQ(trt::live_objects(), before_);
}

}  // namespace tenure::testing
