"""32 x (linear and relu in a TensorRT engine; sin and add in PyTorch), batch 8: eager PyTorch against Tenure.

benchmarks/tensorrt_chain.py compile FILE    needs TensorRT-RTX and ONNX, no GPU
benchmarks/tensorrt_chain.py run FILE        needs a GPU; prints microseconds a run (all, and the host's part), median of 5 x 300
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch
from tenure.compile import lower
from torch import nn

import tenure
from tenure.archive import write_archive

WIDTH, DEPTH, BATCH = 256, 32, 8


class Chain(nn.Module):
    """Weights are fractions with few bits, the same wherever it is made."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(DEPTH))
        for parameter in self.parameters():
            parameter.data = torch.randint(-16, 17, parameter.shape) / 256.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.sin(torch.relu(layer(x))) + 0.5
        return x


def microseconds(run: Callable[[], object], runs: int = 300) -> str:
    for _ in range(30):
        run()
    measured = []
    for _ in range(5):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(runs):
            run()
        host = time.perf_counter() - begin
        torch.cuda.synchronize()
        measured.append(((time.perf_counter() - begin) / runs * 1e6, host / runs * 1e6))
    total, host = sorted(measured)[2]
    return f"{total:7.0f} {host:7.0f}"


def compile_to(path: str) -> None:
    model, x, executed = Chain().eval(), torch.randn(BATCH, WIDTH), ["aten.sin", "aten.add"]
    write_archive(lower(model, (x,), backend="tensorrt", min_block_size=1, torch_executed_ops=executed), path)


@torch.no_grad()
def run(path: str) -> None:
    model, x = Chain().eval().cuda(), torch.randn(BATCH, WIDTH, device="cuda")
    program = tenure.load(path, device="cuda")
    print(f"largest difference from eager {(program(x) - model(x)).abs().max().item():.1e}")
    program(x)
    before = torch.cuda.memory_stats()["allocation.all.allocated"]
    for _ in range(50):
        program(x)
    print(f"allocations in 50 runs {torch.cuda.memory_stats()['allocation.all.allocated'] - before}")
    side = torch.cuda.Stream()
    for _ in range(2):
        print(f"eager                {microseconds(lambda: model(x))}")
        print(f"Tenure               {microseconds(lambda: program(x))}")
        with torch.cuda.stream(side):
            print(f"Tenure, side stream  {microseconds(lambda: program(x))}")


if __name__ == "__main__":
    {"compile": compile_to, "run": run}[sys.argv[1]](sys.argv[2])
