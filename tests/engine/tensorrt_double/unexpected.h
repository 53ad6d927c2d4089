// tests/engine/tensorrt_double/unexpected.h: the methods of TensorRT's interfaces that Tenure has no use for, and every version
// has. A call of one is noted and fails.
#pragma once

#include <NvInferRuntime.h>

#include <cstdlib>

#include "tests/engine/tensorrt_double/calls.h"
#include "tests/engine/tensorrt_double/some_versions.h"

namespace tenure::testing::trt {

class PartialRuntime : public RuntimeOfSomeVersions {
 public:
  using Engine = nvinfer1::ICudaEngine*;
  using Name = const char*;

  IRuntime* getPImpl() noexcept final { return this; }
  void setDLACore(int32_t) noexcept final { note_unexpected("setDLACore"); }
  int32_t getDLACore() const noexcept final { return unexpected("getDLACore", -1); }
  int32_t getNbDLACores() const noexcept final { return unexpected("getNbDLACores", 0); }
  void setGpuAllocator(nvinfer1::IGpuAllocator*) noexcept final { note_unexpected("setGpuAllocator"); }
  void setErrorRecorder(nvinfer1::IErrorRecorder*) noexcept final { note_unexpected("setErrorRecorder"); }
  nvinfer1::IErrorRecorder* getErrorRecorder() const noexcept final {
    return unexpected<nvinfer1::IErrorRecorder*>("getErrorRecorder", nullptr);
  }
  bool setMaxThreads(int32_t) noexcept final { return unexpected("setMaxThreads", false); }
  int32_t getMaxThreads() const noexcept final { return unexpected("getMaxThreads", 0); }
  void setTemporaryDirectory(Name) noexcept final { note_unexpected("setTemporaryDirectory"); }
  Name getTemporaryDirectory() const noexcept final { return unexpected<Name>("getTemporaryDirectory", nullptr); }
  void setTempfileControlFlags(nvinfer1::TempfileControlFlags) noexcept final { note_unexpected("setTempfileControlFlags"); }
  nvinfer1::TempfileControlFlags getTempfileControlFlags() const noexcept final {
    return unexpected<nvinfer1::TempfileControlFlags>("getTempfileControlFlags", 0);
  }
  nvinfer1::IPluginRegistry& getPluginRegistry() noexcept final {
    std::abort();  // there is none to return
  }
  void setPluginRegistryParent(nvinfer1::IPluginRegistry*) noexcept final { note_unexpected("setPluginRegistryParent"); }
  IRuntime* loadRuntime(Name) noexcept final { return unexpected<IRuntime*>("loadRuntime", nullptr); }
  void setEngineHostCodeAllowed(bool) noexcept final { note_unexpected("setEngineHostCodeAllowed"); }
  bool getEngineHostCodeAllowed() const noexcept final { return unexpected("getEngineHostCodeAllowed", false); }
};

class PartialEngine : public EngineOfSomeVersions {
 public:
  using Name = const char*;

  ICudaEngine* getPImpl() noexcept final { return this; }
  int32_t getNbLayers() const noexcept final { return unexpected("getNbLayers", 0); }
  nvinfer1::IHostMemory* serialize() const noexcept final { return unexpected<nvinfer1::IHostMemory*>("serialize", nullptr); }
  bool isRefittable() const noexcept final { return unexpected("isRefittable", false); }
  Name getName() const noexcept final { return unexpected<Name>("getName", nullptr); }
  nvinfer1::EngineCapability getEngineCapability() const noexcept final {
    return unexpected("getEngineCapability", nvinfer1::EngineCapability::kSTANDARD);
  }
  void setErrorRecorder(nvinfer1::IErrorRecorder*) noexcept final { note_unexpected("setErrorRecorder"); }
  nvinfer1::IErrorRecorder* getErrorRecorder() const noexcept final {
    return unexpected<nvinfer1::IErrorRecorder*>("getErrorRecorder", nullptr);
  }
  nvinfer1::TacticSources getTacticSources() const noexcept final {
    return unexpected<nvinfer1::TacticSources>("getTacticSources", 0);
  }
  nvinfer1::ProfilingVerbosity getProfilingVerbosity() const noexcept final {
    return unexpected("getProfilingVerbosity", nvinfer1::ProfilingVerbosity::kNONE);
  }
  nvinfer1::IEngineInspector* createEngineInspector() const noexcept final {
    return unexpected<nvinfer1::IEngineInspector*>("createEngineInspector", nullptr);
  }
  int32_t getTensorBytesPerComponent(Name) const noexcept final { return unexpected("getTensorBytesPerComponent", -1); }
  int32_t getTensorComponentsPerElement(Name) const noexcept final { return unexpected("getTensorComponentsPerElement", -1); }
  int32_t getTensorVectorizedDim(Name) const noexcept final { return unexpected("getTensorVectorizedDim", -1); }
  nvinfer1::HardwareCompatibilityLevel getHardwareCompatibilityLevel() const noexcept final {
    return unexpected("getHardwareCompatibilityLevel", nvinfer1::HardwareCompatibilityLevel{});
  }
  int32_t getNbAuxStreams() const noexcept final { return unexpected("getNbAuxStreams", 0); }
  int32_t getTensorBytesPerComponentV2(Name, int32_t) const noexcept final { return unexpected("getTensorBytesPerComponent", -1); }
  int32_t getTensorComponentsPerElementV2(Name, int32_t) const noexcept final {
    return unexpected("getTensorComponentsPerElement", -1);
  }
  int32_t getTensorVectorizedDimV2(Name, int32_t) const noexcept final { return unexpected("getTensorVectorizedDim", -1); }
  nvinfer1::ISerializationConfig* createSerializationConfig() noexcept final {
    return unexpected<nvinfer1::ISerializationConfig*>("createSerializationConfig", nullptr);
  }
  nvinfer1::IHostMemory* serializeWithConfig(nvinfer1::ISerializationConfig&) const noexcept final {
    return unexpected<nvinfer1::IHostMemory*>("serializeWithConfig", nullptr);
  }
  nvinfer1::IRefitter* createRefitter(nvinfer1::ILogger&) noexcept final {
    return unexpected<nvinfer1::IRefitter*>("createRefitter", nullptr);
  }
  bool isDebugTensor(Name) const noexcept final { return unexpected("isDebugTensor", false); }
};

class PartialContext : public ContextOfSomeVersions {
 public:
  using Name = const char*;

  IExecutionContext* getPImpl() noexcept final { return this; }
  void setDebugSync(bool) noexcept final { note_unexpected("setDebugSync"); }
  bool getDebugSync() const noexcept final { return unexpected("getDebugSync", false); }
  nvinfer1::IProfiler* getProfiler() const noexcept final { return unexpected<nvinfer1::IProfiler*>("getProfiler", nullptr); }
  void setName(Name) noexcept final { note_unexpected("setName"); }
  Name getName() const noexcept final { return unexpected<Name>("getName", nullptr); }
  void setDeviceMemory(void*) noexcept final { note_unexpected("setDeviceMemory"); }
  bool allInputDimensionsSpecified() const noexcept final { return unexpected("allInputDimensionsSpecified", false); }
  void setErrorRecorder(nvinfer1::IErrorRecorder*) noexcept final { note_unexpected("setErrorRecorder"); }
  nvinfer1::IErrorRecorder* getErrorRecorder() const noexcept final {
    return unexpected<nvinfer1::IErrorRecorder*>("getErrorRecorder", nullptr);
  }
  bool executeV2(void* const*) noexcept final { return unexpected("executeV2", false); }
  void setEnqueueEmitsProfile(bool) noexcept final { note_unexpected("setEnqueueEmitsProfile"); }
  bool getEnqueueEmitsProfile() const noexcept final { return unexpected("getEnqueueEmitsProfile", false); }
  bool reportToProfiler() const noexcept final { return unexpected("reportToProfiler", false); }
  nvinfer1::Dims getTensorStrides(Name) const noexcept final { return unexpected("getTensorStrides", nvinfer1::Dims{-1, {}}); }
  bool setInputTensorAddress(Name, const void*) noexcept final { return unexpected("setInputTensorAddress", false); }
  bool setOutputTensorAddress(Name, void*) noexcept final { return unexpected("setOutputTensorAddress", false); }
  bool setInputConsumedEvent(cudaEvent_t) noexcept final { return unexpected("setInputConsumedEvent", false); }
  cudaEvent_t getInputConsumedEvent() const noexcept final { return unexpected<cudaEvent_t>("getInputConsumedEvent", nullptr); }
  void* getOutputTensorAddress(Name) const noexcept final { return unexpected<void*>("getOutputTensorAddress", nullptr); }
  int64_t getMaxOutputSize(Name) const noexcept final { return unexpected<int64_t>("getMaxOutputSize", -1); }
  bool setTemporaryStorageAllocator(nvinfer1::IGpuAllocator*) noexcept final {
    return unexpected("setTemporaryStorageAllocator", false);
  }
  nvinfer1::IGpuAllocator* getTemporaryStorageAllocator() const noexcept final {
    return unexpected<nvinfer1::IGpuAllocator*>("getTemporaryStorageAllocator", nullptr);
  }
  void setPersistentCacheLimit(size_t) noexcept final { note_unexpected("setPersistentCacheLimit"); }
  size_t getPersistentCacheLimit() const noexcept final { return unexpected<size_t>("getPersistentCacheLimit", 0); }
  bool setNvtxVerbosity(nvinfer1::ProfilingVerbosity) noexcept final { return unexpected("setNvtxVerbosity", false); }
  nvinfer1::ProfilingVerbosity getNvtxVerbosity() const noexcept final {
    return unexpected("getNvtxVerbosity", nvinfer1::ProfilingVerbosity::kNONE);
  }
  void setAuxStreams(cudaStream_t*, int32_t) noexcept final { note_unexpected("setAuxStreams"); }
  bool setDebugListener(nvinfer1::IDebugListener*) noexcept final { return unexpected("setDebugListener", false); }
  nvinfer1::IDebugListener* getDebugListener() noexcept final {
    return unexpected<nvinfer1::IDebugListener*>("getDebugListener", nullptr);
  }
  bool setTensorDebugState(Name, bool) noexcept final { return unexpected("setTensorDebugState", false); }
  bool getDebugState(Name) const noexcept final { return unexpected("getDebugState", false); }
  bool setAllTensorsDebugState(bool) noexcept final { return unexpected("setAllTensorsDebugState", false); }
};

}  // namespace tenure::testing::trt
