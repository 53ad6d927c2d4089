// tenure/session/program.h: a loaded file: graph, weights, engines, owners. Immutable, shared by any number of sessions and
// threads.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tenure/archive/archive.h"
#include "tenure/engine/engine.h"
#include "tenure/graph/graph.h"
#include "tenure/graph/operator.h"
#include "tenure/graph/scalar.h"
#include "tenure/ownership/ownership.h"
#include "tenure/session/signature.h"

namespace tenure {

struct LoadOptions {
  /// Where to run. The file's accelerator, or its CPU if it has none, becomes this device; nothing: as the file says.
  std::optional<c10::Device> device = std::nullopt;
  /// Shared libraries that register custom operators, opened before the operators are looked up: paths, or names for the loader.
  std::vector<std::string> custom_op_libraries;
  /// Whether backends may keep beside the file what they make of its engines for this machine. TensorRT-RTX does: compiled kernels,
  /// in "model.pt2.<GPU>.rtx-<version>.cache", written when the program is gone. A folder that cannot be written is no error.
  bool engine_cache = true;
};

/// One node with its operator, function or engine resolved.
struct ResolvedNode {
  std::optional<OperatorCall> call;               // NodeKind::kOperator
  ScalarFunction scalar = nullptr;                // NodeKind::kScalar
  std::shared_ptr<Engine> engine;                 // NodeKind::kEngine
  std::vector<at::TensorOptions> output_options;  // kEngine: dtype and device of the memory that its outputs are bound to
};

class Program {
 public:
  /// Reads the file, loads its engines, resolves its operators and decides who owns each value. Throws Error: what read_archive
  /// throws; kUnsupported for a backend that is not in this build and a device that is not here, kNotFound for an operator whose
  /// library is not loaded, kEngine.
  static std::shared_ptr<const Program> load(const std::string& path, const LoadOptions& options = {});

  /// The same for a file's content that is already in memory, or was made by hand. `name` stands in messages where the path would.
  static std::shared_ptr<const Program> make(ProgramFile file, const std::string& name, std::optional<c10::Device> device = {});

  const Graph& graph() const { return file_.graph; }
  const std::vector<ResolvedNode>& nodes() const { return nodes_; }
  const OwnershipTable& ownership() const { return ownership_; }
  const std::map<std::string, at::Tensor>& weights() const { return file_.weights; }
  /// By name; sessions notice a change of an engine's ownership switches at their next run.
  const std::map<std::string, std::shared_ptr<Engine>>& engines() const { return engines_; }
  /// Whether the new content of that graph input, which a run changes, is made in its own memory (see ownership/in_place.h).
  bool is_written_in_place(ValueId input) const;
  const SignatureRules& signature_rules() const { return signature_rules_; }
  const std::vector<std::string>& custom_op_libraries() const { return file_.custom_op_libraries; }
  /// torch.utils._pytree specs of the arguments and of the result, as JSON; empty if the file has none.
  const std::string& in_spec() const { return file_.in_spec; }
  const std::string& out_spec() const { return file_.out_spec; }
  const std::string& path() const { return path_; }
  /// Made by tenure.compile, not by torch.export alone.
  bool is_compiled() const { return file_.has_manifest; }

  /// The one device besides the CPU on which values of the program lie; nothing if all lie on the CPU.
  std::optional<c10::Device> accelerator() const { return accelerator_; }

  /// Maximal runs of engine calls (each call is one) and of aten operators between them.
  int64_t engine_blocks() const;
  int64_t aten_blocks() const;

 private:
  Program() = default;
  void move_to(c10::Device device);
  void load_engines();
  void decide_owners();
  void resolve_nodes();
  AliasFacts facts_of(const Node& node) const;
  std::shared_ptr<Engine> find_engine(const Node& node) const;
  std::vector<at::TensorOptions> output_options(const Node& node, const EngineSpec& spec) const;

  std::string path_;
  std::optional<c10::Device> accelerator_;
  ProgramFile file_;  // engine blobs are dropped once loaded
  std::vector<ResolvedNode> nodes_;
  OwnershipTable ownership_;
  std::vector<ValueId> written_in_place_;
  SignatureRules signature_rules_;
  std::map<std::string, std::shared_ptr<Engine>> engines_;
};

}  // namespace tenure
