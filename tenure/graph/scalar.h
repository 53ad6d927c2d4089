// tenure/graph/scalar.h: the Python functions on numbers that torch.export leaves between operators (sizes, conditions).
#pragma once

#include <ATen/core/ivalue.h>

#include <cstddef>
#include <span>
#include <string_view>

namespace tenure {

/// Computes on int, float and bool IValues with Python's semantics: floor division and modulo round towards minus infinity, `/`
/// gives a float, ints stay ints. Throws Error(kRuntimeAssert) on division by zero or int64 overflow. Pure, thread-safe.
using ScalarFunction = c10::IValue (*)(std::span<const c10::IValue> arguments);

/// The function of that Python name: "_operator.add", "math.ceil", "torch.sym_max". Throws Error(kUnsupported) naming it.
ScalarFunction find_scalar_function(std::string_view target);

/// The same for a call with so many arguments; Error(kBadFile) if the function takes another number.
ScalarFunction find_scalar_function(std::string_view target, size_t arguments);

}  // namespace tenure
