#include "tenure/base/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <stdexcept>

namespace tenure {
namespace {

TEST(Error, TellsTheWayFromTheOutermostContextInwards) {
  Error error(ErrorCode::kBadFile, "it is empty");
  error.add_context("node conv2d").add_context("file model.pt2");
  EXPECT_STREQ(error.what(), "file model.pt2: node conv2d: it is empty");
  EXPECT_EQ(error.message(), "it is empty");
  EXPECT_THAT(error.context(), testing::ElementsAre("file model.pt2", "node conv2d"));
}

TEST(Error, EachCodeHasItsOwnName) {
  std::set<std::string_view> names;
  for (int i = 0; i <= static_cast<int>(ErrorCode::kInternal); ++i) names.insert(to_string(static_cast<ErrorCode>(i)));
  EXPECT_EQ(names.size(), static_cast<size_t>(ErrorCode::kInternal) + 1);
}

TEST(Check, ThrowsWithTheConcatenatedMessageOnlyWhenTheConditionFails) {
  EXPECT_NO_THROW(check(true, ErrorCode::kInternal, "never"));
  try {
    check(false, ErrorCode::kInvalidArgument, "input ", 2, " has ", 3.5, " dimensions");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_STREQ(error.what(), "input 2 has 3.5 dimensions");
  }
}

TEST(WithContext, PassesTheResultThroughAndDoesNotAskWhere) {
  const auto where = []() -> std::string { throw std::logic_error("asked"); };
  EXPECT_EQ(with_context(where, [] { return 7; }), 7);
}

TEST(WithContext, AddsTheContextToAnErrorThatEscapes) {
  try {
    with_context([] { return std::string("node 3"); }, [] { throw Error(ErrorCode::kEngine, "out of memory"); });
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kEngine);
    EXPECT_STREQ(error.what(), "node 3: out of memory");
  }
}

TEST(WithContext, LeavesOtherExceptionsAlone) {
  EXPECT_THROW(with_context([] { return std::string("node 3"); }, [] { throw std::out_of_range("x"); }), std::out_of_range);
}

}  // namespace
}  // namespace tenure
