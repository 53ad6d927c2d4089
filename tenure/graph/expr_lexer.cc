#include "tenure/graph/expr_lexer.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <numeric>

namespace tenure {
namespace {

constexpr int kMaxDepth = 256;
constexpr size_t kShownText = 200;

// Locale-independent, unlike <cctype>.
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_word(char c) { return is_word_start(c) || is_digit(c); }

}  // namespace

std::string quote(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "'";
}

bool is_plain_symbol(std::string_view name) {
  return !name.empty() && is_word_start(name[0]) && std::all_of(name.begin(), name.end(), is_word);
}

void ExprLexer::skip_space() {
  while (position_ < text_.size() && (text_[position_] == ' ' || text_[position_] == '\t' || text_[position_] == '\n')) ++position_;
}

bool ExprLexer::at_end() {
  skip_space();
  return position_ == text_.size();
}

char ExprLexer::peek() { return at_end() ? '\0' : text_[position_]; }

bool ExprLexer::accept(std::string_view token) {
  skip_space();
  if (!text_.substr(position_).starts_with(token)) return false;
  position_ += token.size();
  return true;
}

void ExprLexer::expect(std::string_view token) {
  if (!accept(token)) fail(concat("expected '", token, "'"));
}

bool ExprLexer::at_number() { return is_digit(peek()); }
bool ExprLexer::at_word() { return is_word_start(peek()); }

std::string_view ExprLexer::word() {
  if (!at_word()) fail("expected a name");
  const size_t begin = position_;
  while (position_ < text_.size() && is_word(text_[position_])) ++position_;
  return text_.substr(begin, position_ - begin);
}

int64_t ExprLexer::integer(bool negative) {
  if (!at_number()) fail("expected an integer");
  uint64_t magnitude = 0;
  const char* begin = text_.data() + position_;
  const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), magnitude);
  const uint64_t limit = uint64_t{INT64_MAX} + (negative ? 1 : 0);
  if (error != std::errc{} || magnitude > limit) fail("the integer does not fit into 64 bits");
  position_ += static_cast<size_t>(end - begin);
  return static_cast<int64_t>(negative ? ~magnitude + 1 : magnitude);
}

ExprStep ExprLexer::number() {
  size_t end = position_;
  while (end < text_.size() && is_digit(text_[end])) ++end;
  if (end == text_.size() || (text_[end] != '.' && text_[end] != 'e')) return {.op = ExprOp::kInteger, .value = integer(false)};
  double value = 0;
  const char* begin = text_.data() + position_;
  const auto [rest, error] = std::from_chars(begin, text_.data() + text_.size(), value);
  if (error != std::errc{}) fail("expected a number");
  position_ += static_cast<size_t>(rest - begin);
  return {.op = ExprOp::kFloat, .value = std::bit_cast<int64_t>(value)};
}

std::string ExprLexer::quoted() {
  const char mark = peek();
  if (mark != '\'' && mark != '"') fail("expected a quoted name");
  std::string result;
  for (++position_; position_ < text_.size() && text_[position_] != mark; ++position_) {
    if (text_[position_] == '\\' && position_ + 1 < text_.size()) ++position_;
    result += text_[position_];
  }
  if (position_ == text_.size()) fail("the quote is not closed");
  ++position_;
  return result;
}

double ExprLexer::quoted_float() {
  const std::string text = quoted();
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) fail("expected a finite number in quotes");
  return value;
}

ExprLexer::Level::Level(ExprLexer& lexer) : lexer_(lexer) {
  if (lexer.depth_ == kMaxDepth) lexer.fail("nested deeper than 256");
  ++lexer.depth_;
}

void ExprLexer::fail(std::string_view problem, ErrorCode code) const {
  const std::string_view shown = text_.substr(0, kShownText);
  throw Error(code,
              concat("expression \"", shown, shown.size() < text_.size() ? "..." : "", "\", position ", position_, ": ", problem));
}

void ExprBuilder::push_float(double value) { push({.op = ExprOp::kFloat, .value = std::bit_cast<int64_t>(value)}); }

bool ExprBuilder::push_rational(int64_t numerator, int64_t denominator) {
  if (denominator == 1) {
    push_integer(numerator);
    return true;
  }
  if (denominator <= 0 || numerator == INT64_MIN) return false;
  const int64_t divisor = std::gcd(numerator, denominator);
  if (denominator == divisor) return push_rational(numerator / divisor, 1);
  push({.op = ExprOp::kRational, .value = numerator / divisor, .denominator = denominator / divisor});
  return true;
}

void ExprBuilder::push_symbol(std::string_view name) {
  const auto found = std::find(code_.names.begin(), code_.names.end(), name);
  const int64_t index = found - code_.names.begin();
  if (found == code_.names.end()) code_.names.emplace_back(name);
  push({.op = ExprOp::kSymbol, .value = index});
}

void ExprBuilder::apply(ExprOp op, uint32_t operands) {
  const bool variadic = op == ExprOp::kAdd || op == ExprOp::kMul || op == ExprOp::kMax || op == ExprOp::kMin ||
                        op == ExprOp::kAnd || op == ExprOp::kOr;
  if (op == ExprOp::kIdentity || (variadic && operands == 1)) return;
  push({.op = op, .operands = operands});
}

void ExprBuilder::insert(size_t mark, ExprStep step) {
  code_.steps.insert(code_.steps.begin() + static_cast<std::ptrdiff_t>(mark), step);
}

}  // namespace tenure
