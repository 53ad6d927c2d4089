// tenure/engine/null/null_backend.h: the reference engine: it runs its part with PyTorch's operators. README.md: how to write
// another.
#pragma once

#include <memory>

#include "tenure/engine/engine.h"

namespace tenure {

/// Its blob is a PT2 archive of the part's own exported program, as torch.export.save writes it.
std::unique_ptr<Backend> make_null_backend();

}  // namespace tenure
