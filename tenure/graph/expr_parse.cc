// tenure/graph/expr_parse.cc: SymPy's srepr form and our infix form -> Expr.
#include <algorithm>
#include <bit>

#include "tenure/graph/expr.h"
#include "tenure/graph/expr_lexer.h"

namespace tenure {
namespace {

/// "Name(argument, ...)", as sympy.printing.repr.srepr prints it.
class SreprParser {
 public:
  explicit SreprParser(std::string_view text) : lexer_(text) {}

  ExprCode parse() {
    expression();
    if (!lexer_.at_end()) lexer_.fail("unexpected text after the expression");
    return builder_.take();
  }

 private:
  void expression() {
    const ExprLexer::Level level(lexer_);
    if (lexer_.at_number() || lexer_.peek() == '-') return builder_.push_integer(lexer_.signed_integer());
    const std::string_view name = lexer_.word();
    if (name == "true") return builder_.push_integer(1);
    if (name == "false") return builder_.push_integer(0);
    if (!lexer_.accept("(")) lexer_.fail(concat("'", name, "' is not supported here"), ErrorCode::kUnsupported);
    if (!literal(name)) return function(name);
    lexer_.expect(")");
  }

  bool literal(std::string_view name) {
    if (name == "Integer") {
      builder_.push_integer(lexer_.signed_integer());
    } else if (name == "Rational") {
      const int64_t numerator = lexer_.signed_integer();
      lexer_.expect(",");
      if (!builder_.push_rational(numerator, lexer_.signed_integer())) lexer_.fail("not a fraction");
    } else if (name == "Float") {
      builder_.push_float(lexer_.quoted_float());
      skip_keywords();
    } else if (name == "Symbol") {
      builder_.push_symbol(lexer_.quoted());
      skip_keywords();
    } else {
      return false;
    }
    return true;
  }

  /// ", positive=True, precision=53": what SymPy assumes; it changes no value.
  void skip_keywords() {
    while (lexer_.accept(",")) {
      lexer_.word();
      lexer_.expect("=");
      if (lexer_.at_number()) {
        lexer_.integer(false);
      } else {
        lexer_.word();
      }
    }
  }

  void function(std::string_view name) {
    const auto* found = std::find_if(std::begin(kExprFunctions), std::end(kExprFunctions),
                                     [&](const ExprFunction& candidate) { return candidate.srepr == name; });
    if (found == std::end(kExprFunctions))
      lexer_.fail(concat("function '", name, "' is not supported; sizes may use integer arithmetic only"), ErrorCode::kUnsupported);
    uint32_t operands = 0;
    while (!lexer_.accept(")")) {
      if (operands > 0) lexer_.expect(",");
      expression();
      ++operands;
    }
    if (operands < found->min_operands || operands > found->max_operands)
      lexer_.fail(concat("'", name, "' does not take ", operands, " arguments"));
    builder_.apply(found->op, operands);
  }

  ExprLexer lexer_;
  ExprBuilder builder_;
};

/// What Expr::to_string() prints; the binding strengths are Python's.
class InfixParser {
 public:
  explicit InfixParser(std::string_view text) : lexer_(text) {}

  ExprCode parse() {
    comparison();
    if (!lexer_.at_end()) lexer_.fail("unexpected text after the expression");
    return builder_.take();
  }

 private:
  void comparison() {
    const ExprLexer::Level level(lexer_);
    sum();
    static constexpr std::pair<std::string_view, ExprOp> kSigns[] = {{"==", ExprOp::kEqual},     {"!=", ExprOp::kNotEqual},
                                                                     {"<=", ExprOp::kLessEqual}, {">=", ExprOp::kGreaterEqual},
                                                                     {"<", ExprOp::kLess},       {">", ExprOp::kGreater}};
    for (const auto& [sign, op] : kSigns) {
      if (!lexer_.accept(sign)) continue;
      sum();
      return builder_.apply(op, 2);
    }
  }

  void sum() {
    uint32_t terms = 0;
    bool negative = lexer_.accept("-");
    do {
      if (terms > 0) negative = sign();
      const size_t begin = builder_.mark();
      const Product product = this->product();
      if (negative && terms == 0 && product.is_division) lexer_.fail("write -(a//b) or (-a)//b");
      if (negative) negate(begin, product);
      ++terms;
    } while (lexer_.peek() == '+' || lexer_.peek() == '-');
    builder_.apply(ExprOp::kAdd, terms);
  }

  /// The sign between two terms: whether it is a minus.
  bool sign() {
    if (lexer_.accept("-")) return true;
    lexer_.expect("+");
    return false;
  }

  struct Product {
    uint32_t factors = 1;
    bool starts_with_number = false;
    bool is_division = false;
  };

  Product product() {
    Product result{.starts_with_number = power()};
    if (lexer_.accept("//")) {
      power();
      builder_.apply(ExprOp::kFloorDiv, 2);
      return {.is_division = true};
    }
    if (lexer_.accept("%")) {
      power();
      builder_.apply(ExprOp::kMod, 2);
      return {.is_division = true};
    }
    while (lexer_.accept("*")) {
      power();
      ++result.factors;
    }
    builder_.apply(ExprOp::kMul, result.factors);
    return result;
  }

  /// Makes the product whose code starts at `begin` negative, as SymPy would hold it: -3, -3*x or -1*x.
  void negate(size_t begin, const Product& product) {
    if (product.starts_with_number) {
      ExprStep& number = builder_.step(begin);
      if (number.op == ExprOp::kFloat) {
        number.value = std::bit_cast<int64_t>(-std::bit_cast<double>(number.value));
      } else {
        number.value = -number.value;
      }
      return;
    }
    builder_.insert(begin, {.op = ExprOp::kInteger, .value = -1});
    if (product.factors == 1) return builder_.apply(ExprOp::kMul, 2);
    ++builder_.step(builder_.mark() - 1).operands;
  }

  /// Returns whether it was just a number.
  bool power() {
    const bool is_number = atom();
    if (!lexer_.accept("**")) return is_number;
    atom();
    builder_.apply(ExprOp::kPow, 2);
    return false;
  }

  bool atom() {
    if (lexer_.at_number()) {
      builder_.push(lexer_.number());
      return true;
    }
    if (lexer_.accept("(")) {
      comparison();
      lexer_.expect(")");
      return false;
    }
    const std::string_view name = lexer_.word();
    if (!lexer_.accept("(")) {
      builder_.push_symbol(name);
    } else {
      call(name);
    }
    return false;
  }

  void call(std::string_view name) {
    if (name == "symbol") {
      builder_.push_symbol(lexer_.quoted());
      return lexer_.expect(")");
    }
    if (name == "rational") {
      const int64_t numerator = lexer_.signed_integer();
      lexer_.expect(",");
      if (!builder_.push_rational(numerator, lexer_.signed_integer())) lexer_.fail("not a fraction");
      return lexer_.expect(")");
    }
    const auto* found = std::find_if(std::begin(kExprFunctions), std::end(kExprFunctions), [&](const ExprFunction& candidate) {
      return !candidate.infix.empty() && candidate.infix == name;
    });
    if (found == std::end(kExprFunctions)) lexer_.fail(concat("there is no function '", name, "'"), ErrorCode::kUnsupported);
    uint32_t operands = 0;
    while (!lexer_.accept(")")) {
      if (operands > 0) lexer_.expect(",");
      comparison();
      ++operands;
    }
    if (operands < found->min_operands || operands > found->max_operands)
      lexer_.fail(concat("'", name, "' does not take ", operands, " arguments"));
    builder_.apply(found->op, operands);
  }

  ExprLexer lexer_;
  ExprBuilder builder_;
};

}  // namespace

Expr Expr::parse(std::string_view text) { return Expr(SreprParser(text).parse()); }

Expr Expr::parse_infix(std::string_view text) { return Expr(InfixParser(text).parse()); }

}  // namespace tenure
