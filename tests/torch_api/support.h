// tests/torch_api/support.h: engines on their own, made from the parts of the conformance suite.
#pragma once

#include <string>
#include <vector>

#include "tenure/torch_api/standalone_engine.h"
#include "tests/engine/parts.h"

namespace tenure::testing {

using Tensors = std::vector<at::Tensor>;
using EnginePtr = c10::intrusive_ptr<StandaloneEngine>;

/// What a manifest says of the null engine's part.
std::string part_json(const std::string& part);
/// The null engine's part as an engine of its own.
EnginePtr make_engine(const std::string& part);

/// Same sizes, types and bits.
void expect_same(const Tensors& got, const Tensors& wanted);

}  // namespace tenure::testing
