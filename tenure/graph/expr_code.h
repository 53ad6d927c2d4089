// tenure/graph/expr_code.h: the postfix program that an Expr consists of. Private to expr*.cc; in a header since Expr stores it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tenure {

enum class ExprOp : uint8_t {
  kInteger,   // value
  kRational,  // value / denominator, in lowest terms, denominator > 1
  kFloat,     // the double with the bits of value; finite
  kSymbol,    // names[value]
  kAdd,
  kMul,
  kPow,
  kFloorDiv,
  kCeilDiv,
  kTrueDiv,
  kMod,
  kMax,
  kMin,
  kAbs,
  kWhere,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kAnd,
  kOr,
  kNot,
  kFloor,
  kCeil,
  kTrunc,
  kRound,
  kToFloat,
  kShiftLeft,
  kShiftRight,
  kBitAnd,
  kBitOr,
  kIdentity,  // only while parsing
};

/// Pushes a literal or symbol, or replaces the top `operands` values by one.
struct ExprStep {
  ExprOp op = ExprOp::kInteger;
  uint32_t operands = 0;
  int64_t value = 0;
  int64_t denominator = 1;
  bool operator==(const ExprStep&) const = default;
};

struct ExprCode {
  std::vector<ExprStep> steps;
  std::vector<std::string> names;
};

/// A function by its names in SymPy's srepr form and in ours; an operator of the infix form has no name there.
struct ExprFunction {
  ExprOp op;
  std::string_view srepr;
  std::string_view infix;
  uint32_t min_operands;
  uint32_t max_operands;
};

inline constexpr uint32_t kAnyOperands = UINT32_MAX;

/// All functions; for an op with several srepr names, the infix name stands in its first row only.
inline constexpr ExprFunction kExprFunctions[] = {
    {ExprOp::kAdd, "Add", "", 1, kAnyOperands},
    {ExprOp::kMul, "Mul", "", 1, kAnyOperands},
    {ExprOp::kPow, "Pow", "", 2, 2},
    {ExprOp::kPow, "PowByNatural", "", 2, 2},
    {ExprOp::kPow, "FloatPow", "", 2, 2},
    {ExprOp::kFloorDiv, "FloorDiv", "", 2, 2},
    {ExprOp::kFloorDiv, "CleanDiv", "", 2, 2},
    {ExprOp::kCeilDiv, "CeilDiv", "ceildiv", 2, 2},
    {ExprOp::kTrueDiv, "IntTrueDiv", "truediv", 2, 2},
    {ExprOp::kTrueDiv, "FloatTrueDiv", "", 2, 2},
    {ExprOp::kMod, "Mod", "", 2, 2},
    {ExprOp::kMod, "PythonMod", "", 2, 2},
    {ExprOp::kMax, "Max", "max", 1, kAnyOperands},
    {ExprOp::kMin, "Min", "min", 1, kAnyOperands},
    {ExprOp::kAbs, "Abs", "abs", 1, 1},
    {ExprOp::kWhere, "Where", "where", 3, 3},
    {ExprOp::kEqual, "Equality", "", 2, 2},
    {ExprOp::kEqual, "Eq", "", 2, 2},
    {ExprOp::kNotEqual, "Unequality", "", 2, 2},
    {ExprOp::kNotEqual, "Ne", "", 2, 2},
    {ExprOp::kLess, "StrictLessThan", "", 2, 2},
    {ExprOp::kLess, "Lt", "", 2, 2},
    {ExprOp::kLessEqual, "LessThan", "", 2, 2},
    {ExprOp::kLessEqual, "Le", "", 2, 2},
    {ExprOp::kGreater, "StrictGreaterThan", "", 2, 2},
    {ExprOp::kGreater, "Gt", "", 2, 2},
    {ExprOp::kGreaterEqual, "GreaterThan", "", 2, 2},
    {ExprOp::kGreaterEqual, "Ge", "", 2, 2},
    {ExprOp::kAnd, "And", "and", 1, kAnyOperands},
    {ExprOp::kOr, "Or", "or", 1, kAnyOperands},
    {ExprOp::kNot, "Not", "not", 1, 1},
    {ExprOp::kFloor, "FloorToInt", "floor", 1, 1},
    {ExprOp::kFloor, "floor", "", 1, 1},
    {ExprOp::kCeil, "CeilToInt", "ceil", 1, 1},
    {ExprOp::kCeil, "ceiling", "", 1, 1},
    {ExprOp::kTrunc, "TruncToInt", "trunc", 1, 1},
    {ExprOp::kTrunc, "TruncToFloat", "", 1, 1},
    {ExprOp::kRound, "RoundToInt", "round", 1, 1},
    {ExprOp::kToFloat, "ToFloat", "float", 1, 1},
    {ExprOp::kShiftLeft, "LShift", "lshift", 2, 2},
    {ExprOp::kShiftRight, "RShift", "rshift", 2, 2},
    {ExprOp::kBitAnd, "BitwiseFn_bitwise_and", "bitand", 2, 2},
    {ExprOp::kBitOr, "BitwiseFn_bitwise_or", "bitor", 2, 2},
    {ExprOp::kIdentity, "Identity", "", 1, 1},
};

}  // namespace tenure
