"""Makes a failing case smaller while it still fails: fewer steps, fewer statements, fewer results, plainer inputs."""

from __future__ import annotations

import ast
import time
from collections.abc import Iterator
from dataclasses import replace

import torch

from .cases import Build, Case
from .check import FAILED, Verdict, check

SECONDS = 90


def shrunk(verdict: Verdict, seconds: float = SECONDS) -> Verdict:
    """The smallest found within that time that fails in the same way."""
    deadline = time.monotonic() + seconds
    kind = _kind(verdict.reason)
    improved = True
    while improved and time.monotonic() < deadline:
        improved = False
        for smaller in _smaller(verdict.case):
            if time.monotonic() > deadline:
                break
            if not _runs_eagerly(smaller):
                continue
            tried = check(smaller)
            if tried.outcome == FAILED and _kind(tried.reason) == kind:
                verdict, improved = tried, True
                break
    return verdict


def _kind(reason: str) -> str:
    """What stays of a reason when the step that shows it changes."""
    told = reason if reason.startswith("no program") else reason.partition("\n")[2]
    return "".join(letter for letter in told.partition("\n")[0].partition(": eager")[0] if not letter.isdigit())


def _runs_eagerly(case: Case) -> bool:
    try:
        with torch.no_grad():
            case.model()(*case.arguments(0, 0))
    except Exception:
        return False
    return True


def _smaller(case: Case) -> Iterator[Case]:
    """From the boldest change to the smallest."""
    yield from _without_steps(case)
    yield from _without_lines(case)
    yield from _with_fewer_results(case)
    plain = Build(plain=case.build.plain, backend=case.build.backend)
    for simpler in (
        plain,
        replace(case.build, options=()),
        replace(case.build, split_seed=None),
        replace(case.build, torch_executed_ops=()),
    ):
        if simpler != case.build:
            yield replace(case, build=simpler)
    for k, each in enumerate(case.inputs):
        if each.layout != "dense":
            yield replace(case, inputs=(*case.inputs[:k], replace(each, layout="dense"), *case.inputs[k + 1 :]))
    for k, step in enumerate(case.steps):
        for change in ({"hold": ()}, {"feed": None}):
            if all(getattr(step, name, value) != value for name, value in change.items()):
                yield replace(case, steps=(*case.steps[:k], replace(step, **change), *case.steps[k + 1 :]))


def _without_steps(case: Case) -> Iterator[Case]:
    size = len(case.steps)
    while size:
        for begin in range(len(case.steps) - size, -1, -size):
            yield replace(case, steps=(*case.steps[:begin], *case.steps[begin + size :]))
        size //= 2


def _without_lines(case: Case) -> Iterator[Case]:
    lines = case.source.splitlines()
    for k in range(len(lines) - 1, -1, -1):
        if lines[k].startswith("        ") and not lines[k].lstrip().startswith(("return", "super")):
            yield replace(case, source="\n".join([*lines[:k], *lines[k + 1 :]]) + "\n")


def _with_fewer_results(case: Case) -> Iterator[Case]:
    lines = case.source.splitlines()
    value = ast.parse(lines[-1].strip().removeprefix("return ")).body[0].value
    if isinstance(value, ast.Dict):
        value = ast.Tuple(value.values)
    if isinstance(value, ast.Tuple | ast.List):
        for k in range(len(value.elts)):
            left = [ast.unparse(each) for each in [*value.elts[:k], *value.elts[k + 1 :]]]
            if left:
                yield replace(case, source="\n".join([*lines[:-1], f"        return ({', '.join(left)},)"]) + "\n")
