#include "tenure/graph/engine_spec.h"

#include <algorithm>
#include <charconv>

#include "tenure/base/error.h"

namespace tenure {
namespace {

// Inputs speak of inputs; outputs speak of them, and of such dimensions of outputs as are their own symbols.
bool is_dimension(const EngineSpec& spec, BindingRole speaking, std::string_view symbol) {
  const std::optional<BindingDim> place = dimension_of(symbol);
  if (!place || (place->role == BindingRole::kOutput && speaking == BindingRole::kInput)) return false;
  const std::vector<Binding>& bindings = bindings_of(spec, place->role);
  if (place->binding >= bindings.size() || place->dim >= bindings[place->binding].sizes.size()) return false;
  return place->role == BindingRole::kInput || bindings[place->binding].sizes[place->dim].to_string() == symbol;
}

bool is_of_output(std::string_view symbol) {
  const std::optional<BindingDim> place = dimension_of(symbol);
  return place && place->role == BindingRole::kOutput;
}

}  // namespace

const std::vector<Binding>& bindings_of(const EngineSpec& spec, BindingRole role) {
  return role == BindingRole::kInput ? spec.inputs : spec.outputs;
}

std::optional<BindingDim> dimension_of(std::string_view symbol) {
  if (!symbol.starts_with('i') && !symbol.starts_with('o')) return std::nullopt;
  const char* const end = symbol.data() + symbol.size();
  BindingDim parsed{.role = symbol.starts_with('i') ? BindingRole::kInput : BindingRole::kOutput};
  const auto [underscore, binding_error] = std::from_chars(symbol.data() + 1, end, parsed.binding);
  if (binding_error != std::errc() || underscore == end || *underscore != '_') return std::nullopt;
  const auto [rest, dim_error] = std::from_chars(underscore + 1, end, parsed.dim);
  if (dim_error != std::errc() || rest != end) return std::nullopt;
  return parsed;
}

void check_sizes(const EngineSpec& spec) {
  for (const BindingRole role : {BindingRole::kInput, BindingRole::kOutput}) {
    const bool is_input = role == BindingRole::kInput;
    for (const Binding& binding : bindings_of(spec, role)) {
      for (const Expr& size : binding.sizes) {
        for (const std::string& symbol : size.symbols()) {
          check(is_dimension(spec, role, symbol), ErrorCode::kBadFile, is_input ? "input" : "output", " \"", binding.name,
                "\": the size ", size.to_string(), " uses ", symbol, ", which is no dimension of an input of this engine",
                is_input ? "" : ", and none of an output that depends on data");
        }
      }
    }
  }
}

bool sizes_depend_on_data(const Binding& output) {
  return std::any_of(output.sizes.begin(), output.sizes.end(), [](const Expr& size) {
    const auto symbols = size.symbols();
    return std::any_of(symbols.begin(), symbols.end(), is_of_output);
  });
}

}  // namespace tenure
