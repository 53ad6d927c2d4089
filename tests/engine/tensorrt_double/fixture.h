// tests/engine/tensorrt_double/fixture.h: the double through TensorRT's own interfaces.
#pragma once

#include <ATen/ATen.h>
#include <NvInferRuntime.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/engine/tensorrt_double/double.h"

namespace tenure::testing::trt {

using nvinfer1::Dims;

inline constexpr auto kUserManaged = nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED;
inline constexpr cudaStream_t kStream = nullptr;

struct Logger final : nvinfer1::ILogger {
  void log(Severity severity, const char* text) noexcept override {
    if (severity <= Severity::kERROR) errors += std::string(text) + "\n";
  }
  std::string errors;
};

struct Aligned {
  explicit Aligned(const at::Tensor& source, size_t offset = 0) : room(source.nbytes() + 512) {
    const auto begin = reinterpret_cast<uintptr_t>(room.data());
    data = room.data() + ((begin + 255) / 256 * 256 - begin) + offset;
    if (source.nbytes() > 0) std::memcpy(data, source.const_data_ptr(), source.nbytes());
    tensor = at::from_blob(data, source.sizes(), source.options());
  }
  std::vector<char> room;
  char* data;
  at::Tensor tensor;
};

inline std::vector<char> null_blob(const std::string& part) {
  std::ifstream in(std::string(TENURE_TEST_ENGINE_BLOBS) + "/null/" + part + ".blob", std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

inline Dims dims_of(const at::Tensor& tensor) {
  Dims dims{static_cast<int32_t>(tensor.dim()), {}};
  std::copy(tensor.sizes().begin(), tensor.sizes().end(), dims.d);
  return dims;
}

class TensorRtDouble : public ::testing::Test {
 protected:
  void SetUp() override {
    forget_calls();
    runtime_.reset(nvinfer1::createInferRuntime(logger_));
    ASSERT_NE(runtime_, nullptr);
  }

  void TearDown() override {
    context_.reset();
    engine_.reset();
    runtime_.reset();
    EXPECT_EQ(live_objects(), before_);
    EXPECT_THAT(unexpected_calls(), ::testing::IsEmpty());
  }

  nvinfer1::IExecutionContext& load(const std::string& part, const BlobOptions& options = {}) {
    const std::vector<char> blob = make_blob(null_blob(part), options);
    engine_.reset(runtime_->deserializeCudaEngine(blob.data(), blob.size()));
    if (engine_) context_.reset(engine_->createExecutionContext(kUserManaged));
    if (!context_) throw std::runtime_error(logger_.errors);
    return *context_;
  }

  void bind_input(const char* name, const Aligned& memory) {
    EXPECT_TRUE(context_->setInputShape(name, dims_of(memory.tensor))) << logger_.errors;
    EXPECT_TRUE(context_->setTensorAddress(name, memory.data));
  }

  void expect_refused(const std::string& why) {
    logger_.errors.clear();
    EXPECT_FALSE(context_->enqueueV3(kStream));
    EXPECT_THAT(logger_.errors, ::testing::HasSubstr(why));
  }

  const LiveObjects before_ = live_objects();  // a process may keep a runtime for good
  Logger logger_;
  std::unique_ptr<nvinfer1::IRuntime> runtime_;
  std::unique_ptr<nvinfer1::ICudaEngine> engine_;
  std::unique_ptr<nvinfer1::IExecutionContext> context_;
};

}  // namespace tenure::testing::trt
