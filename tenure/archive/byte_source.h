// tenure/archive/byte_source.h: where an archive's bytes come from: a file or memory.
#pragma once

#include <caffe2/serialize/read_adapter_interface.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace tenure {

/// Torch's own reading interface, so that its archive reader and our checks see the same bytes. read() returns how many bytes it
/// could read and never throws; concurrent reads are safe.
using ByteSource = caffe2::serialize::ReadAdapterInterface;

/// Throws Error: kNotFound (no such file), kBadFile (a folder, a pipe, or not readable).
std::shared_ptr<const ByteSource> open_file(const std::string& path);

/// `bytes` must outlive the source.
std::shared_ptr<const ByteSource> view_memory(std::span<const char> bytes);

/// Reads `n` bytes from `position`. Throws Error(kBadFile) when the source ends before.
void read_exactly(const ByteSource& source, uint64_t position, void* destination, size_t n);

}  // namespace tenure
