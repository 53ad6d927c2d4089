// For TensorRT-RTX, which compiles kernels for the GPU that it finds when contexts are made and sizes told.
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "tenure/base/error.h"
#include "tenure/engine/tensorrt/execution_contexts.h"
#include "tenure/engine/tensorrt/log.h"

namespace tenure::tensorrt {
namespace {

namespace fs = std::filesystem;

/// The kernels in one file, shared by all engines of the process that name it. Thread-safe.
class KernelCache {
 public:
  /// The one that is open already, or a new one with what the file holds.
  static std::shared_ptr<KernelCache> open(const fs::path& file, const nvinfer1::IRuntimeConfig& config) {
    static std::mutex mutex;
    static auto& caches = *new std::map<fs::path, std::weak_ptr<KernelCache>>;  // engines may outlive static objects
    const std::lock_guard lock(mutex);
    std::weak_ptr<KernelCache>& entry = caches[fs::absolute(file)];
    std::shared_ptr<KernelCache> cache = entry.lock();
    if (!cache) entry = cache = std::make_shared<KernelCache>(fs::absolute(file), config);
    return cache;
  }

  KernelCache(fs::path file, const nvinfer1::IRuntimeConfig& config) : file_(std::move(file)), cache_(config.createRuntimeCache()) {
    check_call(cache_ != nullptr, [] { return "make a runtime cache"; });
    // A cache of another version or GPU is none: kernels are compiled again, and the file replaced.
    std::ifstream in(file_, std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    if (!bytes.empty() && cache_->deserialize(bytes.data(), bytes.size())) bytes_read_ = bytes.size();
  }

  // Other processes may read and write it at the same time: whole files only.
  ~KernelCache() {
    try {
      const std::unique_ptr<nvinfer1::IHostMemory> bytes(cache_->serialize());
      if (!bytes || bytes->size() == bytes_read_) return;
      const fs::path part = fs::path(file_).concat(concat(".", ::getpid(), ".part"));
      std::ofstream out(part, std::ios::binary);
      out.write(static_cast<const char*>(bytes->data()), static_cast<std::streamsize>(bytes->size()));
      out.close();
      if (out)
        fs::rename(part, file_);
      else
        fs::remove(part);
    } catch (...) {  // without the file the next process compiles the kernels again, no more
    }
  }

  const nvinfer1::IRuntimeCache& get() const { return *cache_; }

 private:
  const fs::path file_;
  const std::unique_ptr<nvinfer1::IRuntimeCache> cache_;
  size_t bytes_read_ = 0;
};

class RtxContexts final : public ExecutionContexts {
 public:
  RtxContexts(nvinfer1::ICudaEngine& engine, const fs::path& cache_file) : engine_(engine), config_(engine.createRuntimeConfig()) {
    check_call(config_ != nullptr, [] { return "make a runtime configuration"; });
    config_->setExecutionContextAllocationStrategy(nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED);
    if (cache_file.empty()) return;
    cache_ = KernelCache::open(cache_file, *config_);
    check_call(config_->setRuntimeCache(cache_->get()), [] { return "use a runtime cache"; });
  }

  std::unique_ptr<nvinfer1::IExecutionContext> make() override {
    return std::unique_ptr<nvinfer1::IExecutionContext>(engine_.createExecutionContext(config_.get()));
  }

 private:
  nvinfer1::ICudaEngine& engine_;
  std::shared_ptr<KernelCache> cache_;
  const std::unique_ptr<nvinfer1::IRuntimeConfig> config_;
};

}  // namespace

std::unique_ptr<ExecutionContexts> make_execution_contexts(nvinfer1::ICudaEngine& engine,
                                                           const std::map<std::string, std::string>& options) {
  const auto file = options.find("runtime_cache");
  return std::make_unique<RtxContexts>(engine, file == options.end() ? fs::path() : fs::path(file->second));
}

}  // namespace tenure::tensorrt
