// tests/error_of.h: the Error that something throws.
#pragma once

#include <gtest/gtest.h>

#include "tenure/base/error.h"

namespace tenure::testing {

/// The Error that `body` throws; fails the test if it throws none.
template <typename Body>
Error error_of(const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no Error was thrown";
  return Error(ErrorCode::kInternal, "no Error was thrown");
}

}  // namespace tenure::testing
