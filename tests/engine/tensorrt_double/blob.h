// tests/engine/tensorrt_double/blob.h: what make_blob wrote.
#pragma once

#include <span>

#include "tests/engine/tensorrt_double/double.h"

namespace tenure::testing::trt {

struct Blob {
  BlobOptions options;
  std::span<const char> archive;  // within the bytes that were read
};

/// Throws Error(kBadFile).
Blob read_blob(std::span<const char> bytes);

}  // namespace tenure::testing::trt
