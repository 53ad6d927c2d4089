"""Switches of how programs run. Each is a context manager that puts the previous setting back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .errors import Error
from .program import Program
from .trace import Trace


@contextmanager
def enable_pre_allocated_outputs(program: Program, enabled: bool = True) -> Iterator[Program]:
    """Reuse memory from run to run (`True`, the default of every program), or allocate each tensor when it is made (`False`).

    The answers are the same, bit for bit. The switch is the program's, for all threads; blocks nest, and each restores what it
    found. Runs that are in flight when it changes finish as they began.
    """
    _check_program("enable_pre_allocated_outputs", program)
    previous = program.pre_allocated_outputs
    program.pre_allocated_outputs = enabled
    try:
        yield program
    finally:
        program.pre_allocated_outputs = previous


@contextmanager
def trace(program: Program) -> Iterator[Trace]:
    """Notes what the runs that begin within the block do, and when, in all threads: each node, and an engine's layers where it can
    tell (TensorRT; OpenVINO if compiled with options={"PERF_COUNT": "YES"}).

    `print(trace)` tells where the time went, `trace.save("trace.json")` writes a timeline. Traced runs are slower: on a device each
    waits for its work. Ranges of NVTX go to NVIDIA's profilers meanwhile. A run that raises is not noted. Blocks do not nest: the
    inner one's trace gets the runs, and after it none does.
    """
    _check_program("trace", program)
    traced = Trace()
    program._session.set_trace(traced._native)
    try:
        yield traced
    finally:
        program._session.set_trace(None)


def _check_program(function: str, program: object) -> None:
    if not isinstance(program, Program):
        raise Error("invalid argument", f"{function} takes a tenure.Program, not a {type(program).__name__}")
