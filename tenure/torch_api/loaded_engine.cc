#include "tenure/torch_api/loaded_engine.h"

#include <c10/core/impl/VirtualGuardImpl.h>

#include <map>
#include <mutex>
#include <span>
#include <utility>

#include "tenure/archive/manifest.h"
#include "tenure/base/error.h"
#include "tenure/engine/registry.h"
#include "tenure/session/cuda/cuda.h"

namespace tenure {
namespace {

class SharedCompiled final : public CompiledEngine {
 public:
  explicit SharedCompiled(std::shared_ptr<const LoadedEngine> loaded) : loaded_(std::move(loaded)) {}
  std::unique_ptr<EngineContext> make_context() override { return loaded_->compiled->make_context(); }

 private:
  std::shared_ptr<const LoadedEngine> loaded_;
};

/// What is loaded in this process, by the address of the blob, which a loaded engine keeps alive.
class LoadedEngines {
 public:
  std::shared_ptr<const LoadedEngine> find(const std::string& spec_json, const at::Tensor& blob) {
    const std::lock_guard lock(mutex_);
    const auto found = by_blob_.find(blob.const_data_ptr());
    const std::shared_ptr<const LoadedEngine> loaded = found == by_blob_.end() ? nullptr : found->second.lock();
    const bool same = loaded != nullptr && loaded->spec_json == spec_json && loaded->blob.numel() == blob.numel();
    return same ? loaded : nullptr;
  }

  void add(const std::shared_ptr<const LoadedEngine>& loaded) {
    const std::lock_guard lock(mutex_);
    std::erase_if(by_blob_, [](const auto& entry) { return entry.second.expired(); });
    by_blob_.insert_or_assign(loaded->blob.const_data_ptr(), loaded);
  }

 private:
  std::mutex mutex_;
  std::map<const void*, std::weak_ptr<const LoadedEngine>> by_blob_;
};

LoadedEngines& loaded_engines() {
  static LoadedEngines* engines = new LoadedEngines;  // outlives engines that are destroyed at exit
  return *engines;
}

// On an accelerator PyTorch must hear of memory that lies in our cells.
c10::Device device_of(const Backend& backend) {
  const c10::DeviceType type = backend.device_type().value_or(c10::kCPU);
  if (type == c10::kCPU) return c10::kCPU;
  cuda::install_allocator();
  return c10::impl::VirtualGuardImpl(type).getDevice();
}

std::shared_ptr<const LoadedEngine> load(const std::string& spec_json, const at::Tensor& blob) {
  EngineSpec spec = parse_engine_spec(spec_json);
  return with_context(
      [&] { return concat("engine ", spec.name); },
      [&] {
        for (const Binding& output : spec.outputs) {
          check(!output.aliases_input, ErrorCode::kUnsupported, "it writes its output ", output.name,
                " into an input; this version runs only engines whose outputs have memory of their own");
        }
        const std::span bytes(static_cast<const char*>(blob.const_data_ptr()), static_cast<size_t>(blob.numel()));
        Backend& backend = find_backend(spec.backend);
        const c10::Device device = device_of(backend);
        std::shared_ptr<CompiledEngine> compiled = backend.load(spec, bytes, {});
        return std::make_shared<const LoadedEngine>(LoadedEngine{
            .spec = std::move(spec), .spec_json = spec_json, .blob = blob, .device = device, .compiled = std::move(compiled)});
      });
}

}  // namespace

std::shared_ptr<const LoadedEngine> load_engine(const std::string& spec_json, const at::Tensor& blob) {
  check(blob.defined() && blob.device().is_cpu() && blob.scalar_type() == at::kByte && blob.dim() == 1 && blob.is_contiguous(),
        ErrorCode::kInvalidArgument, "an engine's bytes must be a dense one-dimensional uint8 tensor on the CPU");
  if (auto loaded = loaded_engines().find(spec_json, blob)) return loaded;
  auto loaded = load(spec_json, blob);
  loaded_engines().add(loaded);
  return loaded;
}

std::unique_ptr<CompiledEngine> share_compiled(std::shared_ptr<const LoadedEngine> loaded) {
  return std::make_unique<SharedCompiled>(std::move(loaded));
}

}  // namespace tenure
