// tenure/graph/expr_number.h: the values that an Expr's evaluation computes with. Private to expr*.cc.
#pragma once

#include <cstdint>
#include <optional>

#include "tenure/graph/expr_code.h"

namespace tenure {

/// An exact fraction, a double, or nothing that we know (unknown symbol, division by zero, overflow). Plain data, no allocation.
struct ExprNumber {
  enum class Kind : uint8_t { kUnknown, kExact, kFloat };
  Kind kind = Kind::kUnknown;
  int64_t numerator = 0;
  int64_t denominator = 1;  // > 0, in lowest terms
  double real = 0;

  static ExprNumber exact(int64_t integer) { return {.kind = Kind::kExact, .numerator = integer}; }
  static ExprNumber floating(double value);

  bool known() const { return kind != Kind::kUnknown; }
  bool is_exact() const { return kind == Kind::kExact; }
  bool is_integer() const { return is_exact() && denominator == 1; }
  /// The number as an integer, if it is one that int64 holds.
  std::optional<int64_t> as_integer() const;
};

/// Applies `op` (not a literal or symbol) to `count` operands. An unknown operand makes the result unknown, save where it does not
/// matter: the branch that Where does not take, And with a false and Or with a true operand.
ExprNumber apply(ExprOp op, const ExprNumber* operands, uint32_t count);

}  // namespace tenure
