// tenure/session/explain.h: who owns each value, where it lies and why, as records and as a table.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tenure/ownership/ownership.h"

namespace tenure {

struct ValueExplanation {
  std::string value;   // its name in the graph
  std::string node;    // the node that makes it; empty for inputs
  std::string target;  // that node's operator or engine; empty for inputs
  Ownership ownership = Ownership::kStanding;
  std::optional<int64_t> bytes;         // of its memory; nothing for a view, or before a run
  std::optional<int64_t> arena_offset;  // standing values with a fixed size
  std::string where;                    // "arena", "own buffer", "slot", "caller", "weight", "state", "view of x", "allocator"
  int first_node = -1, last_node = -1;  // life: indices of the nodes that make it and that use it or a view of it last
  std::string reason;
};

struct Explanation {
  std::vector<ValueExplanation> values;
  std::string signature;  // "f32[1, 3, 224, 224]"; empty before the first run
  /// An aligned text table, one line a value.
  std::string table() const;
};

}  // namespace tenure
