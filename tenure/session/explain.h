// tenure/session/explain.h: who owns each value, where it lies and why, as records, as a table and as JSON.
#pragma once

#include <cstdint>
#include <map>
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
  std::optional<int64_t> bytes;         // of its memory; nothing for a view, or where the sizes are not known
  std::optional<int64_t> arena_offset;  // bytes; standing values with a fixed size
  std::optional<int64_t> slot;          // leased values: which of the program's slots, counted from 0
  std::string where;  // "arena", "arena on cuda:0", "own buffer", "slot 0", "caller", "weight", "state", "view of x", "allocator"
  int first_node = -1, last_node = -1;  // life: indices of the nodes that make it and that use it or a view of it last
  std::string reason;
};

struct Explanation {
  std::vector<ValueExplanation> values;
  std::string signature;                 // "f32[1, 3, 224, 224]"; empty before the first run
  std::map<std::string, int64_t> sizes;  // what was taken for the symbols of the file, without a run
  std::optional<int64_t> arena_bytes;    // that the plan needs, on all devices; nothing where a standing value's size is not known
  /// "as observed for f32[1, 3, 224, 224]", or what is known from the file alone.
  std::string basis() const;
  /// An aligned text table, one line a value, with basis() above it.
  std::string table() const;
  /// One object: basis, signature, arena_bytes and values, an array of objects with the fields of ValueExplanation.
  std::string json() const;
};

}  // namespace tenure
