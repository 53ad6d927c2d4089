#include "tenure/graph/expr.h"

#include <algorithm>
#include <array>
#include <bit>

#include "tenure/graph/expr_number.h"

namespace tenure {
namespace {

constexpr size_t kInlineOperands = 16;  // sizes of real models need 2 to 6

ExprNumber leaf(const ExprStep& step, const std::vector<std::string>& names, const Expr::Lookup& lookup) {
  switch (step.op) {
    case ExprOp::kFloat: return ExprNumber::floating(std::bit_cast<double>(step.value));
    case ExprOp::kSymbol: {
      const std::optional<int64_t> value = lookup(names[static_cast<size_t>(step.value)]);
      return value ? ExprNumber::exact(*value) : ExprNumber{};
    }
    default: return {.kind = ExprNumber::Kind::kExact, .numerator = step.value, .denominator = step.denominator};
  }
}

uint32_t largest_stack(const std::vector<ExprStep>& steps) {
  uint32_t depth = 0, largest = 0;
  for (const ExprStep& step : steps) {
    depth += 1 - step.operands;  // wraps on purpose when operands > 1
    largest = std::max(largest, depth);
  }
  return largest;
}

}  // namespace

Expr::Expr(ExprCode program)
    : code_(std::move(program.steps)), names_(std::move(program.names)), stack_size_(largest_stack(code_)) {
  if (!names_.empty()) return;
  const std::optional<int64_t> folded = evaluate([](std::string_view) { return std::nullopt; });
  if (!folded) return;
  *this = Expr(*folded);
}

std::optional<int64_t> Expr::evaluate(const Lookup& lookup) const {
  if (code_.empty()) return constant_;
  std::array<ExprNumber, kInlineOperands> small;
  std::vector<ExprNumber> large(stack_size_ > small.size() ? stack_size_ : 0);
  ExprNumber* top = large.empty() ? small.data() : large.data();  // one past the last operand
  for (const ExprStep& step : code_) {
    if (step.operands == 0) {
      *top++ = leaf(step, names_, lookup);
    } else {
      top -= step.operands;
      *top = apply(step.op, top, step.operands);
      ++top;
    }
  }
  return top[-1].as_integer();
}

std::optional<int64_t> Expr::constant() const { return code_.empty() ? std::optional(constant_) : std::nullopt; }

std::optional<std::string_view> Expr::symbol() const {
  if (code_.size() != 1 || code_[0].op != ExprOp::kSymbol) return std::nullopt;
  return names_[0];
}

}  // namespace tenure
