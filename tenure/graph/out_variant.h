// tenure/graph/out_variant.h: the form of an operator that writes its results into tensors that it is given.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

#include <optional>

namespace tenure {

/// "aten::add.out" of "aten::add.Tensor": the same arguments, and behind them one tensor for each result. Nothing if there is none,
/// or `backend` has no kernel of its own for it (what stands in for one calls the operator itself and copies), or sizes of results
/// depend on data. Thread-safe.
std::optional<c10::OperatorHandle> find_out_variant(const c10::OperatorHandle& op, c10::DispatchKey backend);

}  // namespace tenure
