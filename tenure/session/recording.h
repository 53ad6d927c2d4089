// A program is not to be recorded: a trace of its operators would hold the memory of one run as constants, and give its results
// again.
#pragma once

#include <ATen/core/Tensor.h>

namespace tenure {

// Raises Error (unsupported) if this thread records or transforms the operators that it runs: torch.jit.trace, make_fx,
// torch.export, torch.func.vmap. A TorchDispatchMode of the user's own, which watches operators, may go on.
void refuse_recording();

// The tensor stands for others and has no memory that a program could read: a FakeTensor, what vmap passes, a __torch_dispatch__
// class.
bool is_wrapper(const at::Tensor& tensor);

}  // namespace tenure
