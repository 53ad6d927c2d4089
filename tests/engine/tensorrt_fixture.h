// tests/engine/tensorrt_fixture.h: the TensorRT engine on the double of TensorRT.
#pragma once

#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tenure/base/error.h"
#include "tenure/engine/engine.h"
#include "tenure/engine/tensorrt/tensorrt_backend.h"
#include "tests/engine/parts.h"
#include "tests/engine/tensorrt_double/double.h"
#include "tests/error_of.h"

namespace tenure::testing {

using Tensors = std::vector<at::Tensor>;

EngineSpec spec_of(const std::string& part);
std::unique_ptr<Engine> load(const EngineSpec& spec, const trt::BlobOptions& options = {});

/// The same content in memory that TensorRT takes.
at::Tensor aligned(const at::Tensor& source);
Tensors aligned(Tensors tensors);
Tensors empty_outputs(const Engine& engine, const Tensors& inputs);

void run(EngineContext& context, const Tensors& inputs, const Tensors& outputs);
void expect_answer(const std::string& name, const Tensors& inputs, const Tensors& outputs);
/// Runs the part on inputs of that size, and expects its answer.
void expect_run(const Engine& engine, EngineContext& context, int64_t size);

std::vector<std::string> names_of_calls();

/// Starts from no calls; expects that nothing unexpected is called and nothing is left over.
class TensorRtEngine : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

 private:
  trt::LiveObjects before_;
};

}  // namespace tenure::testing
