// tenure/base/ids.h: indices that cannot be mixed up.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace tenure {

/// An index into a vector of `Tag` things. Invalid until set.
template <typename Tag>
struct Id {
  uint32_t index = UINT32_MAX;

  Id() = default;
  explicit Id(size_t i) : index(static_cast<uint32_t>(i)) {}
  bool valid() const { return index != UINT32_MAX; }
  auto operator<=>(const Id&) const = default;
};

using ValueId = Id<struct ValueTag>;
using NodeId = Id<struct NodeTag>;

}  // namespace tenure

template <typename Tag>
struct std::hash<tenure::Id<Tag>> {
  size_t operator()(tenure::Id<Tag> id) const noexcept { return id.index; }
};
