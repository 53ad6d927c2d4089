// Files that are not archives, or were cut or changed on the way: always an Error or the same content, never a crash or a wrong
// weight.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "tests/archive/support.h"

namespace tenure::test {
namespace {

using ::testing::HasSubstr;

// Where the entries of the zip directory begin. (Their signature also occurs inside records: a pickle is a zip file, too.)
std::vector<size_t> directory_entries(const std::vector<char>& bytes) {
  uint32_t directory = 0;
  std::memcpy(&directory, bytes.data() + bytes.size() - 6, sizeof(directory));
  constexpr std::string_view kSignature = "PK\1\2";
  std::vector<size_t> found;
  for (auto at = bytes.begin() + directory;; ++at) {
    at = std::search(at, bytes.end(), kSignature.begin(), kSignature.end());
    if (at == bytes.end()) return found;
    found.push_back(static_cast<size_t>(at - bytes.begin()));
  }
}

// True when reading gives an Error, or else exactly what `expected` says.
bool is_error_or_same(const std::vector<char>& bytes, const std::string& expected) {
  try {
    return fingerprint(read_archive(bytes, "damaged.pt2")) == expected;
  } catch (const Error&) {
    return true;
  }
}

TEST(DamagedArchive, AMissingFileIsNotFound) {
  const Error error = error_of([] { read_archive("no/such/file.pt2"); });
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_THAT(error.what(), HasSubstr("file no/such/file.pt2"));
}

TEST(DamagedArchive, FoldersAndPipesAreRefusedAtOnce) {
  EXPECT_EQ(error_of([] { read_archive(TENURE_TEST_ARCHIVES); }).code(), ErrorCode::kBadFile);
  const std::string pipe = ::testing::TempDir() + "tenure_pipe.pt2";
  std::filesystem::remove(pipe);
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(error_of([&] { read_archive(pipe); }).code(), ErrorCode::kBadFile);
  std::filesystem::remove(pipe);
}

TEST(DamagedArchive, OtherFilesAreRefused) {
  for (const std::string& content : {std::string(), std::string("PK"), std::string(5000, 'x'), std::string(5000, '\0')}) {
    const Error error = error_of_reading({content.begin(), content.end()});
    EXPECT_EQ(error.code(), ErrorCode::kBadFile);
    EXPECT_THAT(error.what(), HasSubstr("not a PT2 archive"));
  }
  EXPECT_EQ(error_of([] { read_archive(std::string(TENURE_TEST_ARCHIVES) + "/pickle.pt"); }).code(), ErrorCode::kBadFile);
}

TEST(DamagedArchive, EveryTruncationIsAnError) {
  const std::vector<char> whole = archive_bytes("engines");
  for (size_t size = 0; size < whole.size(); size += 13) {
    const Error error = error_of_reading({whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size)});
    ASSERT_EQ(error.code(), ErrorCode::kBadFile) << size;
  }
}

TEST(DamagedArchive, AFlippedBitInAWeightIsFoundAndNamed) {
  std::vector<char> bytes = archive_bytes("small");
  uint32_t local = 0;  // of the second record, whose content is the four bytes of "scale"
  std::memcpy(&local, bytes.data() + directory_entries(bytes)[1] + 42, sizeof(local));
  const float two = 2.0f;
  const std::string_view content(reinterpret_cast<const char*>(&two), sizeof(two));
  const auto at = std::search(bytes.begin() + local, bytes.end(), content.begin(), content.end());
  ASSERT_NE(at, bytes.end());
  *at ^= 0x10;
  const Error error = error_of_reading(bytes);
  EXPECT_EQ(error.code(), ErrorCode::kBadFile);
  EXPECT_THAT(error.what(), HasSubstr("data/weights/weight_1"));
  EXPECT_THAT(error.what(), HasSubstr("checksum"));
}

TEST(DamagedArchive, AFlippedBitAnywhereIsAnErrorOrChangesNothing) {
  std::vector<char> bytes = archive_bytes("engines");
  const std::string expected = fingerprint(read_archive(bytes, "whole.pt2"));
  for (size_t i = 0; i < bytes.size(); ++i) {
    const char flip = static_cast<char>(1 << (i % 8));
    bytes[i] ^= flip;
    ASSERT_TRUE(is_error_or_same(bytes, expected)) << "byte " << i;
    bytes[i] ^= flip;
  }
}

TEST(DamagedArchive, AnyByteOfTheDirectoryMayHaveAnyBitFlipped) {
  std::vector<char> bytes = archive_bytes("small");
  const std::string expected = fingerprint(read_archive(bytes, "whole.pt2"));
  for (size_t i = directory_entries(bytes).front(); i < bytes.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      bytes[i] ^= static_cast<char>(1 << bit);
      ASSERT_TRUE(is_error_or_same(bytes, expected)) << "byte " << i << " bit " << bit;
      bytes[i] ^= static_cast<char>(1 << bit);
    }
  }
}

TEST(DamagedArchive, ExtremeSizesAndOffsetsInTheDirectoryAreErrors) {
  const std::vector<char> whole = archive_bytes("small");
  const std::string expected = fingerprint(read_archive(whole, "whole.pt2"));
  for (const size_t entry : directory_entries(whole)) {
    for (const size_t field : {20, 24, 42}) {  // stored size, size, offset
      for (const uint32_t value : {0u, 1u, 0x7fffffffu, 0x80000000u, 0xfffffffeu, 0xffffffffu}) {
        std::vector<char> bytes = whole;
        std::memcpy(bytes.data() + entry + field, &value, sizeof(value));
        ASSERT_TRUE(is_error_or_same(bytes, expected)) << entry << " " << field << " " << value;
      }
    }
  }
}

TEST(DamagedArchive, ARecordMarkedAsAFolderIsRefused) {
  std::vector<char> bytes = archive_bytes("small");
  bytes[directory_entries(bytes)[0] + 38] |= 0x10;
  EXPECT_THAT(error_of_reading(bytes).what(), HasSubstr("data/weights/weight_0 is marked as a folder"));
}

TEST(DamagedArchive, OverlappingRecordsAreRefused) {
  std::vector<char> bytes = archive_bytes("small");
  const auto entries = directory_entries(bytes);
  // The first record claims the bytes up to the third one's.
  uint32_t third = 0;
  std::memcpy(&third, bytes.data() + entries[2] + 42, sizeof(third));
  for (const size_t field : {20, 24}) std::memcpy(bytes.data() + entries[0] + field, &third, sizeof(third));
  const Error error = error_of_reading(bytes);
  EXPECT_EQ(error.code(), ErrorCode::kBadFile);
  EXPECT_THAT(error.what(), HasSubstr("overlap"));
}

TEST(DamagedArchive, MissingRecordsAreNamed) {
  EXPECT_THAT(error_of_reading(rewrite(archive_bytes("small"), {{"archive_format", std::nullopt}})).what(),
              HasSubstr("archive_format"));
  const Error model = error_of_reading(rewrite(archive_bytes("small"), {{"models/model.json", std::nullopt}}));
  EXPECT_EQ(model.code(), ErrorCode::kUnsupported);
  EXPECT_THAT(model.what(), HasSubstr("no exported program"));
}

TEST(DamagedArchive, SampleInputsAreNotNeeded) {
  EXPECT_NO_THROW(read_archive(rewrite(archive_bytes("small"), {{"data/sample_inputs/model.pt", std::string("no pickle at all")}}),
                               "test.pt2"));
}

TEST(DamagedArchive, AGoodFileReadsRightAfterABadOne) {
  const std::vector<char> good = archive_bytes("small");
  error_of_reading({good.begin(), good.end() - 5});
  EXPECT_NO_THROW(read_archive(good, "good.pt2"));
}

}  // namespace
}  // namespace tenure::test
