#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tenure/plan/plan.h"

namespace tenure::plan {
namespace {

using testing::HasSubstr;
using testing::Optional;

// Two buffers of 64 bytes that live together, then one more.
const std::vector<Buffer> kBuffers = {
    {.begin = 0, .end = 2, .size = 64}, {.begin = 1, .end = 3, .size = 64}, {.begin = 2, .end = 4, .size = 64}};

std::optional<std::string> violation(std::vector<Bytes> offsets, Bytes arena_size = 128) {
  return find_violation(kBuffers, {.offsets = std::move(offsets), .arena_size = arena_size});
}

TEST(FindViolation, AcceptsReuseAfterDeath) { EXPECT_EQ(violation({0, 64, 0}), std::nullopt); }

TEST(FindViolation, RejectsOverlapInTimeAndSpace) {
  EXPECT_THAT(violation({0, 0, 64}), Optional(HasSubstr("buffer 0 (64 bytes at 0, life [0, 2)) overlaps buffer 1")));
  EXPECT_THAT(violation({0, 64, 64}), Optional(HasSubstr("buffer 1 (64 bytes at 64, life [1, 3)) overlaps buffer 2")));
}

TEST(FindViolation, RejectsOverlapOfOneByteAndOfContainedBuffers) {
  const Buffer outer{.begin = 0, .end = 9, .size = 10, .alignment = 1}, inner{.begin = 4, .end = 5, .size = 2, .alignment = 1};
  EXPECT_NE(find_violation({outer, inner}, {.offsets = {0, 9}, .arena_size = 99}), std::nullopt);
  EXPECT_NE(find_violation({outer, inner}, {.offsets = {0, 4}, .arena_size = 99}), std::nullopt);
  EXPECT_NE(find_violation({inner, outer}, {.offsets = {4, 0}, .arena_size = 99}), std::nullopt);
  EXPECT_EQ(find_violation({outer, inner}, {.offsets = {0, 10}, .arena_size = 99}), std::nullopt);
}

TEST(FindViolation, RejectsMisalignment) {
  EXPECT_THAT(violation({0, 96, 0}, 512), Optional(HasSubstr("buffer 1 (64 bytes at 96, life [1, 3)) is misaligned")));
}

TEST(FindViolation, RejectsPlacesOutsideTheArena) {
  EXPECT_THAT(violation({0, 64, 0}, 127), Optional(HasSubstr("beyond the arena")));
  EXPECT_THAT(violation({0, 64, 0}, 32), Optional(HasSubstr("larger than the arena")));
  EXPECT_THAT(violation({0, -64, 0}), Optional(HasSubstr("before the arena")));
  EXPECT_THAT(violation({0, INT64_MAX - 63, 0}), Optional(HasSubstr("beyond the arena")));
}

TEST(FindViolation, RejectsAWrongNumberOfOffsets) {
  EXPECT_THAT(violation({0, 64}), Optional(HasSubstr("2 offsets for 3 buffers")));
}

TEST(FindViolation, RejectsBuffersThatAreNone) {
  EXPECT_NE(find_violation({{.begin = 1, .end = 1, .size = 1}}, {.offsets = {0}, .arena_size = 1}), std::nullopt);
  EXPECT_NE(find_violation({{.begin = 0, .end = 1, .size = -1}}, {.offsets = {0}, .arena_size = 1}), std::nullopt);
  EXPECT_NE(find_violation({{.begin = 0, .end = 1, .size = 1, .alignment = 0}}, {.offsets = {0}, .arena_size = 1}), std::nullopt);
}

TEST(FindViolation, LetsEmptyBuffersLieAnywhereInTheArena) {
  const Buffer empty{.begin = 0, .end = 2, .size = 0, .alignment = 1}, full{.begin = 0, .end = 2, .size = 8, .alignment = 1};
  EXPECT_EQ(find_violation({full, empty}, {.offsets = {0, 4}, .arena_size = 8}), std::nullopt);
  EXPECT_EQ(find_violation({full, empty}, {.offsets = {0, 8}, .arena_size = 8}), std::nullopt);
  EXPECT_NE(find_violation({full, empty}, {.offsets = {0, 9}, .arena_size = 8}), std::nullopt);
}

}  // namespace
}  // namespace tenure::plan
