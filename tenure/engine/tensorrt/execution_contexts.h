// tenure/engine/tensorrt/execution_contexts.h: how execution contexts are made, which differs between TensorRT and TensorRT-RTX.
#pragma once

#include <NvInferRuntime.h>

#include <map>
#include <memory>
#include <string>

namespace tenure::tensorrt {

/// Makes execution contexts of one engine, whose scratch memory we give them. Used by one thread at a time.
class ExecutionContexts {
 public:
  virtual ~ExecutionContexts() = default;
  /// Null if TensorRT could not; its log says why.
  virtual std::unique_ptr<nvinfer1::IExecutionContext> make() = 0;
};

/// `options` may name a "runtime_cache", a file that keeps the kernels that TensorRT-RTX compiles for this GPU from process to
/// process; Error(kUnsupported) with TensorRT, which compiles none.
std::unique_ptr<ExecutionContexts> make_execution_contexts(nvinfer1::ICudaEngine& engine,
                                                           const std::map<std::string, std::string>& options);

}  // namespace tenure::tensorrt
