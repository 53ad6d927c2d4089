// tenure/ownership/ownership.h: who owns each value's memory, decided before the first run, with the reason.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tenure/graph/engine_spec.h"
#include "tenure/graph/graph.h"
#include "tenure/graph/operator.h"

namespace tenure {

/// Who owns a value's memory, from strictest to loosest.
enum class Ownership {
  kBorrowed,  // the caller's input, a weight or state: Tenure neither allocates nor frees it
  kView,      // another value's memory
  kStanding,  // never leaves the program: planned memory that is kept from run to run
  kLeased,    // leaves to the caller: lives in a slot that is reused when nobody holds it
  kFresh,     // allocated in each run
};

std::string_view to_string(Ownership ownership);

/// What aliasing an operator's schema admits to. Indices count the schema's parameters and the node's values.
struct AliasFacts {
  /// For each produced value, in for_each_output order: the values it may share memory with.
  std::vector<std::vector<ValueId>> may_alias;
  /// Values whose content the node changes.
  std::vector<ValueId> mutates;
  /// Produced values that share memory with a may_alias value whatever the sizes are (view, in-place), as against reshape, to,
  /// contiguous.
  bool always_aliases = false;
  /// The node changes sizes or strides of a tensor object in place (squeeze_, resize_, set_).
  bool changes_metadata_in_place = false;
  /// An operator that is not PyTorch's own. Its schema does not tell all that it does: it may act on the world, and keep what it
  /// reads, makes or uses as scratch beyond its call.
  bool custom = false;
};

/// The facts of an operator's node; `op` is null for a node of numbers.
AliasFacts alias_facts(const Node& node, const c10::OperatorHandle* op);

/// The facts of an engine's node: an output that aliases an input (KV cache) is that input, written in place.
AliasFacts alias_facts(const Node& node, const EngineSpec& engine);

/// What is known of one value before any run.
struct Owner {
  Ownership ownership = Ownership::kStanding;
  ValueId viewed;               // kView: the value whose memory it (or may be) is
  bool conditional = false;     // kView: only for some sizes and strides; else it is memory of its own
  bool escapes = false;         // memory that may reach the caller: through itself or an alias
  bool data_dependent = false;  // its sizes, strides or (for a number) value depend on the content of tensors
  bool movable = false;         // its metadata may change in place: no tensor object may be kept for it across runs
  std::string reason;           // in plain words: "returned to the caller as output 0 through view_3"
};

/// The answer for a whole graph. Immutable, thread-safe.
struct OwnershipTable {
  std::vector<Owner> owners;      // by value
  std::vector<AliasFacts> facts;  // by node
  std::vector<int> last_use;  // by value: index of the last node that reads it or an alias of it; nodes.size() if it is an output
  std::vector<std::string> state;  // names of the buffers (GraphInput::target) that a run changes, sorted
};

/// `facts[i]` are those of nodes[i].
OwnershipTable analyze_ownership(const Graph& graph, std::vector<AliasFacts> facts);

}  // namespace tenure
