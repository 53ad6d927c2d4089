"""Tenure beside Torch-TensorRT, on the same engines, in one process: `./dev bench-tensorrt [MODEL...]`, on a GPU machine.

Torch-TensorRT compiles each model; tenure.from_torch_tensorrt takes the engines that it built. Then they take turns, each in its
settings (plain; pre-allocated outputs; CUDA graphs), on the default stream and on a side stream. Microseconds a run, medians of the
rounds: all of it, and the host's part until the call returns. Results go to --out as results.json and table.md; draw.py draws them.

Device memory is told twice. Peak: the most that PyTorch's allocator had given out in a steady run, over what it had before the
first one. Beside that allocator: what the device had less of after the engines were made (moved, for Tenure) and after first runs:
TensorRT's weights, contexts and scratch memory, what its compiler kept, and CUDA's code. Eager PyTorch's weights are in neither.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import memory
import torch
import torch_tensorrt
from models import CASES, Case

import tenure

ROUNDS, RUNS, WARM_UP = 7, 60, 5
HELD = 6  # results that are held, each of another input


@dataclass
class Contestant:
    """`entered()` is a context that gives what to call."""

    name: str
    entered: Callable[[], AbstractContextManager[Callable[[torch.Tensor], object]]]
    total: list[float] = field(default_factory=list)
    host: list[float] = field(default_factory=list)


def compiled(case: Case, x: torch.Tensor) -> torch.fx.GraphModule:
    exported = torch.export.export(case.model().eval().cuda(), (x,))
    executed = {f"torch.ops.aten.{name}" for name in case.executed}
    return torch_tensorrt.dynamo.compile(exported, [x], min_block_size=1, torch_executed_ops=executed)


def contestants(model: torch.nn.Module, module: torch.fx.GraphModule, program: tenure.Program) -> list[Contestant]:
    runtime = torch_tensorrt.runtime

    @contextlib.contextmanager
    def pre_allocated() -> Iterator[Callable]:
        with runtime.enable_pre_allocated_outputs(module):
            yield module

    return [
        Contestant("eager", lambda: contextlib.nullcontext(model)),
        Contestant("Torch-TensorRT", lambda: contextlib.nullcontext(module)),
        Contestant("Torch-TensorRT, pre-allocated outputs", pre_allocated),
        Contestant("Torch-TensorRT, CUDA graphs", lambda: runtime.enable_cudagraphs(module)),
        Contestant("Tenure", lambda: contextlib.nullcontext(program)),
    ]


def leaves(result: object) -> list[torch.Tensor]:
    return torch.utils._pytree.tree_leaves(result)


def time_a_round(contestant: Contestant, x: torch.Tensor) -> None:
    with contestant.entered() as run:
        for _ in range(WARM_UP):
            run(x)
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(RUNS):
            run(x)
        host = time.perf_counter()
        torch.cuda.synchronize()
        contestant.total.append((time.perf_counter() - begin) / RUNS * 1e6)
        contestant.host.append((host - begin) / RUNS * 1e6)


def requests_a_run(contestant: Contestant, x: torch.Tensor) -> float:
    """Requests to PyTorch's allocator of device memory; what TensorRT takes for itself nobody sees."""
    with contestant.entered() as run:
        for _ in range(WARM_UP):
            run(x)
        before = torch.cuda.memory_stats()["allocation.all.allocated"]
        for _ in range(RUNS):
            run(x)
        return (torch.cuda.memory_stats()["allocation.all.allocated"] - before) / RUNS


def results_stay(contestant: Contestant, case: Case) -> bool:
    """Whether results that are held are, after other runs, what they were."""
    with contestant.entered() as run:
        for _ in range(WARM_UP):
            run(case.input().cuda())
        held = []
        for _ in range(HELD):
            result = leaves(run(case.input().cuda()))
            held.append((result, [tensor.clone() for tensor in result]))
        return all(map(torch.equal, *zip(*[pair for result, copy in held for pair in zip(result, copy, strict=True)], strict=True)))


def error_of(contestant: Contestant, want: list[torch.Tensor], x: torch.Tensor) -> float:
    with contestant.entered() as run:
        return max((got - wanted).abs().max().item() for got, wanted in zip(leaves(run(x)), want, strict=True))


@torch.no_grad()
def compare(name: str, folder: Path, loop: Path | None) -> dict:
    case = CASES[name]
    torch.manual_seed(0)
    x = case.input().cuda()
    beside = [memory.beside_pytorch()]
    began = time.perf_counter()
    module = compiled(case, x)
    built = time.perf_counter()
    beside.append(memory.beside_pytorch())
    began_to_move = time.perf_counter()
    program = tenure.from_torch_tensorrt(module)
    moved = time.perf_counter()
    beside.append(memory.beside_pytorch())
    say(f"{name}: {len(program.engines)} engines compiled in {built - began:.1f} s; measuring")
    torch.manual_seed(0)
    case.input()
    model = case.model().eval().cuda()  # the same weights
    everyone = contestants(model, module, program)
    found = {
        "model": name,
        "engines": len(program.engines),
        "seconds_to_compile": round(built - began, 1),
        "seconds_to_move": round(moved - began_to_move, 2),
        "rows": [],
    }
    want = leaves(model(x))
    row = {each.name: {"setting": each.name} for each in everyone}
    engines_beside = {"eager": 0, "Tenure": beside[2] - beside[1]}
    for each in everyone:  # memory first: what is kept from the first run on is part of it
        row[each.name].update(memory.measured(each.entered, x, WARM_UP, RUNS))
        row[each.name]["engine_bytes_beside"] = engines_beside.get(each.name, beside[1] - beside[0])
        row[each.name]["largest_error"] = error_of(each, want, x)
        row[each.name]["requests"] = requests_a_run(each, x)
        row[each.name]["results_stay"] = results_stay(each, case)
    for stream, where in ((torch.cuda.default_stream(), ""), (torch.cuda.Stream(), "_side")):
        with torch.cuda.stream(stream):
            for each in everyone:
                each.total, each.host = [], []
            for _ in range(ROUNDS):
                for each in everyone:
                    time_a_round(each, x)
        for each in everyone:
            row[each.name][f"total{where}"] = statistics.median(each.total)
            row[each.name][f"host{where}"] = statistics.median(each.host)
    found["rows"] = list(row.values())
    if loop is not None and name == "chain32":
        program.save(folder / "chain32.pt2")
        told = subprocess.run([loop, folder / "chain32.pt2"], stdout=subprocess.PIPE, text=True, check=True).stdout
        found["hand_written"] = json.loads(told)
        if not found["hand_written"]["same"]:
            raise AssertionError("the hand-written loop and Tenure give other answers")
    return found


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def table(found: dict) -> str:
    lines = [
        f"### {found['model']}: {found['engines']} engines",
        "",
        "| | us a run | host | side stream | host | allocations a run | peak MiB "
        "| MiB beside PyTorch's allocator: engines + first runs | held results | largest difference from eager |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---|---:|",
    ]
    for row in found["rows"]:
        times = " | ".join(f"{row[key]:.0f}" for key in ("total", "host", "total_side", "host_side"))
        stay = "intact" if row["results_stay"] else "**overwritten**"
        peak, engines, first = (row[key] / 2**20 for key in ("peak_bytes", "engine_bytes_beside", "first_run_bytes_beside"))
        taken = f"{peak:.1f} | {engines:.0f} + {first:.0f}"
        lines.append(f"| {row['setting']} | {times} | {row['requests']:.1f} | {taken} | {stay} | {row['largest_error']:.1e} |")
    if "hand_written" in found:
        told = found["hand_written"]
        lines += [
            "",
            f"In C++: Tenure {told['tenure']:.0f} us a run, the hand-written loop {told['hand']:.0f} us; {told['steps']} steps.",
        ]
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help=f"of {', '.join(CASES)}; all unless given")
    parser.add_argument("--out", type=Path, default=Path("build/bench-tensorrt"), metavar="DIR")
    parser.add_argument("--loop", type=Path, help="the program tensorrt_loop, for the hand-written loop")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    arguments.out.mkdir(parents=True, exist_ok=True)
    everything = {
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "torch_tensorrt": torch_tensorrt.__version__,
        "models": [],
    }
    names = arguments.models or list(CASES)
    for number, name in enumerate(names, 1):
        say(f"{name}: model {number} of {len(names)}")
        began = time.perf_counter()
        try:
            found = compare(name, arguments.out, arguments.loop)
        except Exception as error:  # the other models are still worth their figures
            found = {"model": name, "failed": f"{type(error).__name__}: {error}"}
            say(f"{name}: {found['failed']}")
        else:
            print(table(found), flush=True)
        say(f"{name}: {time.perf_counter() - began:.0f} s")
        everything["models"].append(found)
        (arguments.out / "results.json").write_text(json.dumps(everything, indent=1))
    tables = [table(found) for found in everything["models"] if "failed" not in found]
    (arguments.out / "table.md").write_text("\n".join(tables))
    sys.exit(any("failed" in found for found in everything["models"]))


if __name__ == "__main__":
    main()
