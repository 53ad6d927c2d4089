#include "tests/engine/tensorrt_double/blob.h"

#include <cstring>
#include <nlohmann/json.hpp>
#include <string_view>

#include "tenure/base/error.h"

namespace tenure::testing::trt {
namespace {

// Magic, the length of the options as 8 bytes, the options as JSON, the archive.
constexpr std::string_view kMagic = "TRTDBL01";
constexpr size_t kHeader = kMagic.size() + sizeof(uint64_t);

}  // namespace

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Bounds, min, opt, max)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(BlobOptions, profiles, scratch_bytes, streamable_weights, aliases, host_inputs,
                                   other_compute_capability)

std::vector<char> make_blob(std::span<const char> archive, const BlobOptions& options) {
  const std::string text = nlohmann::json(options).dump();
  const uint64_t length = text.size();
  std::vector<char> blob(kHeader);
  std::memcpy(blob.data(), kMagic.data(), kMagic.size());
  std::memcpy(blob.data() + kMagic.size(), &length, sizeof(length));
  blob.insert(blob.end(), text.begin(), text.end());
  blob.insert(blob.end(), archive.begin(), archive.end());
  return blob;
}

Blob read_blob(std::span<const char> bytes) {
  check(bytes.size() >= kHeader && std::string_view(bytes.data(), kMagic.size()) == kMagic, ErrorCode::kBadFile,
        "the magic tag does not match");
  uint64_t length = 0;
  std::memcpy(&length, bytes.data() + kMagic.size(), sizeof(length));
  check(length <= bytes.size() - kHeader, ErrorCode::kBadFile, "the engine is truncated");
  const std::span<const char> text = bytes.subspan(kHeader, length);
  return {nlohmann::json::parse(text.begin(), text.end()).get<BlobOptions>(), bytes.subspan(kHeader + length)};
}

}  // namespace tenure::testing::trt
