#include "tenure/session/signature.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <map>
#include <set>
#include <string_view>

#include "tenure/base/error.h"
#include "tenure/graph/text_names.h"
#include "tenure/session/recording.h"

namespace tenure {
namespace {

using c10::IValue;

size_t mix(size_t hash, int64_t word) {
  // The multiplier is 2^64 divided by the golden ratio (Fibonacci hashing, Knuth volume 3, 6.4).
  return (std::rotl(hash, 5) ^ static_cast<size_t>(word)) * 0x9E3779B97F4A7C15ull;
}

void append_text(std::string_view text, std::vector<int64_t>& words) {
  words.insert(words.end(), {-5, static_cast<int64_t>(text.size())});
  for (size_t at = 0; at < text.size(); at += sizeof(int64_t)) {
    int64_t word = 0;
    std::memcpy(&word, text.data() + at, std::min(sizeof(word), text.size() - at));
    words.push_back(word);
  }
}

// copy and the scatters copy all of the storage that their argument lies in (at::clone_preserve_strides).
bool sees_storage(std::string_view target) {
  constexpr std::string_view kNames[] = {"as_strided", "set_", "resize", "slice_scatter", "select_scatter", "diagonal_scatter"};
  return target == "aten::copy" ||
         std::ranges::any_of(kNames, [&](std::string_view name) { return target.starts_with(concat("aten::", name)); });
}

// By value: whether an operator may see, beyond the tensor, the storage that it lies in.
std::vector<char> values_seen_whole(const Graph& graph, const OwnershipTable& ownership) {
  std::vector<char> whole(graph.values.size());
  for (size_t i = graph.nodes.size(); i-- > 0;) {
    const Node& node = graph.nodes[i];
    if (ownership.facts[i].custom || sees_storage(node.target))
      for_each_input(node, [&](ValueId value) { whole[value.index] = 1; });
    size_t k = 0;
    for_each_output(node, [&](ValueId value) {
      if (whole[value.index])
        for (ValueId other : ownership.facts[i].may_alias[k]) whole[other.index] = 1;
      ++k;
    });
  }
  return whole;
}

/// Checks one set of inputs; symbols are bound as their first plain occurrence is met.
class Validator {
 public:
  Validator(const Graph& graph, std::span<const IValue> inputs) : graph_(graph), inputs_(inputs) {}

  void run() {
    check_count();
    for_each_user_input([&](const GraphInput& input, const IValue& given) { check_kind(input, given); });
    for_each_user_input([&](const GraphInput& input, const IValue& given) { bind_symbols(input, given); });
    for_each_user_input([&](const GraphInput& input, const IValue& given) { solve_symbols(input, given); });
    for_each_user_input([&](const GraphInput& input, const IValue& given) { check_sizes(input, given); });
  }

 private:
  template <typename... Args>
  void require(bool condition, const Args&... args) const {
    check(condition, ErrorCode::kInvalidArgument, "input ", index_, " (", name_, "): ", args...);
  }

  template <typename Visit>
  void for_each_user_input(const Visit& visit) {
    index_ = 0;
    for (const GraphInput& input : graph_.inputs) {
      if (input.kind != GraphInput::Kind::kUser && input.kind != GraphInput::Kind::kUserConstant) continue;
      name_ = input.name;
      visit(input, inputs_[index_]);
      ++index_;
    }
  }

  void check_count() const {
    size_t expected = 0;
    std::string names;
    for (const GraphInput& input : graph_.inputs) {
      if (input.kind != GraphInput::Kind::kUser && input.kind != GraphInput::Kind::kUserConstant) continue;
      names += (expected++ == 0 ? "" : ", ") + input.name;
    }
    check(inputs_.size() == expected, ErrorCode::kInvalidArgument, "the program takes ", expected, " inputs (", names, "), but ",
          inputs_.size(), " were given");
  }

  void check_kind(const GraphInput& input, const IValue& given) const {
    if (input.kind == GraphInput::Kind::kUserConstant) {
      require(input.constant.isNone() ? given.isNone() : given.tagKind() == input.constant.tagKind() && given == input.constant,
              "the program was exported for the constant ", input.constant, " here, but ", describe_kind(given), " was given");
      return;
    }
    const Value& value = graph_.value(input.value);
    if (value.kind != ValueKind::kTensor) {
      const bool fits = value.kind == ValueKind::kSymInt    ? given.isInt()
                        : value.kind == ValueKind::kSymBool ? given.isBool()
                                                            : given.isDouble();
      require(fits, "expected a number of the kind it was exported with, got ", describe_kind(given));
      return;
    }
    require(given.isTensor() && given.toTensor().defined(), "expected a tensor, got ", describe_kind(given));
    if (!value.meta) return;
    const at::Tensor& tensor = given.toTensor();
    require(!is_wrapper(tensor),
            "expected a tensor with memory of its own, got a wrapper (a FakeTensor, what vmap or grad pass to a ",
            "function, a class with __torch_dispatch__, or autograd's zeros without memory)");
    require(tensor.layout() == at::kStrided, "expected a dense (strided) tensor, got layout ", tensor.layout(),
            "; call .to_dense()");
    require(tensor.scalar_type() == value.meta->dtype, "expected dtype ", dtype_name(value.meta->dtype), ", got ",
            dtype_name(tensor.scalar_type()), "; convert it with .to()");
    require(tensor.device() == value.meta->device, "expected a tensor on ", value.meta->device, ", got one on ", tensor.device());
    require(tensor.dim() == static_cast<int64_t>(value.meta->sizes.size()), "expected ", value.meta->sizes.size(),
            " dimensions, got ", tensor.dim(), " (sizes ", tensor.sizes(), ")");
  }

  static std::string describe_kind(const IValue& given) {
    if (given.isNone()) return "None";
    if (given.isTensor()) return given.toTensor().defined() ? "a tensor" : "an undefined tensor";
    return concat(given.tagKind(), " ", given);
  }

  void bind(std::string_view symbol, int64_t value) { symbols_.emplace(symbol, value); }

  void bind_symbols(const GraphInput& input, const IValue& given) {
    if (input.kind != GraphInput::Kind::kUser) return;
    const Value& value = graph_.value(input.value);
    if (given.isInt()) {
      if (const auto symbol = value.expr.symbol()) bind(*symbol, given.toInt());
      return;
    }
    if (!given.isTensor() || !value.meta) return;
    for (size_t d = 0; d < value.meta->sizes.size(); ++d)
      if (const auto symbol = value.meta->sizes[d].symbol()) bind(*symbol, given.toTensor().size(static_cast<int64_t>(d)));
  }

  // A symbol that stands nowhere alone (dimension 2*n): found from the first dimension that it determines, as sizes are linear in
  // it.
  void solve_symbols(const GraphInput& input, const IValue& given) {
    if (input.kind != GraphInput::Kind::kUser || !given.isTensor() || !graph_.value(input.value).meta) return;
    const std::vector<Expr>& sizes = graph_.value(input.value).meta->sizes;
    for (size_t d = 0; d < sizes.size(); ++d) {
      std::vector<std::string> unknown = sizes[d].symbols();
      std::erase_if(unknown, [&](const std::string& symbol) { return symbols_.contains(symbol); });
      if (unknown.size() != 1) continue;
      const auto at = [&](int64_t value) {
        return sizes[d].evaluate([&](std::string_view s) { return s == unknown[0] ? std::optional(value) : lookup(s); });
      };
      const auto zero = at(0), one = at(1);
      const int64_t size = given.toTensor().size(static_cast<int64_t>(d));
      int64_t distance = 0, slope = 0;
      if (!zero || !one || __builtin_sub_overflow(size, *zero, &distance) || __builtin_sub_overflow(*one, *zero, &slope)) continue;
      if (slope == 0 || (slope == -1 && distance == std::numeric_limits<int64_t>::min())) continue;
      const int64_t solution = distance / slope;
      require(
          at(solution) == size, "dimension ", d, " is ", size, ", but must be ", [&] { return sizes[d].to_string(); },
          " for a whole ", unknown[0]);
      bind(unknown[0], solution);
    }
  }

  std::optional<int64_t> lookup(std::string_view symbol) const {
    const auto found = symbols_.find(symbol);
    return found == symbols_.end() ? std::nullopt : std::optional<int64_t>(found->second);
  }

  void check_sizes(const GraphInput& input, const IValue& given) const {
    if (input.kind != GraphInput::Kind::kUser) return;
    const Value& value = graph_.value(input.value);
    if (given.isInt() && !(value.expr == Expr())) check_size(value.expr, "it", given.toInt());
    if (!given.isTensor() || !value.meta) return;
    for (size_t d = 0; d < value.meta->sizes.size(); ++d)
      check_size(value.meta->sizes[d], concat("dimension ", d), given.toTensor().size(static_cast<int64_t>(d)));
  }

  void check_size(const Expr& expr, const std::string& what, int64_t size) const {
    const auto expected = expr.evaluate([&](std::string_view symbol) { return lookup(symbol); });
    if (const auto symbol = expr.symbol()) {
      check_range(std::string(*symbol), what, size);
    } else {
      for (const std::string& symbol : expr.symbols())
        if (const auto value = lookup(symbol))
          check_range(symbol, concat(symbol, " in ", what, " (", expr.to_string(), ")"), *value);
    }
    require(!expected || *expected == size, what, " is ", size, ", but must be ", expected.value_or(0),
            expr.constant() ? std::string(", the size it was exported with")
                            : concat(" = ", expr.to_string(), " as the other sizes are"));
  }

  void check_range(const std::string& symbol, const std::string& what, int64_t size) const {
    const auto found = graph_.symbol_ranges.find(symbol);
    if (found == graph_.symbol_ranges.end()) return;
    const SymbolRange& range = found->second;
    const bool fits = (!range.min || size >= *range.min) && (!range.max || size <= *range.max);
    require(fits, what, " is ", size, ", but the program was exported for ", range.min ? std::to_string(*range.min) : "any size",
            " to ", range.max ? std::to_string(*range.max) : "any size", "; export it again with a wider range");
  }

  const Graph& graph_;
  std::span<const IValue> inputs_;
  std::map<std::string, int64_t, std::less<>> symbols_;
  size_t index_ = 0;
  std::string name_;
};

}  // namespace

SignatureRules make_signature_rules(const Graph& graph, const OwnershipTable& ownership) {
  std::set<std::string> in_sizes;
  for (const Value& value : graph.values) {
    if (!value.meta) continue;
    for (const auto* exprs : {&value.meta->sizes, &value.meta->strides})
      for (const Expr& expr : *exprs)
        for (std::string& symbol : expr.symbols()) in_sizes.insert(std::move(symbol));
  }
  const std::vector<char> whole = values_seen_whole(graph, ownership);
  SignatureRules rules;
  for (const GraphInput& input : graph.inputs) {
    if (input.kind != GraphInput::Kind::kUser && input.kind != GraphInput::Kind::kUserConstant) continue;
    const bool user = input.kind == GraphInput::Kind::kUser;
    const bool is_float = user && graph.value(input.value).kind == ValueKind::kSymFloat;
    const auto symbol = user ? graph.value(input.value).expr.symbol() : std::nullopt;
    const bool free = is_float || (symbol && !in_sizes.contains(std::string(*symbol)));
    rules.number.push_back(!free);
    rules.storage.push_back(user && whole[input.value.index]);
    rules.has_free_numbers |= free;
  }
  return rules;
}

void describe(std::span<const IValue> inputs, const SignatureRules& rules, Signature& signature) {
  std::vector<int64_t>& words = signature.words;
  words.clear();
  for (size_t i = 0; i < inputs.size(); ++i) {
    const IValue& input = inputs[i];
    const bool number_matters = i >= rules.number.size() || rules.number[i];
    if (input.isTensor() && input.toTensor().defined()) {
      const at::Tensor& tensor = input.toTensor();
      const auto device = tensor.device();
      words.push_back(static_cast<int64_t>(tensor.scalar_type()) | static_cast<int64_t>(device.type()) << 8 |
                      static_cast<int64_t>(static_cast<uint8_t>(device.index())) << 16 |
                      static_cast<int64_t>(tensor.layout()) << 24 | tensor.dim() << 32 |
                      static_cast<int64_t>(tensor.is_conj()) << 60 | static_cast<int64_t>(tensor.is_neg()) << 61 |
                      static_cast<int64_t>(is_wrapper(tensor)) << 62);
      if (tensor.layout() != at::kStrided) continue;
      words.insert(words.end(), tensor.sizes().begin(), tensor.sizes().end());
      words.insert(words.end(), tensor.strides().begin(), tensor.strides().end());
      if (i < rules.storage.size() && rules.storage[i])
        words.insert(words.end(), {tensor.storage_offset(), static_cast<int64_t>(tensor.storage().nbytes())});
    } else if (input.isInt() || input.isBool()) {
      words.push_back(-2 - input.isBool());
      if (number_matters) words.push_back(input.isInt() ? input.toInt() : int64_t{input.toBool()});
    } else if (input.isDouble()) {
      words.push_back(-4);
      if (number_matters) words.push_back(std::bit_cast<int64_t>(input.toDouble()));
    } else if (input.isString()) {
      append_text(input.toStringView(), words);
    } else if (input.isNone()) {
      words.push_back(-1);
    } else if (input.isTensor()) {
      words.push_back(-6);
    } else {
      words.push_back(-7);
      append_text(input.tagKind(), words);
    }
  }
  size_t hash = words.size();
  for (int64_t word : words) hash = mix(hash, word);
  signature.hash = hash;
}

void validate_inputs(const Graph& graph, std::span<const IValue> inputs) { Validator(graph, inputs).run(); }

std::string to_text(std::span<const IValue> inputs) {
  std::string text;
  for (const IValue& input : inputs) {
    if (!text.empty()) text += ", ";
    if (input.isTensor() && input.toTensor().defined()) {
      text += concat(dtype_name(input.toTensor().scalar_type()), input.toTensor().sizes());
    } else {
      text += concat(input);
    }
  }
  return text;
}

}  // namespace tenure
