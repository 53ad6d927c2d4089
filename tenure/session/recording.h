// A program is not to be recorded: a trace of its operators would hold the memory of one run as constants, and give its results
// again.
#pragma once

#include <ATen/core/Tensor.h>

namespace tenure {

// Raises Error (unsupported) if this thread records or transforms the operators that it runs: torch.jit.trace, make_fx,
// torch.export, torch.func.vmap. A TorchDispatchMode of the user's own, which watches operators, may go on.
void refuse_recording();

// Such a mode sees each operator's tensors and may keep them: they must be ordinary memory.
bool is_watched();

// The tensor stands for others and has no memory that a program could read: a FakeTensor, what vmap passes, a __torch_dispatch__
// class, the zeros that autograd makes for what has no gradient.
bool is_wrapper(const at::Tensor& tensor);

}  // namespace tenure
