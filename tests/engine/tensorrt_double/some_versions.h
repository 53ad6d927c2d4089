// tests/engine/tensorrt_double/some_versions.h: the methods that TensorRT's interfaces have in some of the versions that Tenure
// supports. `virtual`, not `override`: to an interface that lacks one it is a method more. One with other parameters than the
// interface's leaves its class abstract, which the compiler tells.
#pragma once

#include <NvInferRuntime.h>

#include "tests/engine/tensorrt_double/calls.h"

// The types that these speak of, which not every version has either.
namespace nvinfer1 {
namespace v_1_0 {
class IStreamReader;
class IStreamReaderV2;
}  // namespace v_1_0
class IRuntimeConfig;
enum class EngineStat : int32_t;
enum class EngineValidity : int32_t;
}  // namespace nvinfer1

namespace tenure::testing::trt {

class RuntimeOfSomeVersions : public nvinfer1::IRuntime, public nvinfer1::apiv::VRuntime {
 public:
  using Engine = nvinfer1::ICudaEngine*;
  using VRuntime::deserializeCudaEngine;

  virtual Engine deserializeCudaEngine(nvinfer1::v_1_0::IStreamReader&) noexcept {
    return unexpected<Engine>("deserializeCudaEngine(IStreamReader)", nullptr);
  }
  virtual Engine deserializeCudaEngineV2(nvinfer1::v_1_0::IStreamReaderV2&) noexcept {
    return unexpected<Engine>("deserializeCudaEngine(IStreamReaderV2)", nullptr);
  }
  virtual int64_t getEngineHeaderSize() const noexcept { return unexpected<int64_t>("getEngineHeaderSize", -1); }
  virtual nvinfer1::EngineValidity getEngineValidity(const void*, int64_t, uint64_t*) const noexcept {
    return unexpected("getEngineValidity", nvinfer1::EngineValidity{-1});
  }
};

class EngineOfSomeVersions : public nvinfer1::ICudaEngine, public nvinfer1::apiv::VCudaEngine {
 public:
  using Name = const char*;

  virtual Name getAliasedInputTensor(Name name) const noexcept = 0;
  virtual nvinfer1::IRuntimeConfig* createRuntimeConfig() noexcept = 0;
  virtual nvinfer1::IExecutionContext* createExecutionContextWithRuntimeConfig(nvinfer1::IRuntimeConfig* config) noexcept = 0;

  virtual nvinfer1::IExecutionContext* createExecutionContextWithoutDeviceMemory() noexcept {
    return unexpected<nvinfer1::IExecutionContext*>("createExecutionContextWithoutDeviceMemory", nullptr);
  }
  virtual size_t getDeviceMemorySize() const noexcept { return unexpected<size_t>("getDeviceMemorySize", 0); }
  virtual size_t getDeviceMemorySizeForProfile(int32_t) const noexcept {
    return unexpected<size_t>("getDeviceMemorySizeForProfile", 0);
  }
  virtual const int32_t* getProfileTensorValues(Name, int32_t, nvinfer1::OptProfileSelector) const noexcept {
    return unexpected<const int32_t*>("getProfileTensorValues", nullptr);
  }
  virtual const int64_t* getProfileTensorValuesV2(Name, int32_t, nvinfer1::OptProfileSelector) const noexcept {
    return unexpected<const int64_t*>("getProfileTensorValues", nullptr);
  }
  virtual bool hasImplicitBatchDimension() const noexcept { return unexpected("hasImplicitBatchDimension", false); }
  virtual bool setWeightStreamingBudget(int64_t) noexcept { return unexpected("setWeightStreamingBudget", false); }
  virtual int64_t getWeightStreamingBudget() const noexcept { return unexpected<int64_t>("getWeightStreamingBudget", -1); }
  virtual int64_t getMinimumWeightStreamingBudget() const noexcept {
    return unexpected<int64_t>("getMinimumWeightStreamingBudget", -1);
  }
  virtual int64_t getEngineStat(nvinfer1::EngineStat) const noexcept { return unexpected<int64_t>("getEngineStat", -1); }
};

class ContextOfSomeVersions : public nvinfer1::IExecutionContext, public nvinfer1::apiv::VExecutionContext {
 public:
  virtual bool allInputShapesSpecified() const noexcept { return unexpected("allInputShapesSpecified", false); }
  virtual nvinfer1::IRuntimeConfig* getRuntimeConfig() const noexcept {
    return unexpected<nvinfer1::IRuntimeConfig*>("getRuntimeConfig", nullptr);
  }
  virtual bool setUnfusedTensorsDebugState(bool) noexcept { return unexpected("setUnfusedTensorsDebugState", false); }
  virtual bool getUnfusedTensorsDebugState() const noexcept { return unexpected("getUnfusedTensorsDebugState", false); }
  virtual bool setCommunicator(void*) noexcept { return unexpected("setCommunicator", false); }
};

}  // namespace tenure::testing::trt
