// tests/engine/tensorrt_double/objects.h: the objects that stand for TensorRT's. Each is its own implementation: mImpl is `this`.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/engine/tensorrt_double/program.h"
#include "tests/engine/tensorrt_double/unexpected.h"

namespace tenure::testing::trt {

using nvinfer1::Dims;
using nvinfer1::ExecutionContextAllocationStrategy;

/// Names of what was compiled, a context's first run and each of new sizes.
class Kernels {
 public:
  void add(const std::string& kernel);
  void clear();
  std::string to_text() const;
  bool from_text(const std::string& text);

 private:
  mutable std::mutex mutex_;
  std::set<std::string> names_;  // guarded by mutex_
};

class MemoryDouble final : public nvinfer1::IHostMemory, public nvinfer1::apiv::VHostMemory {
 public:
  explicit MemoryDouble(std::string bytes) : bytes_(std::move(bytes)) { mImpl = this; }

  void* data() const noexcept override { return bytes_.data(); }
  size_t size() const noexcept override { return bytes_.size(); }
  nvinfer1::DataType type() const noexcept override { return nvinfer1::DataType::kINT8; }

 private:
  mutable std::string bytes_;
  const Alive alive_{&LiveObjects::memories};
};

/// What an engine shares with its contexts.
struct Loaded {
  struct Range {
    Dims min, opt, max;
  };

  /// Throws Error.
  Loaded(const Blob& blob, nvinfer1::ILogger& to_logger);

  bool takes(size_t profile, size_t input, const Dims& dims) const;
  bool is_streaming() const { return budget < options.streamable_weights; }
  int64_t streaming_bytes() const { return is_streaming() ? kStreamingBytes : 0; }
  int64_t scratch_bytes(size_t profile) const;

  static constexpr int64_t kStreamingBytes = 1024;

  const BlobOptions options;
  const Program program;
  const std::vector<std::vector<Range>> profiles;  // by profile and input
  nvinfer1::ILogger& logger;
  std::atomic<int64_t> budget;
  std::atomic<int> contexts = 0;
};

class RuntimeDouble final : public PartialRuntime {
 public:
  explicit RuntimeDouble(nvinfer1::ILogger& logger) : logger_(logger) { mImpl = this; }
  ~RuntimeDouble() override;

  using PartialRuntime::deserializeCudaEngine;
  nvinfer1::ICudaEngine* deserializeCudaEngine(const void* blob, size_t size) noexcept override;
  nvinfer1::ILogger* getLogger() const noexcept override { return &logger_; }

 private:
  nvinfer1::ILogger& logger_;
  const std::shared_ptr<std::atomic<int>> engines_ = std::make_shared<std::atomic<int>>(0);
  const Alive alive_{&LiveObjects::runtimes};
};

class EngineDouble final : public PartialEngine {
 public:
  EngineDouble(std::shared_ptr<Loaded> loaded, std::shared_ptr<std::atomic<int>> engines);
  ~EngineDouble() override;

  int32_t getNbIOTensors() const noexcept override { return static_cast<int32_t>(loaded_->program.ports().size()); }
  Name getIOTensorName(int32_t index) const noexcept override;
  nvinfer1::TensorIOMode getTensorIOMode(Name name) const noexcept override;
  Dims getTensorShape(Name name) const noexcept override;
  nvinfer1::DataType getTensorDataType(Name name) const noexcept override;
  nvinfer1::TensorLocation getTensorLocation(Name name) const noexcept override;
  bool isShapeInferenceIO(Name name) const noexcept override;
  nvinfer1::TensorFormat getTensorFormat(Name name) const noexcept override;
  Name getTensorFormatDesc(Name name) const noexcept override;
  nvinfer1::TensorFormat getTensorFormatV2(Name name, int32_t profile) const noexcept override;
  Name getTensorFormatDescV2(Name name, int32_t profile) const noexcept override;
  Name getAliasedInputTensor(Name name) const noexcept override;
  int32_t getNbOptimizationProfiles() const noexcept override { return static_cast<int32_t>(loaded_->profiles.size()); }
  Dims getProfileShape(Name name, int32_t profile, nvinfer1::OptProfileSelector select) const noexcept override;
  int64_t getDeviceMemorySizeV2() const noexcept override;
  int64_t getDeviceMemorySizeForProfileV2(int32_t profile) const noexcept override;
  int64_t getStreamableWeightsSize() const noexcept override { return loaded_->options.streamable_weights; }
  bool setWeightStreamingBudgetV2(int64_t bytes) noexcept override;
  int64_t getWeightStreamingBudgetV2() const noexcept override { return loaded_->budget; }
  int64_t getWeightStreamingAutomaticBudget() const noexcept override { return loaded_->options.streamable_weights; }
  int64_t getWeightStreamingScratchMemorySize() const noexcept override { return loaded_->streaming_bytes(); }
  nvinfer1::IRuntimeConfig* createRuntimeConfig() noexcept override;
  nvinfer1::IExecutionContext* createExecutionContext(ExecutionContextAllocationStrategy strategy) noexcept override;
  nvinfer1::IExecutionContext* createExecutionContextWithRuntimeConfig(nvinfer1::IRuntimeConfig* config) noexcept override;

 private:
  const Port* find(Name name) const;

  const std::shared_ptr<Loaded> loaded_;
  const std::shared_ptr<std::atomic<int>> engines_;
  const Alive alive_{&LiveObjects::engines};
};

class ContextDouble final : public PartialContext {
 public:
  /// `kernels` may be null.
  ContextDouble(nvinfer1::ICudaEngine& engine, std::shared_ptr<Loaded> loaded, ExecutionContextAllocationStrategy strategy,
                std::shared_ptr<Kernels> kernels);
  ~ContextDouble() override;

  const nvinfer1::ICudaEngine& getEngine() const noexcept override { return engine_; }
  int32_t getOptimizationProfile() const noexcept override { return static_cast<int32_t>(profile_); }
  bool setOptimizationProfileAsync(int32_t profile, cudaStream_t stream) noexcept override;
  bool setInputShape(Name name, const Dims& dims) noexcept override;
  Dims getTensorShape(Name name) const noexcept override;
  bool setTensorAddress(Name name, void* data) noexcept override;
  const void* getTensorAddress(Name name) const noexcept override;
  bool setOutputAllocator(Name name, nvinfer1::IOutputAllocator* allocator) noexcept override;
  nvinfer1::IOutputAllocator* getOutputAllocator(Name name) noexcept override;
  int32_t inferShapes(int32_t max_names, Name* names) noexcept override;
  size_t updateDeviceMemorySizeForShapes() noexcept override;
  void setDeviceMemoryV2(void* memory, int64_t size) noexcept override;
  void setProfiler(nvinfer1::IProfiler* profiler) noexcept override;
  bool enqueueV3(cudaStream_t stream) noexcept override;

 private:
  struct Bound {
    std::optional<Dims> dims;  // inputs: that were set
    void* data = nullptr;
    nvinfer1::IOutputAllocator* allocator = nullptr;
  };
  struct Memory {
    void* data = nullptr;
    int64_t bytes = 0;
  };

  const std::vector<Port>& ports() const { return loaded_->program.ports(); }
  size_t find(Name name) const;
  Dims input_dims(size_t input) const;
  bool lacks(size_t input) const;
  std::vector<std::string> lacking() const;
  std::vector<Input> inputs() const;
  void check_shape(size_t input, const Dims& dims) const;
  void check_bound(size_t index) const;
  Memory scratch();
  void run(cudaStream_t stream);
  void* memory_for(size_t index, const Output& output, cudaStream_t stream) const;

  nvinfer1::ICudaEngine& engine_;
  const std::shared_ptr<Loaded> loaded_;
  const ExecutionContextAllocationStrategy strategy_;
  const std::shared_ptr<Kernels> kernels_;
  size_t profile_ = 0;
  std::vector<Bound> bound_;  // by port
  Memory memory_;             // the user's
  nvinfer1::IProfiler* profiler_ = nullptr;
  std::vector<char> own_memory_;
  const Alive alive_{&LiveObjects::contexts};
};

}  // namespace tenure::testing::trt
