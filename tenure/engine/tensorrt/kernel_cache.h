// tenure/engine/tensorrt/kernel_cache.h: the kernels that TensorRT-RTX compiled for a GPU, in a file.
#pragma once

#include <NvInferRuntime.h>

#include <filesystem>
#include <memory>
#include <mutex>
#include <string>

namespace tenure::tensorrt {

/// The kernels in one file, shared by all engines of the process that name it. Read when made, written when the last engine is gone
/// if they have become more. A file that cannot be read, or is of another version or GPU, is as none, and one that cannot be
/// written is not: the next process compiles the kernels again, no more. Thread-safe.
class KernelCache {
 public:
  /// The one that is open already, or a new one with what the file holds. Throws Error(kEngine) if TensorRT has no room for one.
  static std::shared_ptr<KernelCache> open(const std::filesystem::path& file, const nvinfer1::IRuntimeConfig& config);

  KernelCache(std::filesystem::path file, const nvinfer1::IRuntimeConfig& config);
  ~KernelCache();

  const nvinfer1::IRuntimeCache& get() const { return *cache_; }
  /// See ExecutionContexts::compile. Contexts that compile into one cache at once make TensorRT-RTX 1.4 fail runs.
  std::unique_lock<std::mutex> compile() { return std::unique_lock(compiling_); }

 private:
  const std::filesystem::path file_;
  const std::unique_ptr<nvinfer1::IRuntimeCache> cache_;
  size_t bytes_read_ = 0;
  std::mutex compiling_;
};

/// "model.pt2.NVIDIA_H100_80GB_HBM3_compute_capability_9.0.rtx-1.4.0.76.cache": one for each GPU and version, for which alone it is
/// of use, so that machines that share the folder do not overwrite each other's.
std::filesystem::path kernel_cache_beside(const std::filesystem::path& program_file, const std::string& gpu);

}  // namespace tenure::tensorrt
