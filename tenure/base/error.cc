#include "tenure/base/error.h"

#include <utility>

namespace tenure {

std::string_view to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument: return "invalid argument";
    case ErrorCode::kBadFile: return "bad file";
    case ErrorCode::kUnsupported: return "unsupported";
    case ErrorCode::kNotFound: return "not found";
    case ErrorCode::kEngine: return "engine";
    case ErrorCode::kOperator: return "operator";
    case ErrorCode::kRuntimeAssert: return "runtime assertion";
    case ErrorCode::kOwnership: return "ownership";
    case ErrorCode::kInternal: return "internal";
  }
  return "unknown";
}

Error::Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) { rebuild_text(); }

Error& Error::add_context(std::string where) {
  context_.insert(context_.begin(), std::move(where));
  rebuild_text();
  return *this;
}

Error& Error::caused_by_current() {
  cause_ = std::current_exception();
  return *this;
}

void Error::rebuild_text() {
  text_.clear();
  for (const std::string& where : context_) text_.append(where).append(": ");
  text_.append(message_);
}

}  // namespace tenure
