// tenure/graph/expr_print.cc: Expr -> infix text, with just the parentheses that the infix parser needs to rebuild the same tree.
#include <array>
#include <bit>
#include <charconv>
#include <cmath>

#include "tenure/graph/expr.h"
#include "tenure/graph/expr_lexer.h"

namespace tenure {
namespace {

enum Precedence { kComparison, kSum, kProduct, kPower, kAtom };

/// The text of one operand. A product that starts with a negative number (or that number alone) also has `negated`: what stands
/// after the minus of "a - b".
struct Piece {
  std::string text;
  Precedence precedence = kAtom;
  std::string negated{};
  bool is_number = false;
};

std::string enclosed(const Piece& piece, Precedence at_least) {
  return piece.precedence >= at_least ? piece.text : "(" + piece.text + ")";
}

Piece number(std::string text) {
  if (text[0] != '-') return {.text = std::move(text), .is_number = true};
  std::string magnitude = text.substr(1);
  return {.text = std::move(text), .precedence = kSum, .negated = std::move(magnitude), .is_number = true};
}

std::string print_float(double value) {
  std::array<char, 32> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
  std::string text(buffer.data(), end);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

Piece leaf(const ExprStep& step, const std::vector<std::string>& names) {
  switch (step.op) {
    case ExprOp::kFloat: return number(print_float(std::bit_cast<double>(step.value)));
    case ExprOp::kSymbol: {
      const std::string& name = names[static_cast<size_t>(step.value)];
      return {.text = is_plain_symbol(name) ? name : "symbol(" + quote(name) + ")"};
    }
    case ExprOp::kInteger:
      // Its magnitude is no int64, so the parser could not read it after a minus.
      if (step.value != INT64_MIN) return number(std::to_string(step.value));
      [[fallthrough]];
    default: return {.text = "rational(" + std::to_string(step.value) + ", " + std::to_string(step.denominator) + ")"};
  }
}

std::string_view infix_name(ExprOp op) {
  for (const ExprFunction& function : kExprFunctions)
    if (function.op == op && !function.infix.empty()) return function.infix;
  return {};
}

std::string_view comparison_sign(ExprOp op) {
  switch (op) {
    case ExprOp::kEqual: return " == ";
    case ExprOp::kNotEqual: return " != ";
    case ExprOp::kLess: return " < ";
    case ExprOp::kLessEqual: return " <= ";
    case ExprOp::kGreater: return " > ";
    case ExprOp::kGreaterEqual: return " >= ";
    default: return {};
  }
}

Piece print_sum(const Piece* operands, uint32_t count) {
  Piece sum{.text = enclosed(operands[0], operands[0].negated.empty() ? kProduct : kSum), .precedence = kSum};
  for (uint32_t i = 1; i < count; ++i)
    sum.text += operands[i].negated.empty() ? " + " + enclosed(operands[i], kProduct) : " - " + operands[i].negated;
  return sum;
}

Piece print_product(const Piece* operands, uint32_t count) {
  std::string rest;
  for (uint32_t i = 1; i < count; ++i) rest += (i == 1 ? "" : "*") + enclosed(operands[i], kPower);
  const Piece& first = operands[0];
  if (!first.is_number || first.negated.empty()) return {.text = enclosed(first, kPower) + "*" + rest, .precedence = kProduct};
  // "-x" reads back as -1*x, but "-3" as the number.
  const bool omit_one = first.negated == "1" && !operands[1].is_number;
  std::string negated = omit_one ? rest : first.negated + "*" + rest;
  return {.text = "-" + negated, .precedence = kSum, .negated = std::move(negated)};
}

Piece print_operation(ExprOp op, const Piece* operands, uint32_t count) {
  switch (op) {
    case ExprOp::kAdd: return print_sum(operands, count);
    case ExprOp::kMul: return print_product(operands, count);
    case ExprOp::kPow: return {.text = enclosed(operands[0], kAtom) + "**" + enclosed(operands[1], kAtom), .precedence = kPower};
    case ExprOp::kFloorDiv:
      return {.text = enclosed(operands[0], kPower) + "//" + enclosed(operands[1], kPower), .precedence = kProduct};
    case ExprOp::kMod:
      return {.text = enclosed(operands[0], kPower) + " % " + enclosed(operands[1], kPower), .precedence = kProduct};
    default: break;
  }
  if (const std::string_view sign = comparison_sign(op); !sign.empty())
    return {.text = enclosed(operands[0], kSum) + std::string(sign) + enclosed(operands[1], kSum), .precedence = kComparison};
  std::string text = std::string(infix_name(op)) + "(";
  for (uint32_t i = 0; i < count; ++i) text += (i == 0 ? "" : ", ") + operands[i].text;
  return {.text = text + ")"};
}

}  // namespace

std::string Expr::to_string() const {
  if (code_.empty()) return leaf({.value = constant_}, {}).text;
  std::vector<Piece> stack;
  for (const ExprStep& step : code_) {
    if (step.operands == 0) {
      stack.push_back(leaf(step, names_));
    } else {
      const size_t first = stack.size() - step.operands;
      stack[first] = print_operation(step.op, stack.data() + first, step.operands);
      stack.resize(first + 1);
    }
  }
  return std::move(stack.back().text);
}

}  // namespace tenure
