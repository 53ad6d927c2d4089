// tenure/graph/expr_lexer.h: characters, words and numbers for the two parsers of Expr. Private to expr*.cc.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tenure/base/error.h"
#include "tenure/graph/expr_code.h"

namespace tenure {

/// 'text' with backslashes before quotes and backslashes.
std::string quote(std::string_view text);

/// A name that the infix form writes without quotes: letters, digits and underscores, not starting with a digit.
bool is_plain_symbol(std::string_view name);

/// Reads `text` from left to right. Every failure is an Error naming the text and the position. Whitespace separates and is
/// skipped.
class ExprLexer {
 public:
  explicit ExprLexer(std::string_view text) : text_(text) {}

  bool at_end();
  /// The next character, or 0 at the end.
  char peek();
  /// Consumes `token` if it comes next.
  bool accept(std::string_view token);
  void expect(std::string_view token);
  bool at_number();
  bool at_word();

  std::string_view word();
  /// Digits; `negative` tells whether the caller consumed a minus.
  int64_t integer(bool negative);
  /// Digits with an optional minus before them.
  int64_t signed_integer() { return integer(accept("-")); }
  /// An integer, or a double in decimal or scientific form, as a step.
  ExprStep number();
  std::string quoted();
  double quoted_float();

  /// Guards a recursion: throws when more than 256 levels are open.
  class Level {
   public:
    explicit Level(ExprLexer& lexer);
    ~Level() { --lexer_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    ExprLexer& lexer_;
  };

  [[noreturn]] void fail(std::string_view problem, ErrorCode code = ErrorCode::kBadFile) const;

 private:
  void skip_space();

  std::string_view text_;
  size_t position_ = 0;
  int depth_ = 0;
};

/// Symbols and steps of an expression under construction.
class ExprBuilder {
 public:
  void push(ExprStep step) { code_.steps.push_back(step); }
  void push_integer(int64_t value) { push({.op = ExprOp::kInteger, .value = value}); }
  void push_float(double value);
  /// False if the denominator is 0 or the fraction has no lowest terms in int64.
  bool push_rational(int64_t numerator, int64_t denominator);
  void push_symbol(std::string_view name);
  /// Applies `op` to the top `operands` values. One operand of an n-ary operation, and Identity, is that operand.
  void apply(ExprOp op, uint32_t operands);

  /// Where the code of the next operand will start.
  size_t mark() const { return code_.steps.size(); }
  void insert(size_t mark, ExprStep step);
  ExprStep& step(size_t mark) { return code_.steps[mark]; }

  ExprCode take() { return std::move(code_); }

 private:
  ExprCode code_;
};

}  // namespace tenure
