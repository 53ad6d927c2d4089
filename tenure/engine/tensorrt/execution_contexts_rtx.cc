// For TensorRT-RTX, which compiles kernels for the GPU that it finds when contexts are made and sizes told.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "tenure/base/error.h"
#include "tenure/engine/tensorrt/execution_contexts.h"
#include "tenure/engine/tensorrt/log.h"

namespace tenure::tensorrt {
namespace {

namespace fs = std::filesystem;

class RtxContexts final : public ExecutionContexts {
 public:
  RtxContexts(nvinfer1::ICudaEngine& engine, fs::path file)
      : engine_(engine), file_(std::move(file)), config_(engine.createRuntimeConfig()) {
    check_call(config_ != nullptr, [] { return "make a runtime configuration"; });
    config_->setExecutionContextAllocationStrategy(nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED);
    if (file_.empty()) return;
    cache_.reset(config_->createRuntimeCache());
    check_call(cache_ != nullptr, [] { return "make a runtime cache"; });
    read();
    check_call(config_->setRuntimeCache(*cache_), [] { return "use a runtime cache"; });
  }

  ~RtxContexts() override { write(); }

  std::unique_ptr<nvinfer1::IExecutionContext> make() override {
    return std::unique_ptr<nvinfer1::IExecutionContext>(engine_.createExecutionContext(config_.get()));
  }

 private:
  // A cache of another version or GPU is none: kernels are compiled again, and the file replaced.
  void read() {
    std::ifstream in(file_, std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    if (!bytes.empty() && cache_->deserialize(bytes.data(), bytes.size())) bytes_read_ = bytes.size();
  }

  // Other processes may read and write it at the same time: whole files only.
  void write() noexcept try {
    if (!cache_) return;
    const std::unique_ptr<nvinfer1::IHostMemory> bytes(cache_->serialize());
    if (!bytes || bytes->size() == bytes_read_) return;
    const fs::path part = fs::path(file_).concat(".part");
    std::ofstream out(part, std::ios::binary);
    out.write(static_cast<const char*>(bytes->data()), static_cast<std::streamsize>(bytes->size()));
    out.close();
    if (out) fs::rename(part, file_);
  } catch (...) {  // without the file the next process compiles the kernels again, no more
  }

  nvinfer1::ICudaEngine& engine_;
  const fs::path file_;
  std::unique_ptr<nvinfer1::IRuntimeConfig> config_;
  std::unique_ptr<nvinfer1::IRuntimeCache> cache_;
  size_t bytes_read_ = 0;
};

}  // namespace

std::unique_ptr<ExecutionContexts> make_execution_contexts(nvinfer1::ICudaEngine& engine,
                                                           const std::map<std::string, std::string>& options) {
  const auto file = options.find("runtime_cache");
  return std::make_unique<RtxContexts>(engine, file == options.end() ? fs::path() : fs::path(file->second));
}

}  // namespace tenure::tensorrt
