// tenure/archive/archive.h: a .pt2 file -> graph, weights, engine specs and blobs. Nothing pickled is ever read.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "tenure/graph/engine_spec.h"
#include "tenure/graph/graph.h"

namespace tenure {

/// An engine as the file holds it.
struct EngineRecord {
  EngineSpec spec;
  std::vector<char> blob;
};

/// Everything that a file says.
struct ProgramFile {
  Graph graph;
  std::map<std::string, at::Tensor> weights;  // by fully qualified name; names that share storage share it here
  std::vector<EngineRecord> engines;          // in the order of the manifest
  std::vector<std::string>
      custom_op_libraries;        // shared libraries or Python packages that register custom operators, as named at compile
  std::string in_spec, out_spec;  // torch.utils._pytree treespecs as JSON, for Python; empty if absent
  bool has_manifest = false;      // written by tenure.compile(...).save
  std::filesystem::path path;     // where it was read; empty: it was made in memory
};

/// Reads the whole file. Throws Error with the context "file PATH": kNotFound (no file), kBadFile (not a zip, truncated, a record's
/// checksum differs, JSON or sizes that contradict each other, a missing record), kUnsupported (newer manifest or schema version,
/// higher-order operators, pickled tensors, script objects).
ProgramFile read_archive(const std::string& path);

/// The same for an archive in memory; `name` stands in messages where the path would.
ProgramFile read_archive(std::span<const char> bytes, const std::string& name);

}  // namespace tenure
