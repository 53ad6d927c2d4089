// tenure/archive/foreign_error.h: what torch and the JSON library throw about a file becomes Error(kBadFile).
#pragma once

#include <c10/util/Exception.h>

#include <exception>
#include <new>
#include <string>
#include <string_view>

#include "tenure/base/error.h"

namespace tenure {

/// Runs `body`. Our own errors and std::bad_alloc pass; any other exception becomes Error(kBadFile) with its first line.
template <typename Body>
decltype(auto) foreign_errors_as_bad_file(const Body& body) {
  const auto first_line = [](std::string_view text) { return std::string(text.substr(0, text.find('\n'))); };
  try {
    return body();
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const c10::Error& error) {
    throw Error(ErrorCode::kBadFile, first_line(error.what_without_backtrace()));
  } catch (const std::exception& error) {
    throw Error(ErrorCode::kBadFile, first_line(error.what()));
  }
}

}  // namespace tenure
