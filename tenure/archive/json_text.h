// tenure/archive/json_text.h: JSON records, parsed strictly enough for torch's schema reader, which trusts what it gets.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace tenure {

/// Parses `text`. Throws Error(kBadFile) on bad syntax, nesting deeper than 128, integers beyond 64 bits, or a fraction where the
/// PT2 schema has an integer.
nlohmann::json parse_json(std::string_view text);

}  // namespace tenure
