// tenure/archive/records.h: the records of a PT2 archive by name, each checked against its checksum when it is read.
#pragma once

#include <c10/core/Allocator.h>
#include <caffe2/serialize/inline_container.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tenure/archive/zip_check.h"

namespace tenure {

/// The archive's files without its root folder ("models/model.json"). Reads through torch's reader. Thread-compatible.
class Records {
 public:
  /// Checks the directory. Throws Error (kBadFile, kUnsupported).
  explicit Records(std::shared_ptr<const ByteSource> source);

  bool has(const std::string& name) const { return entries_.contains(name); }
  std::vector<std::string> names() const;

  /// These throw Error(kBadFile) naming the record if it is missing or its bytes do not have its checksum.
  uint64_t size(const std::string& name) const { return entry(name).size; }
  std::string text(const std::string& name) const;
  std::vector<char> bytes(const std::string& name) const;
  /// size(name) bytes from PyTorch's CPU allocator.
  at::DataPtr data(const std::string& name) const;

  /// Checks what was not read: damage in any part of a file is reason not to trust it.
  void check_unread() const;

 private:
  const ZipEntry& entry(const std::string& name) const;
  void read_into(const std::string& name, void* destination) const;
  void expect_same_place(const std::string& name) const;

  std::shared_ptr<const ByteSource> source_;
  std::map<std::string, ZipEntry> entries_;
  std::vector<ZipEntry> outside_;       // of the root folder
  mutable std::set<std::string> read_;  // names in entries_
  std::unique_ptr<caffe2::serialize::PyTorchStreamReader> reader_;
};

}  // namespace tenure
