// tenure/graph/engine_spec.h: what a file says about an engine block: its name, backend, inputs and outputs.
#pragma once

#include <c10/core/ScalarType.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tenure/graph/expr.h"

namespace tenure {

/// One tensor that goes into or comes out of an engine. Tensors at this border are dense and contiguous.
struct Binding {
  std::string name;  // for messages; unique within inputs or within outputs
  at::ScalarType dtype = at::kFloat;
  /// Per dimension. The symbol i<k>_<d> means dimension d of input k, and o<k>_<d> dimension d of output k, known when the engine
  /// has run; an input's dynamic dimension, and an output's that depends on data, is its own symbol.
  std::vector<Expr> sizes;
  std::optional<size_t> aliases_input;  // this output is written into the memory of that input (KV cache)
  bool declared_unowned = false;        // the user said that the caller gets this output, whatever the graph tells
};

/// What a file says about an engine. The blob is the backend's own format.
struct EngineSpec {
  std::string name;     // unique in its program: "engine_0"
  std::string backend;  // "openvino"
  std::vector<Binding> inputs;
  std::vector<Binding> outputs;
  std::map<std::string, std::string> options;  // the backend's own, as given to tenure.compile
};

enum class BindingRole { kInput, kOutput };

const std::vector<Binding>& bindings_of(const EngineSpec& spec, BindingRole role);

/// What the symbols i<binding>_<dim> and o<binding>_<dim> speak of.
struct BindingDim {
  BindingRole role = BindingRole::kInput;
  size_t binding = 0;
  size_t dim = 0;
};

/// Nothing if it is no such symbol.
std::optional<BindingDim> dimension_of(std::string_view symbol);

/// Throws Error(kBadFile) if a size speaks of an input or dimension that is not there, or of an output's that does not depend on
/// data.
void check_sizes(const EngineSpec& spec);

/// Whether a size of the output is known only when the engine has run.
bool sizes_depend_on_data(const Binding& output);

}  // namespace tenure
