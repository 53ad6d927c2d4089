#include "tenure/archive/records.h"

#include <c10/core/CPUAllocator.h>

#include <tuple>
#include <utility>

#include "tenure/archive/foreign_error.h"

namespace tenure {

using caffe2::serialize::PyTorchStreamReader;

Records::Records(std::shared_ptr<const ByteSource> source) : source_(std::move(source)) {
  std::string root;
  for (ZipEntry& entry : read_zip_directory(*source_)) {
    // As torch's reader does: the first entry tells the root folder.
    if (root.empty()) root = entry.name.substr(0, entry.name.find('/')) + "/";
    if (!entry.name.starts_with(root)) {
      outside_.push_back(std::move(entry));
      continue;
    }
    std::string name = entry.name.substr(root.size());
    entries_.emplace(std::move(name), std::move(entry));
  }
  const std::string version = has(".data/version") ? ".data/version" : "version";
  check(
      has(version), ErrorCode::kBadFile,
      "a zip file, but not a PT2 archive: it has no record .data/version; save the program with torch.export.save or Program.save");
  // Before torch's reader meets it: that leaks its directory when it throws while it is made.
  check_crc(entry(version), *source_);
  foreign_errors_as_bad_file(
      [&] { reader_ = std::make_unique<PyTorchStreamReader>(std::const_pointer_cast<ByteSource>(source_)); });
}

std::vector<std::string> Records::names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

const ZipEntry& Records::entry(const std::string& name) const {
  const auto found = entries_.find(name);
  check(found != entries_.end(), ErrorCode::kBadFile, "record ", name, " is missing from the archive; save the program again");
  return found->second;
}

// Two readers of one directory must mean the same bytes, or the checksums were checked in vain.
void Records::expect_same_place(const std::string& name) const {
  const ZipEntry& ours = entry(name);
  check(reader_->getRecordOffset(name) == ours.data_offset && reader_->getRecordSize(name) == ours.size, ErrorCode::kBadFile,
        "the zip directory is ambiguous about record ", name, "; save the program again");
}

void Records::read_into(const std::string& name, void* destination) const {
  foreign_errors_as_bad_file([&] {
    expect_same_place(name);
    if (size(name) > 0) reader_->getRecord(name, destination, size(name));
  });
  check_crc(entry(name), destination);
  read_.insert(name);
}

std::string Records::text(const std::string& name) const {
  std::string text(size(name), '\0');
  read_into(name, text.data());
  return text;
}

std::vector<char> Records::bytes(const std::string& name) const {
  std::vector<char> bytes(size(name));
  read_into(name, bytes.data());
  return bytes;
}

at::DataPtr Records::data(const std::string& name) const {
  at::DataPtr data = c10::GetCPUAllocator()->allocate(size(name));
  read_into(name, data.get());
  return data;
}

void Records::check_unread() const {
  for (const auto& [name, entry] : entries_) {
    if (!read_.contains(name)) check_crc(entry, *source_);
  }
  for (const ZipEntry& entry : outside_) check_crc(entry, *source_);
}

}  // namespace tenure
