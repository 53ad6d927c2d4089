// tenure/base/error_inl.h: templates of error.h.
#pragma once

#include <sstream>

namespace tenure {

template <typename... Args>
std::string concat(const Args&... args) {
  std::ostringstream out;
  (out << ... << args);
  return out.str();
}

template <typename... Args>
void check(bool condition, ErrorCode code, const Args&... args) {
  if (!condition) [[unlikely]]
    throw Error(code, concat(args...));
}

template <typename Where, typename Body>
decltype(auto) with_context(const Where& where, const Body& body) {
  try {
    return body();
  } catch (Error& error) {
    error.add_context(where());
    throw;
  }
}

}  // namespace tenure
