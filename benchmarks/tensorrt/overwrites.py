"""Programs whose results Torch-TensorRT overwrites while its caller holds them, with pre-allocated outputs; and Tenure, on the same
engines. Run it on a GPU machine that has both. Each run has another input; results are compared with copies taken at once."""

from __future__ import annotations

import logging
import warnings

import torch
import torch_tensorrt
from torch import nn

import tenure

RUNS = 4


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(64, 64), nn.Linear(64, 16)


class TwoOutputs(Base):
    """an engine with two returned outputs"""

    def forward(self, x):
        hidden = torch.relu(self.first(x))
        return hidden, hidden * 2


class KeptAndReturned(Base):
    """one output of an engine kept, another returned"""

    def forward(self, x):
        hidden = torch.relu(self.first(x))
        return hidden * 2, self.last(torch.sin(hidden))


class ViewReturned(Base):
    """a view of an engine's output, returned through a PyTorch block"""

    def forward(self, x):
        return torch.relu(self.first(x)).permute(1, 0)


def stay(run) -> str:
    held = []
    for _ in range(RUNS):
        result = run(torch.randn(8, 64, device="cuda"))
        result = result if isinstance(result, tuple) else (result,)
        held.append((result, [tensor.clone() for tensor in result]))
    return " ".join("yes" if all(map(torch.equal, result, copies)) else "no" for result, copies in held)


@torch.no_grad()
def main() -> None:
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    executed = {"torch.ops.aten.sin.default", "torch.ops.aten.permute.default"}
    print(f"| program | Torch-TensorRT {torch_tensorrt.__version__} | with pre-allocated outputs | Tenure |\n|---|---|---|---|")
    for kind in (TwoOutputs, KeptAndReturned, ViewReturned):
        x = torch.randn(8, 64, device="cuda")
        exported = torch.export.export(kind().eval().cuda(), (x,))
        module = torch_tensorrt.dynamo.compile(exported, [x], min_block_size=1, torch_executed_ops=executed)
        program = tenure.from_torch_tensorrt(module)
        plain = stay(module)
        with torch_tensorrt.runtime.enable_pre_allocated_outputs(module):
            print(f"| {kind.__doc__} | {plain} | {stay(module)} | {stay(program)} |")


if __name__ == "__main__":
    main()
