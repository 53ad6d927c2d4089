#include "tenure/archive/zip_check.h"

#include <zlib.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "tenure/base/error.h"

namespace tenure {
namespace {

constexpr uint32_t kLocalSignature = 0x04034b50;
constexpr uint32_t kEntrySignature = 0x02014b50;
constexpr uint32_t kEndSignature = 0x06054b50;
constexpr uint32_t kEnd64Signature = 0x06064b50;
constexpr uint32_t kLocator64Signature = 0x07064b50;
constexpr size_t kLocalSize = 30, kEntrySize = 46, kEndSize = 22, kEnd64Size = 56, kLocator64Size = 20;
constexpr uint16_t kZip64Extra = 1;
constexpr uint16_t kEncryptedFlags = 0x2061;  // encrypted, strongly so, or a patch of another file
constexpr uint32_t kFolderAttribute = 0x10;
constexpr uint32_t kIn64 = UINT32_MAX;  // a 32-bit field whose value stands in the zip64 extension
constexpr uint32_t kIn64Count = UINT16_MAX;

// Little-endian fields at byte offsets of a buffer that is large enough (checked by the caller).
template <typename T>
T field(const char* bytes, size_t offset) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value |= static_cast<T>(static_cast<uint8_t>(bytes[offset + i])) << (8 * i);
  return value;
}

struct Directory {
  uint64_t entries = 0;
  uint64_t size = 0;
  uint64_t offset = 0;
  uint64_t end = 0;  // where the end records begin
};

template <typename... Args>
[[noreturn]] void bad(const Args&... args) {
  throw Error(ErrorCode::kBadFile, concat(args..., "; the file is damaged or truncated: copy or save it again"));
}

// The 64-bit end record, which torch always writes; nullopt if the file has none.
std::optional<Directory> find_directory64(const ByteSource& source, uint64_t end_offset) {
  char locator[kLocator64Size];
  if (end_offset < kLocator64Size + kEnd64Size) return std::nullopt;
  read_exactly(source, end_offset - kLocator64Size, locator, sizeof(locator));
  if (field<uint32_t>(locator, 0) != kLocator64Signature) return std::nullopt;
  const uint64_t offset = field<uint64_t>(locator, 8);
  if (offset != end_offset - kLocator64Size - kEnd64Size) bad("the zip64 end record is not where its locator says");
  char end[kEnd64Size];
  read_exactly(source, offset, end, sizeof(end));
  if (field<uint32_t>(end, 0) != kEnd64Signature) bad("the zip64 end record has a wrong signature");
  if (field<uint64_t>(end, 24) != field<uint64_t>(end, 32)) bad("the zip64 end record has two counts of entries");
  return Directory{field<uint64_t>(end, 32), field<uint64_t>(end, 40), field<uint64_t>(end, 48), offset};
}

Directory find_directory(const ByteSource& source) {
  const uint64_t size = source.size();
  check(size >= kEndSize, ErrorCode::kBadFile, "not a PT2 archive: ", size, " bytes are too few for a zip file");
  const uint64_t end_offset = size - kEndSize;
  char end[kEndSize];
  read_exactly(source, end_offset, end, sizeof(end));
  check(field<uint32_t>(end, 0) == kEndSignature && field<uint16_t>(end, 20) == 0, ErrorCode::kBadFile,
        "not a PT2 archive: no zip end record in its last 22 bytes; the file is of another kind or truncated");
  const Directory small{field<uint16_t>(end, 10), field<uint32_t>(end, 12), field<uint32_t>(end, 16), end_offset};
  const auto large = find_directory64(source, end_offset);
  const Directory directory = large.value_or(small);
  const auto agree = [](uint64_t narrow, uint64_t wide, uint64_t marker) { return narrow == marker || narrow == wide; };
  if (large && !(agree(small.entries, large->entries, kIn64Count) && agree(small.size, large->size, kIn64) &&
                 agree(small.offset, large->offset, kIn64))) {
    bad("the two zip end records contradict each other");
  }
  if (directory.offset > directory.end || directory.size != directory.end - directory.offset) {
    bad("the zip directory (", directory.size, " bytes at byte ", directory.offset, ") does not end where the end record begins");
  }
  if (directory.entries == 0 || directory.entries > directory.size / kEntrySize) {
    bad("the zip directory of ", directory.size, " bytes cannot hold ", directory.entries, " entries");
  }
  return directory;
}

// One directory entry before its local header is known.
struct RawEntry {
  ZipEntry entry;
  uint64_t stored_size = 0;
  uint64_t local_offset = 0;
};

// Fields that did not fit 32 bits follow in the zip64 extra field, in this order.
void read_zip64_extra(std::string_view extra, RawEntry& raw) {
  const bool needed = raw.entry.size == kIn64 || raw.stored_size == kIn64 || raw.local_offset == kIn64;
  while (extra.size() >= 4) {
    const uint16_t id = field<uint16_t>(extra.data(), 0), length = field<uint16_t>(extra.data(), 2);
    if (length > extra.size() - 4) break;
    std::string_view content = extra.substr(4, length);
    extra.remove_prefix(4 + length);
    if (id != kZip64Extra) continue;
    for (uint64_t* target : {&raw.entry.size, &raw.stored_size, &raw.local_offset}) {
      if (*target != kIn64) continue;
      if (content.size() < 8) bad("entry ", raw.entry.name, " has a zip64 field that is too short");
      *target = field<uint64_t>(content.data(), 0);
      content.remove_prefix(8);
    }
    return;
  }
  if (needed) bad("entry ", raw.entry.name, " lacks its zip64 field");
}

// Takes one entry off the front of `bytes`.
RawEntry take_entry(std::string_view& bytes) {
  if (bytes.size() < kEntrySize || field<uint32_t>(bytes.data(), 0) != kEntrySignature) bad("the zip directory has a wrong entry");
  const char* header = bytes.data();
  const size_t name_size = field<uint16_t>(header, 28), extra_size = field<uint16_t>(header, 30);
  const size_t comment_size = field<uint16_t>(header, 32);
  if (name_size == 0 || name_size + extra_size + comment_size > bytes.size() - kEntrySize) {
    bad("the zip directory has an entry that is longer than it");
  }
  RawEntry raw;
  raw.entry.name = std::string(bytes.substr(kEntrySize, name_size));
  raw.entry.crc32 = field<uint32_t>(header, 16);
  raw.stored_size = field<uint32_t>(header, 20);
  raw.entry.size = field<uint32_t>(header, 24);
  raw.local_offset = field<uint32_t>(header, 42);
  if (raw.entry.name.find('\0') != std::string::npos) bad("the zip directory has a name with a zero byte");
  // Torch's reader reads nothing of a folder, and says so to nobody.
  if ((field<uint32_t>(header, 38) & kFolderAttribute) != 0 && !raw.entry.name.ends_with('/')) {
    bad("record ", raw.entry.name, " is marked as a folder");
  }
  if (field<uint16_t>(header, 34) != 0) bad("record ", raw.entry.name, " is said to lie in another file");
  check((field<uint16_t>(header, 8) & kEncryptedFlags) == 0, ErrorCode::kUnsupported, "record ", raw.entry.name, " is encrypted");
  check(field<uint16_t>(header, 10) == 0, ErrorCode::kUnsupported, "record ", raw.entry.name,
        " is compressed; save the program with torch.export.save, which stores records as they are");
  read_zip64_extra(bytes.substr(kEntrySize + name_size, extra_size), raw);
  if (raw.stored_size != raw.entry.size) bad("record ", raw.entry.name, " is stored, but its two sizes differ");
  bytes.remove_prefix(kEntrySize + name_size + extra_size + comment_size);
  return raw;
}

// The data begin behind the local header, whose extra field may have another length than the directory's.
void locate_data(const ByteSource& source, const Directory& directory, RawEntry& raw) {
  ZipEntry& entry = raw.entry;
  const uint64_t name_size = entry.name.size();
  if (raw.local_offset > directory.offset || directory.offset - raw.local_offset < kLocalSize + name_size) {
    bad("record ", entry.name, " lies outside the file");
  }
  std::string local(kLocalSize + name_size, '\0');
  read_exactly(source, raw.local_offset, local.data(), local.size());
  if (field<uint32_t>(local.data(), 0) != kLocalSignature || field<uint16_t>(local.data(), 26) != name_size ||
      std::string_view(local).substr(kLocalSize) != entry.name) {
    bad("record ", entry.name, " does not begin with a header of its name");
  }
  entry.data_offset = raw.local_offset + local.size() + field<uint16_t>(local.data(), 28);
  if (entry.data_offset > directory.offset || entry.size > directory.offset - entry.data_offset) {
    bad("record ", entry.name, " (", entry.size, " bytes) does not fit into the file");
  }
}

void check_disjoint(const std::vector<RawEntry>& entries) {
  std::vector<const RawEntry*> order;
  for (const RawEntry& raw : entries) order.push_back(&raw);
  std::sort(order.begin(), order.end(), [](const RawEntry* a, const RawEntry* b) { return a->local_offset < b->local_offset; });
  for (size_t i = 1; i < order.size(); ++i) {
    const ZipEntry& before = order[i - 1]->entry;
    if (order[i]->local_offset < before.data_offset + before.size)
      bad("records ", before.name, " and ", order[i]->entry.name, " overlap");
  }
}

void expect_crc(const ZipEntry& entry, uLong crc) {
  if (crc != entry.crc32) bad("the checksum of record ", entry.name, " (", entry.size, " bytes) does not match its content");
}

std::string lower_case(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

}  // namespace

std::vector<ZipEntry> read_zip_directory(const ByteSource& source) {
  const Directory directory = find_directory(source);
  std::string bytes(directory.size, '\0');
  read_exactly(source, directory.offset, bytes.data(), bytes.size());
  std::string_view rest = bytes;
  std::vector<RawEntry> raw;
  std::set<std::string> names;
  while (!rest.empty()) {
    raw.push_back(take_entry(rest));
    locate_data(source, directory, raw.back());
    // Torch's reader looks names up without regard to case.
    if (!names.insert(lower_case(raw.back().entry.name)).second) bad("record ", raw.back().entry.name, " occurs twice");
  }
  if (raw.size() != directory.entries) bad("the zip directory has ", raw.size(), " entries instead of ", directory.entries);
  check_disjoint(raw);
  std::vector<ZipEntry> entries;
  entries.reserve(raw.size());
  for (RawEntry& one : raw) entries.push_back(std::move(one.entry));
  return entries;
}

void check_crc(const ZipEntry& entry, const void* content) {
  expect_crc(entry, crc32_z(0, static_cast<const Bytef*>(content), entry.size));
}

void check_crc(const ZipEntry& entry, const ByteSource& source) {
  constexpr uint64_t kChunk = 1 << 20;
  std::vector<char> chunk(std::min(entry.size, kChunk));
  uLong crc = crc32_z(0, nullptr, 0);
  for (uint64_t done = 0; done < entry.size;) {
    const size_t n = std::min<uint64_t>(kChunk, entry.size - done);
    read_exactly(source, entry.data_offset + done, chunk.data(), n);
    crc = crc32_z(crc, reinterpret_cast<const Bytef*>(chunk.data()), n);
    done += n;
  }
  expect_crc(entry, crc);
}

}  // namespace tenure
