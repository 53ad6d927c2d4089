#include "tenure/archive/json_text.h"

#include <cstdint>

#include "tenure/archive/foreign_error.h"

namespace tenure {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 128;

// Before parsing, since readers of the result recurse.
void check_depth(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
      continue;
    }
    if (c == '"') in_string = true;
    if (c == '{' || c == '[') ++depth;
    if (c == '}' || c == ']') --depth;
    check(depth <= kMaxDepth, ErrorCode::kBadFile, "the JSON is nested deeper than ", kMaxDepth, " at byte ", i);
  }
}

bool may_be_fraction(std::string_view key) { return key == "as_float" || key == "as_floats" || key == "real" || key == "imag"; }

// torch's generated readers convert numbers without looking. `key` is the member that `value` belongs to, also through arrays.
void check_numbers(const json& value, std::string_view key) {
  switch (value.type()) {
    case json::value_t::number_float:
      check(may_be_fraction(key), ErrorCode::kBadFile, "\"", key, "\" must be a 64-bit integer, not ", value.dump());
      break;
    case json::value_t::number_unsigned:
      check(value.get<uint64_t>() <= INT64_MAX, ErrorCode::kBadFile, "\"", key, "\" is beyond 64 bits: ", value.dump());
      break;
    case json::value_t::array:
      for (const json& element : value) check_numbers(element, key);
      break;
    case json::value_t::object:
      for (const auto& [name, member] : value.items()) check_numbers(member, name);
      break;
    default: break;
  }
}

}  // namespace

nlohmann::json parse_json(std::string_view text) {
  check_depth(text);
  return foreign_errors_as_bad_file([&] {
    json value = json::parse(text);
    check_numbers(value, "");
    return value;
  });
}

}  // namespace tenure
