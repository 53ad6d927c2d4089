// tests/archive/support.h: reading and rewriting the archives that make_archives.py wrote.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tenure/archive/archive.h"
#include "tenure/base/error.h"
#include "tests/error_of.h"

namespace tenure::test {

/// The path of "<name>.pt2".
std::string archive_path(const std::string& name);
std::vector<char> archive_bytes(const std::string& name);

/// The archive with some records replaced or added (text) or left out (nullopt), with right checksums.
using Changes = std::map<std::string, std::optional<std::string>>;
std::vector<char> rewrite(const std::vector<char>& archive, const Changes& changes);
std::string record_of(const std::vector<char>& archive, const std::string& record);
/// `archive` with `from` replaced by `to` in a record that contains it.
std::vector<char> replace_in(const std::vector<char>& archive, const std::string& record, const std::string& from,
                             const std::string& to);

using testing::error_of;
/// What reading these bytes throws.
Error error_of_reading(const std::vector<char>& archive);

/// The first node with that target, and an argument of a node by name; fail the test if there is none.
const Node& node_of(const Graph& graph, const std::string& target);
const Argument& argument_of(const Node& node, const std::string& name);
std::string name_of(const Graph& graph, const Argument& value);

/// Everything that the file says, as text: equal if and only if the files say the same.
std::string fingerprint(const ProgramFile& file);

}  // namespace tenure::test
