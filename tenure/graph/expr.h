// tenure/graph/expr.h: integer expressions over symbols: the sizes of tensors before a run is known.
//
// torch.export writes sizes in SymPy's srepr form: "Add(Mul(Integer(2), Symbol('s0', integer=True)), Integer(1))". Engine manifests
// use the same form with the symbols i<k>_<d>: dimension d of the engine's input k.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tenure/graph/expr_code.h"

namespace tenure {

/// An immutable integer (or boolean, as 0 or 1) expression. A default-made one is the constant 0. Thread-safe to read.
class Expr {
 public:
  /// Value of a symbol; nullopt when it is not known (yet).
  using Lookup = std::function<std::optional<int64_t>(std::string_view symbol)>;

  Expr() = default;
  explicit Expr(int64_t constant) : constant_(constant) {}

  /// Parses the srepr form, or a plain decimal integer. Throws Error(kBadFile) naming the text and the position; functions that are
  /// not integer arithmetic are Error(kUnsupported). Nesting deeper than 256 is refused.
  static Expr parse(std::string_view text);

  /// Parses what to_string() prints: parse_infix(e.to_string()) == e. Errors as in parse().
  static Expr parse_infix(std::string_view text);

  /// The value, or nullopt if a symbol is unknown, a divisor is zero, the arithmetic overflows int64 or the result is no integer.
  /// Between its integers it may hold exact fractions and, where the text says Float or ToFloat, doubles, as Python would.
  /// Allocates nothing unless the expression is very large.
  std::optional<int64_t> evaluate(const Lookup& lookup) const;

  std::optional<int64_t> constant() const;
  /// The symbol's name if the expression is one bare symbol.
  std::optional<std::string_view> symbol() const;
  /// Names of all symbols, each once, in order of appearance.
  std::vector<std::string> symbols() const { return names_; }

  /// Readable infix form: "2*s0 + 1".
  std::string to_string() const;

  bool operator==(const Expr&) const = default;

 private:
  explicit Expr(ExprCode program);

  std::vector<ExprStep> code_;  // postfix; empty: the expression is constant_
  std::vector<std::string> names_;
  uint32_t stack_size_ = 0;  // operands that evaluation holds at once
  int64_t constant_ = 0;     // 0 unless code_ is empty
};

}  // namespace tenure
