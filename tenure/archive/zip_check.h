// tenure/archive/zip_check.h: our own reading of a zip file's directory, so that a damaged archive is found before it is used.
//
// Torch's archive reader is built without checksum tests and trusts the directory's offsets. PT2 archives use a small part of the
// zip format (records stored as they are, no comment, nothing before or after), which is what is accepted here.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tenure/archive/byte_source.h"

namespace tenure {

/// One stored file of the archive. [data_offset, data_offset + size) lies inside the source, before the directory.
struct ZipEntry {
  std::string name;
  uint64_t data_offset = 0;  // bytes from the start of the source
  uint64_t size = 0;         // bytes
  uint32_t crc32 = 0;
};

/// The directory, in its own order; not empty. Throws Error: kBadFile (not a zip file, truncated, offsets out of bounds, entries
/// that overlap or whose names differ only in case), kUnsupported (compressed or encrypted entries).
std::vector<ZipEntry> read_zip_directory(const ByteSource& source);

/// Throw Error(kBadFile) naming the entry when its content does not have its checksum: `content` points to entry.size bytes of it;
/// without it, the source is read once.
void check_crc(const ZipEntry& entry, const void* content);
void check_crc(const ZipEntry& entry, const ByteSource& source);

}  // namespace tenure
