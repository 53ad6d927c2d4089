// tenure/base/error.h: the one exception type, with a code and the way to where it happened.
#pragma once

#include <exception>
#include <string>
#include <string_view>
#include <vector>

namespace tenure {

/// What kind of thing went wrong; a caller may branch on it.
enum class ErrorCode {
  kInvalidArgument,  // an input, option or name that the caller passed is wrong
  kBadFile,          // not an archive, truncated, corrupted, or contradicting itself
  kUnsupported,      // valid, but not something this build or version can run
  kNotFound,         // a named file, engine, backend or operator does not exist
  kEngine,           // an engine failed to load or to run
  kOperator,         // an aten or custom operator failed
  kRuntimeAssert,    // a runtime assertion of the exported program does not hold
  kOwnership,        // SessionOptions::check_ownership found memory read or written by who does not own it
  kInternal,         // a bug in Tenure
};

std::string_view to_string(ErrorCode code);

/// The exception that Tenure throws. The message says what is wrong and what to do; the context chain says where, outermost first
/// (file, node, block, engine). Copying never throws in practice: strings are small.
class Error : public std::exception {
 public:
  Error(ErrorCode code, std::string message);

  ErrorCode code() const { return code_; }
  const std::string& message() const { return message_; }
  /// Outermost first, e.g. {"file model.pt2", "node conv2d"}.
  const std::vector<std::string>& context() const { return context_; }

  /// The exception of others that this one reports, or null.
  const std::exception_ptr& cause() const { return cause_; }
  /// Makes the exception that is being handled the cause, for `throw Error(code, text).caused_by_current();` in a catch block.
  Error& caused_by_current();

  /// Adds an outer context, for `catch (Error& e) { e.add_context("node conv2d"); throw; }`.
  Error& add_context(std::string where);

  /// "file model.pt2: node conv2d: message".
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  void rebuild_text();

  ErrorCode code_;
  std::string message_;
  std::vector<std::string> context_;
  std::string text_;
  std::exception_ptr cause_;
};

/// Streams its arguments into one string. What costs time may be given as a function of no arguments that returns it.
template <typename... Args>
std::string concat(const Args&... args);

/// Throws Error(code, concat(args...)) unless `condition` holds.
template <typename... Args>
void check(bool condition, ErrorCode code, const Args&... args);

/// Runs `body`; an Error that escapes gains the context `where()` (called only then).
template <typename Where, typename Body>
decltype(auto) with_context(const Where& where, const Body& body);

}  // namespace tenure

#include "tenure/base/error_inl.h"
