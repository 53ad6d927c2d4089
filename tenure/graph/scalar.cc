#include "tenure/graph/scalar.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "tenure/base/error.h"

namespace tenure {
namespace {

using c10::IValue;
using Arguments = std::span<const IValue>;

bool is_float(const IValue& v) { return v.isDouble(); }

int64_t as_int(const IValue& v) {
  if (v.isInt()) return v.toInt();
  if (v.isBool()) return v.toBool() ? 1 : 0;
  throw Error(ErrorCode::kRuntimeAssert, concat("expected an integer, got ", v.tagKind()));
}

double as_double(const IValue& v) { return is_float(v) ? v.toDouble() : static_cast<double>(as_int(v)); }

bool as_bool(const IValue& v) { return is_float(v) ? v.toDouble() != 0 : as_int(v) != 0; }

int64_t checked(bool overflowed, int64_t value) {
  check(!overflowed, ErrorCode::kRuntimeAssert, "integer arithmetic on sizes overflowed 64 bits");
  return value;
}

int64_t checked_from_double(double value) {
  check(value >= -0x1p63 && value < 0x1p63, ErrorCode::kRuntimeAssert, "cannot convert ", value, " to a 64-bit integer");
  return static_cast<int64_t>(value);
}

IValue add(Arguments a) {
  if (is_float(a[0]) || is_float(a[1])) return as_double(a[0]) + as_double(a[1]);
  int64_t result;
  const bool overflow = __builtin_add_overflow(as_int(a[0]), as_int(a[1]), &result);
  return checked(overflow, result);
}

IValue sub(Arguments a) {
  if (is_float(a[0]) || is_float(a[1])) return as_double(a[0]) - as_double(a[1]);
  int64_t result;
  const bool overflow = __builtin_sub_overflow(as_int(a[0]), as_int(a[1]), &result);
  return checked(overflow, result);
}

IValue mul(Arguments a) {
  if (is_float(a[0]) || is_float(a[1])) return as_double(a[0]) * as_double(a[1]);
  int64_t result;
  const bool overflow = __builtin_mul_overflow(as_int(a[0]), as_int(a[1]), &result);
  return checked(overflow, result);
}

void check_divisor(const IValue& divisor) {
  check(as_double(divisor) != 0, ErrorCode::kRuntimeAssert, "division by zero in size arithmetic");
}

IValue truediv(Arguments a) {
  check_divisor(a[1]);
  return as_double(a[0]) / as_double(a[1]);
}

IValue floordiv(Arguments a) {
  check_divisor(a[1]);
  if (is_float(a[0]) || is_float(a[1])) return std::floor(as_double(a[0]) / as_double(a[1]));
  const int64_t x = as_int(a[0]), y = as_int(a[1]);
  if (y == -1) return checked(x == std::numeric_limits<int64_t>::min(), -x);
  const int64_t quotient = x / y;
  return quotient - ((x % y != 0 && (x < 0) != (y < 0)) ? 1 : 0);
}

IValue mod(Arguments a) {
  check_divisor(a[1]);
  if (is_float(a[0]) || is_float(a[1])) {
    const double y = as_double(a[1]), rest = std::fmod(as_double(a[0]), y);
    return rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest;
  }
  const int64_t x = as_int(a[0]), y = as_int(a[1]);
  if (y == -1) return int64_t{0};
  const int64_t rest = x % y;
  return rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest;
}

IValue pow(Arguments a) {
  if (is_float(a[0]) || is_float(a[1]) || as_int(a[1]) < 0) return std::pow(as_double(a[0]), as_double(a[1]));
  int64_t result = 1, base = as_int(a[0]);
  bool overflow = false;
  for (int64_t exponent = as_int(a[1]); exponent > 0; exponent >>= 1) {
    if (exponent & 1) overflow |= __builtin_mul_overflow(result, base, &result);
    if (exponent > 1) overflow |= __builtin_mul_overflow(base, base, &base);
  }
  return checked(overflow, result);
}

IValue neg(Arguments a) {
  if (is_float(a[0])) return -a[0].toDouble();
  const int64_t x = as_int(a[0]);
  return checked(x == std::numeric_limits<int64_t>::min(), -x);
}

IValue pos(Arguments a) { return is_float(a[0]) ? a[0] : IValue(as_int(a[0])); }

template <typename Compare>
IValue compare(Arguments a) {
  if (is_float(a[0]) || is_float(a[1])) return Compare{}(as_double(a[0]), as_double(a[1]));
  return Compare{}(as_int(a[0]), as_int(a[1]));
}

template <typename BitOperation>
IValue bitwise(Arguments a) {
  if (a[0].isBool() && a[1].isBool()) return IValue(BitOperation{}(a[0].toBool() ? 1 : 0, a[1].toBool() ? 1 : 0) != 0);
  return BitOperation{}(as_int(a[0]), as_int(a[1]));
}

IValue lshift(Arguments a) {
  const int64_t shift = as_int(a[1]);
  check(shift >= 0 && shift < 63, ErrorCode::kRuntimeAssert, "shift by ", shift, " in size arithmetic");
  int64_t result;
  const bool overflow = __builtin_mul_overflow(as_int(a[0]), int64_t{1} << shift, &result);
  return checked(overflow, result);
}

IValue rshift(Arguments a) {
  const int64_t shift = as_int(a[1]);
  check(shift >= 0, ErrorCode::kRuntimeAssert, "shift by ", shift, " in size arithmetic");
  return as_int(a[0]) >> std::min<int64_t>(shift, 63);
}

IValue logical_not(Arguments a) { return !as_bool(a[0]); }
IValue ite(Arguments a) { return as_bool(a[0]) ? a[1] : a[2]; }
IValue max(Arguments a) { return as_double(a[0]) >= as_double(a[1]) ? a[0] : a[1]; }
IValue min(Arguments a) { return as_double(a[0]) <= as_double(a[1]) ? a[0] : a[1]; }
IValue to_float(Arguments a) { return as_double(a[0]); }
IValue square_root(Arguments a) { return std::sqrt(as_double(a[0])); }
IValue absolute(Arguments a) { return as_double(a[0]) < 0 ? neg(a) : pos(a); }

// Python's int(), math.trunc, math.floor and math.ceil all turn a float into an int and keep an int.
template <double (*Round)(double)>
IValue rounded(Arguments a) {
  return is_float(a[0]) ? checked_from_double(Round(a[0].toDouble())) : as_int(a[0]);
}
double round_trunc(double x) { return std::trunc(x); }
double round_floor(double x) { return std::floor(x); }
double round_ceil(double x) { return std::ceil(x); }
double round_half_even(double x) { return std::nearbyint(x); }

struct Entry {
  std::string_view name;
  size_t arguments;
  ScalarFunction function;
};

constexpr Entry kFunctions[] = {
    {"_operator.add", 2, add},
    {"_operator.sub", 2, sub},
    {"_operator.mul", 2, mul},
    {"_operator.floordiv", 2, floordiv},
    {"_operator.truediv", 2, truediv},
    {"_operator.mod", 2, mod},
    {"_operator.pow", 2, pow},
    {"_operator.neg", 1, neg},
    {"_operator.pos", 1, pos},
    {"_operator.eq", 2, compare<std::equal_to<>>},
    {"_operator.ne", 2, compare<std::not_equal_to<>>},
    {"_operator.lt", 2, compare<std::less<>>},
    {"_operator.le", 2, compare<std::less_equal<>>},
    {"_operator.gt", 2, compare<std::greater<>>},
    {"_operator.ge", 2, compare<std::greater_equal<>>},
    {"_operator.and_", 2, bitwise<std::bit_and<int64_t>>},
    {"_operator.or_", 2, bitwise<std::bit_or<int64_t>>},
    {"_operator.xor", 2, bitwise<std::bit_xor<int64_t>>},
    {"_operator.lshift", 2, lshift},
    {"_operator.rshift", 2, rshift},
    {"_operator.not_", 1, logical_not},
    {"_operator.abs", 1, absolute},
    {"math.trunc", 1, rounded<round_trunc>},
    {"math.floor", 1, rounded<round_floor>},
    {"math.ceil", 1, rounded<round_ceil>},
    {"math.sqrt", 1, square_root},
    {"builtins.round", 1, rounded<round_half_even>},
    {"builtins.max", 2, max},
    {"builtins.min", 2, min},
    {"builtins.abs", 1, absolute},
    {"torch.sym_not", 1, logical_not},
    {"torch.sym_int", 1, rounded<round_trunc>},
    {"torch.sym_float", 1, to_float},
    {"torch.sym_ite", 3, ite},
    {"torch.sym_max", 2, max},
    {"torch.sym_min", 2, min},
    {"torch.sym_sqrt", 1, square_root},
    {"torch._sym_sqrt", 1, square_root},
};

const Entry& find_entry(std::string_view target) {
  const auto* entry = std::find_if(std::begin(kFunctions), std::end(kFunctions), [&](const Entry& e) { return e.name == target; });
  check(entry != std::end(kFunctions), ErrorCode::kUnsupported, "the function ", target,
        " on sizes is not one that Tenure computes; export the model without it, or report it");
  return *entry;
}

}  // namespace

ScalarFunction find_scalar_function(std::string_view target) { return find_entry(target).function; }

ScalarFunction find_scalar_function(std::string_view target, size_t arguments) {
  const Entry& entry = find_entry(target);
  check(entry.arguments == arguments, ErrorCode::kBadFile, target, " takes ", entry.arguments, " arguments, but is given ",
        arguments);
  return entry.function;
}

}  // namespace tenure
