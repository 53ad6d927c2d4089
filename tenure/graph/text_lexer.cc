#include "tenure/graph/text_lexer.h"

#include <algorithm>
#include <charconv>
#include <limits>

#include "tenure/base/error.h"

namespace tenure {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_word(char c) { return is_word_start(c) || is_digit(c) || c == '.'; }

int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

}  // namespace

void TextLexer::skip() {
  while (position_ < text_.size()) {
    const char c = text_[position_];
    if (c == '#') {
      position_ = std::min(text_.find('\n', position_), text_.size());
    } else if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
      ++position_;
    } else {
      return;
    }
  }
}

size_t TextLexer::position() {
  skip();
  return position_;
}

bool TextLexer::at_end() { return position() == text_.size(); }

char TextLexer::peek() { return at_end() ? '\0' : text_[position_]; }

bool TextLexer::accept(std::string_view token) {
  if (!text_.substr(position()).starts_with(token)) return false;
  const size_t end = position_ + token.size();
  if (is_word(token.back()) && end < text_.size() && is_word(text_[end])) return false;
  position_ = end;
  return true;
}

void TextLexer::expect(std::string_view token) {
  if (!accept(token)) fail(concat("expected '", token, "'"));
}

bool TextLexer::at_word() { return is_word_start(peek()); }

bool TextLexer::at_number() {
  const char c = peek();
  if (is_digit(c) || c == '-') return true;
  const std::string_view rest = text_.substr(position_);
  return (rest.starts_with("inf") || rest.starts_with("nan")) && (rest.size() == 3 || !is_word(rest[3]));
}

std::string_view TextLexer::word() {
  if (!at_word()) fail("expected a word");
  const size_t begin = position_;
  while (position_ < text_.size() && is_word(text_[position_])) ++position_;
  return text_.substr(begin, position_ - begin);
}

std::string TextLexer::name() {
  if (peek() == '"') return string();
  if (!at_word()) fail("expected a name");
  return std::string(word());
}

char TextLexer::escaped() {
  const size_t begin = position_ - 1;
  if (position_ == text_.size()) fail_at(begin, "the string is not closed");
  const char c = text_[position_++];
  switch (c) {
    case '"':
    case '\\': return c;
    case 'n': return '\n';
    case 't': return '\t';
    case 'r': return '\r';
    case 'x': {
      const int high = position_ < text_.size() ? hex_digit(text_[position_]) : -1;
      const int low = position_ + 1 < text_.size() ? hex_digit(text_[position_ + 1]) : -1;
      if (high < 0 || low < 0) fail_at(begin, "\\x needs two hexadecimal digits");
      position_ += 2;
      return static_cast<char>(high * 16 + low);
    }
    default: fail_at(begin, "unknown escape; use \\\" \\\\ \\n \\t \\r or \\xNN");
  }
}

std::string TextLexer::string() {
  if (peek() != '"') fail("expected a string in double quotes");
  const size_t begin = position_++;
  std::string result;
  while (position_ < text_.size() && text_[position_] != '"') {
    const char c = text_[position_++];
    result += c == '\\' ? escaped() : c;
  }
  if (position_ == text_.size()) fail_at(begin, "the string is not closed");
  ++position_;
  return result;
}

int64_t TextLexer::integer() {
  const size_t begin = position();
  const c10::IValue value = number();
  if (!value.isInt()) fail_at(begin, "expected an integer");
  return value.toInt();
}

c10::IValue TextLexer::number() {
  const size_t begin = position();
  size_t end = begin + (peek() == '-' ? 1 : 0);
  while (end < text_.size() && (is_word(text_[end]) || ((text_[end] == '-' || text_[end] == '+') && text_[end - 1] == 'e'))) ++end;
  const std::string_view written = text_.substr(begin, end - begin);
  const char* const last = written.data() + written.size();
  position_ = end;
  if (int64_t value = 0; written.find_first_of(".einf") == std::string_view::npos) {
    const auto [rest, error] = std::from_chars(written.data(), last, value);
    if (error == std::errc::result_out_of_range) fail_at(begin, "the integer does not fit into 64 bits");
    if (error != std::errc{} || rest != last) fail_at(begin, "expected a number");
    return value;
  }
  double value = 0;
  const auto [rest, error] = std::from_chars(written.data(), last, value);
  if (error != std::errc{} || rest != last) fail_at(begin, "expected a number");
  return value;
}

double TextLexer::floating() {
  const c10::IValue value = number();
  return value.isInt() ? static_cast<double>(value.toInt()) : value.toDouble();
}

at::Device TextLexer::device() {
  const size_t begin = position();
  std::string text(word());
  if (position_ + 1 < text_.size() && text_[position_] == ':' && is_digit(text_[position_ + 1])) {
    const size_t colon = position_++;
    while (position_ < text_.size() && is_digit(text_[position_])) ++position_;
    text += text_.substr(colon, position_ - colon);
  }
  try {
    return at::Device(text);
  } catch (const std::exception&) {
    fail_at(begin, concat("'", text, "' is no device"));
  }
}

std::string_view TextLexer::until(std::string_view ends) {
  const size_t begin = position();
  int depth = 0;
  bool quoted = false;
  for (; position_ < text_.size(); ++position_) {
    const char c = text_[position_];
    if (quoted) {
      if (c == '\\') ++position_;
      quoted = c != '\'';
      continue;
    }
    if (depth == 0 && ends.find(c) != std::string_view::npos) return text_.substr(begin, position_ - begin);
    if (c == '\'') quoted = true;
    if (c == '(' || c == '[') ++depth;
    if (c == ')' || c == ']') --depth;
  }
  fail_at(begin, concat("this expression does not end with one of ", ends));
}

void TextLexer::fail_at(size_t position, std::string_view problem) const {
  const std::string_view before = text_.substr(0, position);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0
  throw Error(ErrorCode::kBadFile, concat("line ", line, ", column ", position - line_start + 1, ": ", problem));
}

}  // namespace tenure
