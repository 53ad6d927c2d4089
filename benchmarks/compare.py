"""Milliseconds a call of small and large programs, by PyTorch's own runtimes and by Tenure, in one process on one thread.

Run with `./dev python benchmarks/compare.py [name ...]`. Contestants take turns, so that a busy moment of the machine hits all of
them; the table shows medians, and ratios to eager within one row are the figures to quote.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections.abc import Callable

import openvino.torch  # noqa: F401  # registers torch.compile's backend
import torch
import torchvision
from rich.console import Console
from rich.table import Table
from torch import nn

import tenure

ROUNDS, SECONDS_A_ROUND = 15, 0.05


class Chain(nn.Module):
    """32 times linear, relu, sin, add on [8, 64]: call overhead, with sin kept from the engine to break the graph."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(64, 64) for _ in range(32))

    def forward(self, x):
        for layer in self.layers:
            x = torch.sin(torch.relu(layer(x))) + x
        return x


class Elementwise(nn.Module):
    """16 operators on a large tensor: memory traffic and page faults."""

    def forward(self, x):
        for i in range(8):
            x = torch.relu(x) * (1.0 + i)
        return x


CASES = {
    "chain32 [8, 64]": (Chain, lambda: (torch.randn(8, 64),), {"torch_executed_ops": ("aten.sin",), "min_block_size": 1}),
    "elementwise [4096, 4096]": (Elementwise, lambda: (torch.randn(4096, 4096),), {}),
    "resnet18 [1, 3, 224, 224]": (torchvision.models.resnet18, lambda: (torch.randn(1, 3, 224, 224),), {}),
}


def compiled_by_openvino(model: nn.Module, args: tuple) -> Callable[[], object] | None:
    """torch.compile's OpenVINO backend, or None where it fails on this model (said on stderr)."""
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="openvino", dynamic=False)
    try:
        compiled(*args)
    except Exception as error:
        print(f"torch.compile: {type(model).__name__}: {type(error).__name__}: {str(error).splitlines()[0]}", file=sys.stderr)
        return None
    return lambda: compiled(*args)


def contestants(model: nn.Module, args: tuple, options: dict) -> dict[str, Callable[[], object] | None]:
    frozen = torch.jit.freeze(torch.jit.trace(model, args))
    aten = tenure.compile(model, args, min_block_size=sys.maxsize)  # no part is large enough for an engine
    hybrid = tenure.compile(model, args, **options)
    return {
        "eager": lambda: model(*args),
        "TorchScript, frozen": lambda: frozen(*args),
        'torch.compile("openvino")': compiled_by_openvino(model, args),
        "Tenure, aten only": lambda: aten(*args),
        "Tenure, OpenVINO": lambda: hybrid(*args),
    }


def medians(calls: dict[str, Callable[[], object] | None]) -> dict[str, float]:
    """Milliseconds a call: the median over rounds of the mean within a round."""
    calls = {name: call for name, call in calls.items() if call is not None}
    samples = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(3):
            call()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            begin, count = time.perf_counter(), 0
            while time.perf_counter() - begin < SECONDS_A_ROUND:
                call()
                count += 1
            samples[name].append((time.perf_counter() - begin) / count * 1e3)
    return {name: statistics.median(values) for name, values in samples.items()}


def main(wanted: list[str]) -> None:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    table = Table("program", title=f"milliseconds a call, one thread, torch {torch.__version__}")
    rows = []
    with torch.no_grad():
        for name, (make, example, options) in CASES.items():
            if wanted and not any(part in name for part in wanted):
                continue
            torch.manual_seed(0)
            rows.append((name, medians(contestants(make().eval(), example(), options))))
    names = list(max((times for _, times in rows), key=len))
    for contestant in names:
        table.add_column(contestant, justify="right")
    for name, times in rows:
        cells = (f"{times[c]:.3f} ({times['eager'] / times[c]:.2f} x)" if c in times else "fails" for c in names)
        table.add_row(name, *cells)
    Console(width=160).print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
