#include "tenure/archive/manifest.h"

#include <cstdint>
#include <set>
#include <utility>

#include "tenure/archive/foreign_error.h"
#include "tenure/archive/json_text.h"
#include "tenure/archive/schema_enums.h"

namespace tenure {
namespace {

using nlohmann::json;

constexpr int64_t kFormatVersion = 1;

// The member `key` as a T; nlohmann converts between numbers and flags silently, so the type is checked first.
template <typename T>
T member(const json& object, const char* key) {
  const json& value = object.at(key);
  const bool right = std::is_same_v<T, int64_t> ? value.is_number_integer() : value.is_string();
  check(right, ErrorCode::kBadFile, "\"", key, "\" has a wrong type: ", value.dump());
  return value.get<T>();
}

const json& array(const json& object, const char* key) {
  const json& value = object.at(key);
  check(value.is_array(), ErrorCode::kBadFile, "\"", key, "\" must be a list, not ", value.dump());
  return value;
}

std::vector<Binding> read_bindings(const json& engine, const char* key) {
  std::vector<Binding> bindings;
  std::set<std::string> names;
  for (const json& source : array(engine, key)) {
    Binding binding;
    binding.name = member<std::string>(source, "name");
    check(names.insert(binding.name).second, ErrorCode::kBadFile, "\"", key, "\" has two bindings ", binding.name);
    binding.dtype = dtype_of_schema(member<int64_t>(source, "dtype"));
    for (const json& size : array(source, "sizes")) {
      check(size.is_string(), ErrorCode::kBadFile, "\"sizes\" must be strings, not ", size.dump());
      binding.sizes.push_back(Expr::parse(size.get<std::string>()));
    }
    const auto alias = source.find("aliases_input");
    if (alias != source.end() && !alias->is_null()) {
      const auto input = member<int64_t>(source, "aliases_input");
      check(input >= 0, ErrorCode::kBadFile, "\"aliases_input\" is negative");
      binding.aliases_input = static_cast<size_t>(input);
    }
    if (const auto unowned = source.find("unowned"); unowned != source.end()) {
      check(unowned->is_boolean(), ErrorCode::kBadFile, "\"unowned\" must be true or false, not ", unowned->dump());
      binding.declared_unowned = unowned->get<bool>();
    }
    bindings.push_back(std::move(binding));
  }
  return bindings;
}

void check_spec(const EngineSpec& spec) {
  check_sizes(spec);
  for (const BindingRole role : {BindingRole::kInput, BindingRole::kOutput})
    for (const Binding& binding : bindings_of(spec, role))
      check(!binding.aliases_input || (role == BindingRole::kOutput && *binding.aliases_input < spec.inputs.size()),
            ErrorCode::kBadFile, "binding ", binding.name, " aliases an input that does not exist");
}

EngineSpec read_spec(const json& source) {
  EngineSpec spec;
  spec.name = member<std::string>(source, "name");
  return with_context([&] { return "engine " + spec.name; },
                      [&] {
                        spec.backend = member<std::string>(source, "backend");
                        spec.inputs = read_bindings(source, "inputs");
                        spec.outputs = read_bindings(source, "outputs");
                        for (const auto& [key, value] : source.at("options").items()) {
                          check(value.is_string(), ErrorCode::kBadFile, "option ", key, " must be a string, not ", value.dump());
                          spec.options[key] = value.get<std::string>();
                        }
                        check_spec(spec);
                        return std::move(spec);
                      });
}

EngineRecord read_engine(const json& source, const Records& records) {
  EngineRecord engine{.spec = read_spec(source), .blob = {}};
  return with_context([&] { return "engine " + engine.spec.name; },
                      [&] {
                        const auto blob = member<std::string>(source, "blob");
                        const auto bytes = member<int64_t>(source, "blob_bytes");
                        check(records.has(blob), ErrorCode::kBadFile, "its blob ", blob,
                              " is missing from the archive; save the program again");
                        check(bytes >= 0 && records.size(blob) == static_cast<uint64_t>(bytes), ErrorCode::kBadFile, "its blob ",
                              blob, " has ", records.size(blob), " bytes instead of ", bytes);
                        engine.blob = records.bytes(blob);
                        return std::move(engine);
                      });
}

}  // namespace

Manifest read_manifest(const Records& records) {
  return with_context([] { return concat("record ", kManifestRecord); },
                      [&] {
                        const json source = parse_json(records.text(kManifestRecord));
                        return foreign_errors_as_bad_file([&] {
                          const auto version = member<int64_t>(source, "format_version");
                          check(version == kFormatVersion, ErrorCode::kUnsupported, "the program has format version ", version,
                                ", written by Tenure ", source.value("tenure_version", "unknown"), "; this version reads ",
                                kFormatVersion, ": use that Tenure, or compile and save the program with this one");
                          Manifest manifest;
                          for (const json& library : array(source, "custom_op_libraries")) {
                            manifest.custom_op_libraries.push_back(library.get<std::string>());
                          }
                          std::set<std::string> names;
                          for (const json& engine : array(source, "engines")) {
                            manifest.engines.push_back(read_engine(engine, records));
                            const std::string& name = manifest.engines.back().spec.name;
                            check(!name.empty() && names.insert(name).second, ErrorCode::kBadFile, "engine name \"", name,
                                  "\" is empty or there twice");
                          }
                          return manifest;
                        });
                      });
}

EngineSpec parse_engine_spec(std::string_view text) {
  return with_context([] { return "engine description"; },
                      [&] {
                        const json source = parse_json(text);
                        return foreign_errors_as_bad_file([&] { return read_spec(source); });
                      });
}

}  // namespace tenure
