// tenure/archive/manifest.h: what Program.save adds to a PT2 archive: the engines and the custom-operator libraries.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tenure/archive/archive.h"
#include "tenure/archive/records.h"

namespace tenure {

inline constexpr char kManifestRecord[] = "data/tenure/manifest.json";

struct Manifest {
  std::vector<EngineRecord> engines;
  std::vector<std::string> custom_op_libraries;
};

/// Reads the manifest and the engines' blobs. Throws Error: kUnsupported (a newer format), kBadFile (a missing blob, naming it;
/// wrong types; sizes in terms of an engine's input that does not exist).
Manifest read_manifest(const Records& records);

/// One engine of a manifest, from the JSON that the manifest has for it (where its blob lies is not looked at). Throws Error as
/// above.
EngineSpec parse_engine_spec(std::string_view text);

}  // namespace tenure
