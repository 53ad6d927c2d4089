// tenure/base/error_inl.h: templates of error.h.
#pragma once

#include <sstream>
#include <type_traits>

namespace tenure {

template <typename... Args>
std::string concat(const Args&... args) {
  std::ostringstream out;
  const auto write = [&](const auto& arg) {
    if constexpr (std::is_invocable_v<decltype(arg)>) {
      out << arg();
    } else {
      out << arg;
    }
  };
  (write(args), ...);
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
