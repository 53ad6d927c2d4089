// tenure/engine/tensorrt/execution_contexts.h: how execution contexts are made, which differs between TensorRT and TensorRT-RTX.
#pragma once

#include <NvInferRuntime.h>
#include <c10/core/Device.h>

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace tenure::tensorrt {

/// "TensorRT" or "TensorRT-RTX".
extern const char* const kProduct;

/// Makes execution contexts of one engine, whose scratch memory we give them. Used by one thread at a time.
class ExecutionContexts {
 public:
  virtual ~ExecutionContexts() = default;
  /// Null if TensorRT could not; its log says why.
  virtual std::unique_ptr<nvinfer1::IExecutionContext> make() = 0;
  /// To be held while a context is told sizes that are new to it, and runs with them: that may compile kernels. Thread-safe.
  virtual std::unique_lock<std::mutex> compile() { return {}; }
};

/// TensorRT-RTX keeps the kernels that it compiles for `device` from process to process: in the file that the option
/// "runtime_cache" names, none if that is empty; without that option in one beside `program_file`, unless that is empty. When it
/// compiles kernels for new sizes is the option "shape_specialization": "none" (unless told), "lazy" or "eager".
/// TensorRT compiles none: with one of these options Error(kUnsupported).
std::unique_ptr<ExecutionContexts> make_execution_contexts(nvinfer1::ICudaEngine& engine,
                                                           const std::map<std::string, std::string>& options, c10::Device device,
                                                           const std::filesystem::path& program_file);

}  // namespace tenure::tensorrt
