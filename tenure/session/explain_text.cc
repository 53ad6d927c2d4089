// tenure/session/explain_text.cc: an Explanation as a table and as JSON.
#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "tenure/base/error.h"
#include "tenure/session/explain.h"

namespace tenure {
namespace {

constexpr size_t kColumns = 7, kBytesColumn = 3;
using Row = std::array<std::string, kColumns>;

std::string life_text(const ValueExplanation& entry) {
  return entry.first_node < 0 ? concat("..", entry.last_node) : concat(entry.first_node, "..", entry.last_node);
}

template <typename T>
nlohmann::ordered_json or_null(const std::optional<T>& value) {
  return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json(nullptr);
}

}  // namespace

std::string Explanation::basis() const {
  if (!signature.empty()) return concat("as observed for ", signature);
  std::string assumed;
  for (const auto& [symbol, size] : sizes) assumed += concat(assumed.empty() ? " with " : ", ", symbol, " = ", size);
  return concat("from the file alone", assumed,
                "; a run shows more: the scratch of operators, sizes that are not in the file, aliases that schemas hide");
}

std::string Explanation::table() const {
  std::vector<Row> rows = {{"value", "made by", "owner", "bytes", "where", "life", "why"}};
  for (const ValueExplanation& entry : values) {
    const std::string where = entry.arena_offset ? concat(entry.where, " + ", *entry.arena_offset) : entry.where;
    rows.push_back({entry.value, entry.target.empty() ? "-" : entry.target, std::string(to_string(entry.ownership)),
                    entry.bytes ? std::to_string(*entry.bytes) : "-", where, life_text(entry), entry.reason});
  }
  std::array<size_t, kColumns> widths{};
  for (const Row& row : rows)
    for (size_t c = 0; c + 1 < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  std::string text = basis() + (arena_bytes ? concat("; arena of ", *arena_bytes, " bytes\n") : "\n");
  for (const Row& row : rows) {
    for (size_t c = 0; c < row.size(); ++c) {
      const std::string padding(widths[c] > row[c].size() ? widths[c] - row[c].size() : 0, ' ');
      text += c == kBytesColumn ? padding + row[c] : row[c] + (c + 1 < row.size() ? padding : "");
      text += c + 1 < row.size() ? "  " : "\n";
    }
  }
  return text;
}

std::string Explanation::json() const {
  nlohmann::ordered_json entries = nlohmann::ordered_json::array();
  for (const ValueExplanation& entry : values) {
    entries.push_back({{"value", entry.value},
                       {"node", entry.node},
                       {"target", entry.target},
                       {"ownership", to_string(entry.ownership)},
                       {"bytes", or_null(entry.bytes)},
                       {"arena_offset", or_null(entry.arena_offset)},
                       {"slot", or_null(entry.slot)},
                       {"where", entry.where},
                       {"first_node", entry.first_node},
                       {"last_node", entry.last_node},
                       {"reason", entry.reason}});
  }
  const nlohmann::ordered_json all = {
      {"basis", basis()}, {"signature", signature}, {"arena_bytes", or_null(arena_bytes)}, {"values", entries}};
  return all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace tenure
