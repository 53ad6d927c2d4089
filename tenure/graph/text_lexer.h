// tenure/graph/text_lexer.h: words, names, strings and numbers of a graph's text, with positions for messages. Private to parse.cc.
#pragma once

#include <ATen/core/ivalue.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace tenure {

/// Reads `text` from left to right; blanks, line breaks and comments (# to the end of the line) separate and are skipped. Every
/// failure is an Error(kBadFile) that tells line and column, both from 1.
class TextLexer {
 public:
  explicit TextLexer(std::string_view text) : text_(text) {}

  bool at_end();
  /// The next character, or 0 at the end.
  char peek();
  /// Where the next token starts; go_back() reads it again.
  size_t position();
  void go_back(size_t position) { position_ = position; }

  /// Consumes `token` if it comes next, as a whole word if it is one.
  bool accept(std::string_view token);
  void expect(std::string_view token);

  bool at_word();
  bool at_number();
  /// Letters, digits, '_' and '.'.
  std::string_view word();
  /// A word or a string.
  std::string name();
  std::string string();
  int64_t integer();
  /// An int, or a double if it is written with '.', 'e', inf or nan.
  c10::IValue number();
  double floating();
  /// "cpu", "cuda:1".
  at::Device device();
  /// Everything up to the first of `ends` outside of quotes and inner brackets; that character stays.
  std::string_view until(std::string_view ends);

  [[noreturn]] void fail(std::string_view problem) { fail_at(position(), problem); }
  [[noreturn]] void fail_at(size_t position, std::string_view problem) const;

 private:
  void skip();
  char escaped();

  std::string_view text_;
  size_t position_ = 0;
};

}  // namespace tenure
