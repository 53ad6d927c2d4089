#include "tenure/base/ids.h"

#include <gtest/gtest.h>

#include <type_traits>
#include <unordered_set>

namespace tenure {
namespace {

static_assert(!std::is_convertible_v<ValueId, NodeId> && !std::is_constructible_v<NodeId, ValueId>, "ids of two kinds mixed up");
static_assert(!std::is_convertible_v<size_t, ValueId>, "a number became an id by itself");

TEST(Id, IsInvalidUntilSet) {
  EXPECT_FALSE(ValueId().valid());
  EXPECT_TRUE(ValueId(0).valid());
  EXPECT_EQ(ValueId(3).index, 3U);
}

TEST(Id, ComparesAndHashesByIndex) {
  EXPECT_LT(NodeId(1), NodeId(2));
  const std::unordered_set<ValueId> ids = {ValueId(1), ValueId(1), ValueId(2), ValueId()};
  EXPECT_EQ(ids.size(), 3U);
  EXPECT_TRUE(ids.contains(ValueId()));
}

}  // namespace
}  // namespace tenure
