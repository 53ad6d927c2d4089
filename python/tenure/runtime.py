"""Switches of how programs run. Each is a context manager that puts the previous setting back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .errors import Error
from .program import Program


@contextmanager
def enable_pre_allocated_outputs(program: Program, enabled: bool = True) -> Iterator[Program]:
    """Reuse memory from run to run (`True`, the default of every program), or allocate each tensor when it is made (`False`).

    The answers are the same, bit for bit. The switch is the program's, for all threads; blocks nest, and each restores what it
    found. Runs that are in flight when it changes finish as they began.
    """
    if not isinstance(program, Program):
        raise Error("invalid argument", f"enable_pre_allocated_outputs takes a tenure.Program, not a {type(program).__name__}")
    previous = program.pre_allocated_outputs
    program.pre_allocated_outputs = enabled
    try:
        yield program
    finally:
        program.pre_allocated_outputs = previous
