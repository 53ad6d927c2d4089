#include <algorithm>
#include <array>
#include <charconv>
#include <mutex>
#include <utility>

#include "tenure/engine/tensorrt/compiled.h"
#include "tenure/engine/tensorrt/log.h"
#include "tenure/engine/tensorrt/tensorrt_backend.h"

namespace tenure {
namespace tensorrt {
namespace {

constexpr std::array<std::string_view, 6> kOptions = {
    "weight_streaming_budget", "runtime_cache", "shape_specialization",
    // Those that the engine was built with: the file keeps them, nothing is left to do.
    "max_size", "tf32", "workspace_bytes"};

void check_options(const EngineSpec& spec) {
  for (const auto& [name, value] : spec.options)
    check(std::find(kOptions.begin(), kOptions.end(), name) != kOptions.end(), ErrorCode::kInvalidArgument, "engine \"", spec.name,
          "\": TensorRT engines have no option ", name);
}

/// One for the process, made when first needed: TensorRT takes seconds for that.
nvinfer1::IRuntime& the_runtime() {
  static std::mutex mutex;
  static nvinfer1::IRuntime* made = nullptr;
  const std::lock_guard lock(mutex);
  if (made == nullptr) made = nvinfer1::createInferRuntime(the_log());
  check_call(made != nullptr, [] { return "start (is there a GPU, and a driver that is new enough?)"; });
  return *made;
}

/// Of the weights that an engine built for weight streaming holds, the bytes that stay on the device.
void set_weight_streaming_budget(nvinfer1::ICudaEngine& engine, const EngineSpec& spec) {
  const auto option = spec.options.find("weight_streaming_budget");
  if (option == spec.options.end()) return;
  const std::string& text = option->second;
  int64_t bytes = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), bytes);
  check(problem == std::errc() && end == text.data() + text.size() && bytes >= 0, ErrorCode::kInvalidArgument, "engine \"",
        spec.name, "\": weight_streaming_budget is \"", text, "\"; it counts bytes");
  check(engine.getStreamableWeightsSize() > 0, ErrorCode::kInvalidArgument, "engine \"", spec.name,
        "\" was not built for weight streaming");
  check_call(engine.setWeightStreamingBudgetV2(bytes),
             [&] { return concat("keep ", bytes, " bytes of the weights of engine \"", spec.name, "\" on the device"); });
}

class TensorRtBackend final : public Backend {
 public:
  std::string_view name() const override { return "tensorrt"; }
  std::string runtime() const override {
    const int32_t version = getInferLibVersion();  // of the library: 10'000 of the major number, 100 of the minor one
    return concat(kProduct, " ", version / 10'000, ".", version / 100 % 100, ".", version % 100);
  }
  std::optional<c10::DeviceType> device_type() const override { return tensorrt::device_type(); }

  std::unique_ptr<CompiledEngine> load(const EngineSpec& spec, std::span<const char> blob,
                                       const std::filesystem::path& program_file) override {
    check_options(spec);
    return with_context(
        [&] { return concat("engine \"", spec.name, "\""); },
        [&] {
          const c10::Device device = current_device();
          the_log().take();  // of earlier calls
          std::unique_ptr<nvinfer1::ICudaEngine> engine(the_runtime().deserializeCudaEngine(blob.data(), blob.size()));
          check_call(engine != nullptr, [&] {
            return concat("load it on ", describe(device),
                          " (its blob is damaged, from another version or for another GPU: compile it again)");
          });
          set_weight_streaming_budget(*engine, spec);
          return std::make_unique<Compiled>(std::move(engine), spec, device, program_file);
        });
  }
};

}  // namespace
}  // namespace tensorrt

std::unique_ptr<Backend> make_tensorrt_backend() { return std::make_unique<tensorrt::TensorRtBackend>(); }

}  // namespace tenure
