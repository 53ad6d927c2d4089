#include "tenure/engine/tensorrt/kernel_cache.h"

#include <unistd.h>

#include <cctype>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "tenure/engine/tensorrt/log.h"

namespace tenure::tensorrt {
namespace {

namespace fs = std::filesystem;

std::vector<char> read(const fs::path& file) {
  try {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  } catch (const std::ios_base::failure&) {  // a folder, a failing disk
    return {};
  }
}

// Other processes may read and write it at the same time: whole files only.
void replace(const fs::path& file, const nvinfer1::IHostMemory& bytes) {
  static std::mutex& one_at_a_time = *new std::mutex;  // the part is this process's
  const std::lock_guard lock(one_at_a_time);
  const fs::path part = fs::path(file).concat(concat(".", ::getpid(), ".part"));
  std::ofstream out(part, std::ios::binary);
  if (!out) return;
  out.write(static_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  out.close();
  std::error_code problem;
  if (out) fs::rename(part, file, problem);
  if (!out || problem) fs::remove(part, problem);
}

}  // namespace

std::shared_ptr<KernelCache> KernelCache::open(const fs::path& file, const nvinfer1::IRuntimeConfig& config) {
  static std::mutex& mutex = *new std::mutex;
  static auto& caches = *new std::map<fs::path, std::weak_ptr<KernelCache>>;  // engines may outlive static objects
  const std::lock_guard lock(mutex);
  std::weak_ptr<KernelCache>& entry = caches[fs::absolute(file)];
  std::shared_ptr<KernelCache> cache = entry.lock();
  if (!cache) entry = cache = std::make_shared<KernelCache>(fs::absolute(file), config);
  return cache;
}

KernelCache::KernelCache(fs::path file, const nvinfer1::IRuntimeConfig& config)
    : file_(std::move(file)), cache_(config.createRuntimeCache()) {
  check_call(cache_ != nullptr, [] { return "make a runtime cache"; });
  const std::vector<char> bytes = read(file_);
  if (!bytes.empty() && cache_->deserialize(bytes.data(), bytes.size())) bytes_read_ = bytes.size();
}

KernelCache::~KernelCache() {
  try {
    const std::unique_ptr<nvinfer1::IHostMemory> bytes(cache_->serialize());
    if (bytes && bytes->size() != bytes_read_) replace(file_, *bytes);
  } catch (...) {  // nobody is there to be told
  }
}

fs::path kernel_cache_beside(const fs::path& program_file, const std::string& gpu) {
  std::string name;
  for (const char c : gpu) {
    if (std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '-')
      name += c;
    else if (!name.ends_with('_'))
      name += '_';
  }
  return fs::path(program_file)
      .concat(concat(".", name, ".rtx-", NV_TENSORRT_MAJOR, ".", NV_TENSORRT_MINOR, ".", NV_TENSORRT_PATCH, ".", NV_TENSORRT_BUILD,
                     ".cache"));
}

}  // namespace tenure::tensorrt
