// tenure/archive/schema_reader.h: the exported program's JSON (models/<name>.json) -> Graph.
#pragma once

#include <string>
#include <string_view>

#include "tenure/graph/graph.h"

namespace tenure {

/// An exported program without its weights.
struct Model {
  Graph graph;  // verified
  std::string in_spec, out_spec;
};

/// Reads the JSON of a torch.export ExportedProgram, schema version 8.x. Throws Error: kBadFile (bad JSON, or a graph that
/// contradicts itself), kUnsupported (another schema version; higher-order operators, script objects and tokens, naming the node).
Model read_model(std::string_view json);

}  // namespace tenure
