#include "tenure/base/error.h"
#include "tests/engine/tensorrt_double/objects.h"

namespace tenure::testing::trt {
namespace {

constexpr std::string_view kCacheMagic = "TRTDBL-CACHE\n";

}  // namespace

void Kernels::add(const std::string& kernel) {
  const std::lock_guard lock(mutex_);
  names_.insert(kernel);
}

void Kernels::clear() {
  const std::lock_guard lock(mutex_);
  names_.clear();
}

std::string Kernels::to_text() const {
  const std::lock_guard lock(mutex_);
  std::string text(kCacheMagic);
  for (const std::string& name : names_) text += name + "\n";
  return text;
}

bool Kernels::from_text(const std::string& text) {
  if (!text.starts_with(kCacheMagic)) return false;
  const std::lock_guard lock(mutex_);
  for (size_t begin = kCacheMagic.size(), end = 0; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1)
    names_.insert(text.substr(begin, end - begin));
  return true;
}

RuntimeDouble::~RuntimeDouble() {
  if (*engines_ > 0) note_unexpected("~IRuntime");
}

nvinfer1::ICudaEngine* RuntimeDouble::deserializeCudaEngine(const void* blob, size_t size) noexcept {
  const Call call{.name = "deserializeCudaEngine", .address = blob, .number = static_cast<int64_t>(size), .object = this};
  if (must_fail(logger_, call)) return nullptr;
  return guarded(logger_, "IRuntime::deserializeCudaEngine", static_cast<nvinfer1::ICudaEngine*>(nullptr), [&] {
    const Blob read = read_blob({static_cast<const char*>(blob), size});
    const std::string& other = read.options.other_compute_capability;
    check(other.empty(), ErrorCode::kEngine,
          "The engine plan file is generated on an incompatible device, expecting compute 9.0 got compute ", other,
          ", please rebuild.");
    return new EngineDouble(std::make_shared<Loaded>(read, logger_), engines_);
  });
}

}  // namespace tenure::testing::trt

extern "C" int32_t getInferLibVersion() noexcept { return NV_TENSORRT_VERSION; }

extern "C" void* createInferRuntime_INTERNAL(void* logger, int32_t version) noexcept {
  using namespace tenure::testing::trt;
  auto& the_logger = *static_cast<nvinfer1::ILogger*>(logger);
  if (must_fail(the_logger, {.name = "createInferRuntime", .number = version})) return nullptr;
  if (version != NV_TENSORRT_VERSION) {
    log_error(the_logger, "createInferRuntime", "the header's version differs from the library's");
    return nullptr;
  }
  return static_cast<nvinfer1::IRuntime*>(new RuntimeDouble(the_logger));
}
