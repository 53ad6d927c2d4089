#include "tenure/archive/byte_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "tenure/base/error.h"

namespace tenure {
namespace {

class MemorySource final : public ByteSource {
 public:
  explicit MemorySource(std::span<const char> bytes) : bytes_(bytes) {}

  size_t size() const override { return bytes_.size(); }

  size_t read(uint64_t position, void* destination, size_t n, const char*) const override {
    if (position >= bytes_.size()) return 0;
    n = std::min<size_t>(n, bytes_.size() - position);
    if (n > 0) std::memcpy(destination, bytes_.data() + position, n);
    return n;
  }

 private:
  std::span<const char> bytes_;
};

class FileSource final : public ByteSource {
 public:
  FileSource(int descriptor, size_t size) : descriptor_(descriptor), size_(size) {}
  ~FileSource() override { ::close(descriptor_); }
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;

  size_t size() const override { return size_; }

  size_t read(uint64_t position, void* destination, size_t n, const char*) const override {
    size_t done = 0;
    while (done < n) {
      const ssize_t got =
          ::pread(descriptor_, static_cast<char*>(destination) + done, n - done, static_cast<off_t>(position + done));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) break;
      done += static_cast<size_t>(got);
    }
    return done;
  }

 private:
  int descriptor_;
  size_t size_;
};

}  // namespace

std::shared_ptr<const ByteSource> open_file(const std::string& path) {
  // O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) {
    const int reason = errno;
    throw Error(reason == ENOENT ? ErrorCode::kNotFound : ErrorCode::kBadFile, concat("cannot be opened: ", std::strerror(reason)));
  }
  struct stat info = {};
  if (::fstat(descriptor, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(descriptor);
    throw Error(ErrorCode::kBadFile, "is not a regular file; give the path of a .pt2 file");
  }
  return std::make_shared<FileSource>(descriptor, static_cast<size_t>(info.st_size));
}

std::shared_ptr<const ByteSource> view_memory(std::span<const char> bytes) { return std::make_shared<MemorySource>(bytes); }

void read_exactly(const ByteSource& source, uint64_t position, void* destination, size_t n) {
  const size_t got = source.read(position, destination, n);
  check(got == n, ErrorCode::kBadFile, "cannot read ", n, " bytes at byte ", position, ": only ", got, " are there");
}

}  // namespace tenure
