#include "tenure/engine/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tenure/base/error.h"

namespace tenure {
namespace {

using ::testing::HasSubstr;

TEST(Registry, FindsEachBackendThatItNames) {
  ASSERT_THAT(backend_names(), ::testing::Contains("null"));
  for (const std::string& name : backend_names()) EXPECT_EQ(find_backend(name).name(), name);
}

TEST(Registry, NamesAreSorted) {
  const std::vector<std::string> names = backend_names();
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
}

TEST(Registry, AnAbsentBackendIsAnErrorThatListsTheOnesOfThisBuild) {
  try {
    find_backend("abacus");
    FAIL() << "no Error was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_THAT(error.what(), HasSubstr("\"abacus\""));
    for (const std::string& name : backend_names()) EXPECT_THAT(error.what(), HasSubstr(name));
  }
}

}  // namespace
}  // namespace tenure
