// tenure/graph/expr_number.cc: arithmetic of Expr with Python's and SymPy's semantics; every overflow gives "unknown".
#include "tenure/graph/expr_number.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tenure {
namespace {

using Number = ExprNumber;
using Wide = __int128;

constexpr Number kUnknown{};
constexpr int64_t kMaxExactDouble = int64_t{1} << 53;

bool fits(Wide value) { return value >= std::numeric_limits<int64_t>::min() && value <= std::numeric_limits<int64_t>::max(); }

/// Fractions of int64 stay below 2^127 in all formulas here.
Number fraction(Wide numerator, Wide denominator) {
  if (denominator == 0) return kUnknown;
  if (denominator != 1) {
    Wide a = numerator < 0 ? -numerator : numerator;
    Wide b = denominator < 0 ? -denominator : denominator;
    while (b != 0) {
      const Wide rest = a % b;
      a = b;
      b = rest;
    }
    if (denominator < 0) a = -a;
    numerator /= a;
    denominator /= a;
  }
  if (!fits(numerator) || !fits(denominator)) return kUnknown;
  return {
      .kind = Number::Kind::kExact, .numerator = static_cast<int64_t>(numerator), .denominator = static_cast<int64_t>(denominator)};
}

Number boolean(bool value) { return Number::exact(value ? 1 : 0); }
bool truth(const Number& n) { return n.is_exact() ? n.numerator != 0 : n.real != 0; }

bool exact_as_double(const Number& n) {
  return !n.is_exact() || (std::abs(static_cast<double>(n.numerator)) <= kMaxExactDouble && n.denominator <= kMaxExactDouble);
}

double to_double(const Number& n) {
  return n.is_exact() ? static_cast<double>(n.numerator) / static_cast<double>(n.denominator) : n.real;
}

Number add(const Number& a, const Number& b) {
  if (!a.is_exact() || !b.is_exact()) return Number::floating(to_double(a) + to_double(b));
  if (int64_t sum; a.denominator == 1 && b.denominator == 1)
    return __builtin_add_overflow(a.numerator, b.numerator, &sum) ? kUnknown : Number::exact(sum);
  return fraction(Wide{a.numerator} * b.denominator + Wide{b.numerator} * a.denominator, Wide{a.denominator} * b.denominator);
}

Number multiply(const Number& a, const Number& b) {
  if (!a.is_exact() || !b.is_exact()) return Number::floating(to_double(a) * to_double(b));
  if (int64_t product; a.denominator == 1 && b.denominator == 1)
    return __builtin_mul_overflow(a.numerator, b.numerator, &product) ? kUnknown : Number::exact(product);
  return fraction(Wide{a.numerator} * b.numerator, Wide{a.denominator} * b.denominator);
}

Number power(Number base, Number exponent) {
  if (!base.is_exact() || !exponent.is_exact()) return Number::floating(std::pow(to_double(base), to_double(exponent)));
  if (!exponent.is_integer()) return kUnknown;  // a root: not rational in general
  if (exponent.numerator < 0) {
    base = fraction(base.denominator, base.numerator);
    exponent = fraction(-Wide{exponent.numerator}, 1);
    if (!base.known() || !exponent.known()) return kUnknown;
  }
  Number result = Number::exact(1);
  for (int64_t left = exponent.numerator; left > 0 && result.known(); left /= 2) {
    if (left % 2 == 1) result = base.known() ? multiply(result, base) : kUnknown;
    if (result.known() && base.known() && left > 1) base = multiply(base, base);
  }
  return result;
}

/// -1, 0 or 1; both known. Fails (nullopt) where a double cannot tell.
std::optional<int> compare(const Number& a, const Number& b) {
  if (a.is_exact() && b.is_exact()) {
    const Wide left = Wide{a.numerator} * b.denominator, right = Wide{b.numerator} * a.denominator;
    return left < right ? -1 : left > right ? 1 : 0;
  }
  if (!exact_as_double(a) || !exact_as_double(b)) return std::nullopt;
  const double left = to_double(a), right = to_double(b);
  return left < right ? -1 : left > right ? 1 : 0;
}

bool holds(ExprOp op, int order) {
  switch (op) {
    case ExprOp::kEqual: return order == 0;
    case ExprOp::kNotEqual: return order != 0;
    case ExprOp::kLess: return order < 0;
    case ExprOp::kLessEqual: return order <= 0;
    case ExprOp::kGreater: return order > 0;
    default: return order >= 0;
  }
}

/// numerator / denominator (> 0) rounded to an integer as `op` says.
Wide round_fraction(ExprOp op, Wide numerator, Wide denominator) {
  Wide floor = numerator / denominator;
  if (numerator % denominator < 0) --floor;
  const Wide rest = numerator - floor * denominator;
  if (rest == 0) return floor;
  switch (op) {
    case ExprOp::kCeil: return floor + 1;
    case ExprOp::kTrunc: return numerator < 0 ? floor + 1 : floor;
    case ExprOp::kRound: return 2 * rest > denominator || (2 * rest == denominator && floor % 2 != 0) ? floor + 1 : floor;
    default: return floor;
  }
}

/// To the integer that Python's math.floor, math.ceil, math.trunc or round (half to even) gives.
Number to_integer(ExprOp op, const Number& n) {
  if (n.is_exact()) return fraction(round_fraction(op, n.numerator, n.denominator), 1);
  double value = n.real;
  switch (op) {
    case ExprOp::kFloor: value = std::floor(value); break;
    case ExprOp::kCeil: value = std::ceil(value); break;
    case ExprOp::kTrunc: value = std::trunc(value); break;
    default: value = std::nearbyint(value);
  }
  if (value < -0x1p63 || value >= 0x1p63) return kUnknown;
  return Number::exact(static_cast<int64_t>(value));
}

/// Integers (or fractions) a and b: the quotient rounded as `rounding` says.
Number divide_to_integer(ExprOp rounding, const Number& a, const Number& b) {
  if (!a.is_exact() || !b.is_exact() || b.numerator == 0) return kUnknown;
  Wide numerator = Wide{a.numerator} * b.denominator, denominator = Wide{a.denominator} * b.numerator;
  if (denominator < 0) {
    numerator = -numerator;
    denominator = -denominator;
  }
  return fraction(round_fraction(rounding, numerator, denominator), 1);
}

/// Python's %: the sign of the divisor.
Number modulo(const Number& a, const Number& b) {
  if (!a.is_integer() || !b.is_integer() || b.numerator == 0) return kUnknown;
  Wide rest = Wide{a.numerator} % b.numerator;
  if (rest != 0 && (rest < 0) != (b.numerator < 0)) rest += b.numerator;
  return fraction(rest, 1);
}

/// Python's /: a double, rounded once.
Number true_divide(const Number& a, const Number& b) {
  const double divisor = to_double(b);
  if (divisor == 0) return kUnknown;
  if (a.is_integer() && b.is_integer() && Wide{a.numerator} % b.numerator == 0)
    return Number::floating(static_cast<double>(Wide{a.numerator} / b.numerator));
  if (!exact_as_double(a) || !exact_as_double(b)) return kUnknown;
  return Number::floating(to_double(a) / divisor);
}

Number shift(ExprOp op, const Number& a, const Number& count) {
  if (!a.is_integer() || !count.is_integer() || count.numerator < 0) return kUnknown;
  if (op == ExprOp::kShiftRight) return Number::exact(a.numerator >> std::min<int64_t>(count.numerator, 63));
  if (a.numerator == 0) return a;
  return count.numerator > 63 ? kUnknown : fraction(Wide{a.numerator} * (Wide{1} << count.numerator), 1);
}

Number logical(ExprOp op, const Number* operands, uint32_t count) {
  const bool decisive = op == ExprOp::kOr;
  bool all_known = true;
  for (uint32_t i = 0; i < count; ++i) {
    if (operands[i].known() && truth(operands[i]) == decisive) return boolean(decisive);
    all_known &= operands[i].known();
  }
  return all_known ? boolean(!decisive) : kUnknown;
}

Number fold(ExprOp op, const Number* operands, uint32_t count) {
  Number result = operands[0];
  for (uint32_t i = 1; i < count && result.known(); ++i) {
    if (op == ExprOp::kAdd) {
      result = add(result, operands[i]);
    } else if (op == ExprOp::kMul) {
      result = multiply(result, operands[i]);
    } else {
      const std::optional<int> order = compare(operands[i], result);
      if (!order) return kUnknown;
      if (*order == (op == ExprOp::kMax ? 1 : -1)) result = operands[i];
    }
  }
  return result;
}

Number apply_unary(ExprOp op, const Number& a) {
  switch (op) {
    case ExprOp::kNot: return boolean(!truth(a));
    case ExprOp::kToFloat: return Number::floating(to_double(a));
    case ExprOp::kAbs:
      if (!a.is_exact()) return Number::floating(std::abs(a.real));
      return fraction(a.numerator < 0 ? -Wide{a.numerator} : Wide{a.numerator}, a.denominator);
    default: return to_integer(op, a);
  }
}

Number apply_binary(ExprOp op, const Number& a, const Number& b) {
  switch (op) {
    case ExprOp::kPow: return power(a, b);
    case ExprOp::kFloorDiv: return divide_to_integer(ExprOp::kFloor, a, b);
    case ExprOp::kCeilDiv: return divide_to_integer(ExprOp::kCeil, a, b);
    case ExprOp::kTrueDiv: return true_divide(a, b);
    case ExprOp::kMod: return modulo(a, b);
    case ExprOp::kShiftLeft:
    case ExprOp::kShiftRight: return shift(op, a, b);
    case ExprOp::kBitAnd: return a.is_integer() && b.is_integer() ? Number::exact(a.numerator & b.numerator) : kUnknown;
    case ExprOp::kBitOr: return a.is_integer() && b.is_integer() ? Number::exact(a.numerator | b.numerator) : kUnknown;
    default: {
      const std::optional<int> order = compare(a, b);
      return order ? boolean(holds(op, *order)) : kUnknown;
    }
  }
}

}  // namespace

ExprNumber ExprNumber::floating(double value) {
  if (!std::isfinite(value)) return {};
  return {.kind = Kind::kFloat, .real = value};
}

std::optional<int64_t> ExprNumber::as_integer() const {
  if (is_exact()) return denominator == 1 ? std::optional(numerator) : std::nullopt;
  if (!known() || real != std::trunc(real) || real < -0x1p63 || real >= 0x1p63) return std::nullopt;
  return static_cast<int64_t>(real);
}

ExprNumber apply(ExprOp op, const ExprNumber* operands, uint32_t count) {
  if (op == ExprOp::kAnd || op == ExprOp::kOr) return logical(op, operands, count);
  if (op == ExprOp::kWhere) return !operands[0].known() ? kUnknown : truth(operands[0]) ? operands[1] : operands[2];
  for (uint32_t i = 0; i < count; ++i)
    if (!operands[i].known()) return kUnknown;
  if (op == ExprOp::kAdd || op == ExprOp::kMul || op == ExprOp::kMax || op == ExprOp::kMin) return fold(op, operands, count);
  return count == 1 ? apply_unary(op, operands[0]) : apply_binary(op, operands[0], operands[1]);
}

}  // namespace tenure
