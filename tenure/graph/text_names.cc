#include "tenure/graph/text_names.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>

namespace tenure {
namespace {

using at::ScalarType;

// The common ones in short; the others keep c10's names.
constexpr std::pair<ScalarType, std::string_view> kDtypes[] = {{ScalarType::Byte, "u8"},
                                                               {ScalarType::Char, "i8"},
                                                               {ScalarType::Short, "i16"},
                                                               {ScalarType::Int, "i32"},
                                                               {ScalarType::Long, "i64"},
                                                               {ScalarType::Half, "f16"},
                                                               {ScalarType::Float, "f32"},
                                                               {ScalarType::Double, "f64"},
                                                               {ScalarType::ComplexHalf, "c32"},
                                                               {ScalarType::ComplexFloat, "c64"},
                                                               {ScalarType::ComplexDouble, "c128"},
                                                               {ScalarType::Bool, "b8"},
                                                               {ScalarType::BFloat16, "bf16"},
                                                               {ScalarType::UInt16, "u16"},
                                                               {ScalarType::UInt32, "u32"},
                                                               {ScalarType::UInt64, "u64"}};

constexpr std::string_view kLayouts[] = {"strided",    "sparse_coo", "sparse_csr", "mkldnn",
                                         "sparse_csc", "sparse_bsr", "sparse_bsc", "jagged"};
static_assert(std::size(kLayouts) == static_cast<size_t>(at::Layout::NumOptions));

constexpr std::string_view kMemoryFormats[] = {"contiguous_format", "preserve_format", "channels_last", "channels_last_3d"};
static_assert(std::size(kMemoryFormats) == static_cast<size_t>(at::MemoryFormat::NumOptions));

constexpr std::pair<std::string_view, IntegerEnum> kEnums[] = {
    {"dtype", IntegerEnum::kDtype}, {"layout", IntegerEnum::kLayout}, {"memory_format", IntegerEnum::kMemoryFormat}};

std::optional<std::string> enum_value_name(IntegerEnum kind, int64_t value) {
  const auto below = [&](auto count) { return value >= 0 && value < static_cast<int64_t>(count); };
  switch (kind) {
    case IntegerEnum::kDtype:
      if (below(ScalarType::NumOptions) && value != static_cast<int64_t>(ScalarType::Undefined))
        return dtype_name(static_cast<ScalarType>(value));
      break;
    case IntegerEnum::kLayout:
      if (below(at::Layout::NumOptions)) return std::string(kLayouts[value]);
      break;
    case IntegerEnum::kMemoryFormat:
      if (below(at::MemoryFormat::NumOptions)) return std::string(kMemoryFormats[value]);
      break;
  }
  return std::nullopt;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_character(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '.' || is_digit(c); }

enum class ElementKind { kNone, kInt, kFloat, kBool, kString, kIntList };

ElementKind element_kind(const Argument& element) {
  if (!element.is_constant()) return ElementKind::kNone;
  const c10::IValue& constant = element.constant();
  if (constant.isInt()) return ElementKind::kInt;
  if (constant.isDouble()) return ElementKind::kFloat;
  if (constant.isBool()) return ElementKind::kBool;
  if (constant.isString()) return ElementKind::kString;
  if (constant.isIntList()) return ElementKind::kIntList;
  return ElementKind::kNone;
}

}  // namespace

std::string dtype_name(ScalarType dtype) {
  for (const auto& [known, name] : kDtypes)
    if (known == dtype) return std::string(name);
  return c10::toString(dtype);
}

std::optional<ScalarType> find_dtype(std::string_view name) {
  for (int i = 0; i < static_cast<int>(ScalarType::NumOptions); ++i) {
    const auto dtype = static_cast<ScalarType>(i);
    if (dtype != ScalarType::Undefined && dtype_name(dtype) == name) return dtype;
  }
  return std::nullopt;
}

std::optional<IntegerEnum> integer_enum_of(std::string_view parameter) {
  for (const auto& [keyword, kind] : kEnums) {
    if (!parameter.ends_with(keyword)) continue;
    const size_t before = parameter.size() - keyword.size();
    if (before == 0 || parameter[before - 1] == '_') return kind;
  }
  return std::nullopt;
}

std::optional<std::string> integer_enum_text(IntegerEnum kind, int64_t value) {
  const std::optional<std::string> name = enum_value_name(kind, value);
  if (!name) return std::nullopt;
  for (const auto& [keyword, known] : kEnums)
    if (known == kind) return std::string(keyword) + " " + *name;
  return std::nullopt;
}

std::optional<IntegerEnum> find_integer_enum(std::string_view keyword) {
  for (const auto& [known, kind] : kEnums)
    if (known == keyword) return kind;
  return std::nullopt;
}

std::optional<int64_t> find_integer_enum_value(IntegerEnum kind, std::string_view name) {
  for (int64_t value = 0; value < static_cast<int64_t>(ScalarType::NumOptions); ++value)
    if (enum_value_name(kind, value) == name) return value;
  return std::nullopt;
}

std::vector<Expr> contiguous_strides(const std::vector<Expr>& sizes) {
  std::vector<Expr> strides(sizes.size());
  int64_t factor = 1;
  std::vector<std::string> symbols;  // SymPy sorts the factors of a product, the number first
  for (size_t i = sizes.size(); i-- > 0;) {
    std::string text;
    for (const std::string& symbol : symbols) text += (text.empty() ? "" : "*") + symbol;
    if (text.empty())
      text = std::to_string(factor);
    else if (factor != 1)
      text = std::to_string(factor) + "*" + text;
    strides[i] = Expr::parse_infix(text);
    if (const std::optional<int64_t> size = sizes[i].constant()) {
      // A dimension of size 0 counts as 1, as in torch; absurd products saturate to 0, which no real stride is.
      if (__builtin_mul_overflow(factor, std::max<int64_t>(*size, 1), &factor)) factor = 0;
    } else {
      std::string symbol = sizes[i].to_string();
      if (!sizes[i].symbol()) symbol = "(" + symbol + ")";
      symbols.insert(std::upper_bound(symbols.begin(), symbols.end(), symbol), symbol);
    }
  }
  return strides;
}

std::string default_node_name(const Graph& graph, const Node& node, size_t index) {
  for (const NodeOutput& output : node.outputs)
    for (const ValueId value : output.values)
      if (value.valid()) return graph.value(value).name;
  return "node_" + std::to_string(index);
}

bool is_constant_list(const Argument::List& list) {
  if (list.empty() || element_kind(list[0]) == ElementKind::kNone) return false;
  return std::all_of(list.begin(), list.end(),
                     [&](const Argument& element) { return element_kind(element) == element_kind(list[0]); });
}

bool is_plain_name(std::string_view name) {
  return !name.empty() && name[0] != '.' && !is_digit(name[0]) && std::all_of(name.begin(), name.end(), is_name_character);
}

bool is_plain_target(NodeKind kind, std::string_view target) {
  const size_t colons = target.find("::");
  if (kind == NodeKind::kScalar)
    return colons == std::string_view::npos && is_plain_name(target) && target.find('.') != target.npos;
  return kind == NodeKind::kOperator && colons != std::string_view::npos && is_plain_name(target.substr(0, colons)) &&
         is_plain_name(target.substr(colons + 2));
}

std::string quote_string(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string quoted = "\"";
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    switch (c) {
      case '"': quoted += "\\\""; break;
      case '\\': quoted += "\\\\"; break;
      case '\n': quoted += "\\n"; break;
      case '\t': quoted += "\\t"; break;
      case '\r': quoted += "\\r"; break;
      default:
        if (code >= 0x20 && code != 0x7f)
          quoted += c;
        else
          quoted += {'\\', 'x', kHex[code >> 4], kHex[code & 15]};
    }
  }
  return quoted + "\"";
}

std::string print_double(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  std::array<char, 32> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
  std::string text(buffer.data(), end);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

}  // namespace tenure
