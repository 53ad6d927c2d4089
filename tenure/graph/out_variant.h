// tenure/graph/out_variant.h: the form of an operator that writes its results into tensors that it is given.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/ivalue.h>

#include <optional>
#include <vector>

namespace tenure {

/// Takes the operator's arguments, then `more`, then a tensor for each result.
struct OutVariant {
  c10::OperatorHandle op;
  std::vector<c10::IValue> more;
};

/// "aten::add.out" of "aten::add.Tensor"; "aten::clamp_min.out" with 0 of "aten::relu", which PyTorch computes so. Nothing if there
/// is none, or `backend` has no kernel of its own for it (what stands in for one calls the operator itself and copies), or sizes of
/// results depend on data. Thread-safe.
std::optional<OutVariant> find_out_variant(const c10::OperatorHandle& op, c10::DispatchKey backend);

}  // namespace tenure
