// tenure/engine/registry.h: the backends of this build, listed in one visible function.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tenure/engine/engine.h"

namespace tenure {

/// The backend of that name. Throws Error(kUnsupported) that lists the backends of this build. Thread-safe.
Backend& find_backend(std::string_view name);

/// Names of the backends of this build, sorted.
std::vector<std::string> backend_names();

}  // namespace tenure
