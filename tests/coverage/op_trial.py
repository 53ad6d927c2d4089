"""One case through torch.export, torch.export.save and tenure.load, compared with eager PyTorch call by call."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch

import tenure
from op_cases import Case, seed_everything
from op_compare import Difference, Effect, differences, effect_of
from op_memory import copies, has_other_values, paired_values, reversed_values


class Outcome(StrEnum):
    """Of a case; the text is the table's heading."""

    PASSED = "passed"
    REFUSED_BY_EXPORT = "refused by export"
    EXPORT_DIFFERS = "export differs from eager"
    REFUSED_BY_TENURE = "refused by Tenure"
    WRONG = "wrong"
    CRASHED = "crashed"


@dataclass(frozen=True)
class Verdict:
    """An outcome and why: `reason` groups cases of one cause, `detail` is the case's own."""

    outcome: Outcome
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Step:
    """One call of a schedule."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    pre_allocated: bool = True
    held: bool = True  # its results, until the last call is done


def try_case(case: Case) -> Verdict:
    """Never raises."""
    with tempfile.TemporaryDirectory(prefix="op-coverage-") as folder:
        path = f"{folder}/model.pt2"
        try:
            exported = _export(case)
            torch.export.save(exported, path)
        except Exception as error:
            return Verdict(Outcome.REFUSED_BY_EXPORT, first_line(error), _name(error))
        try:
            program = tenure.load(path)
        except Exception as error:
            return _refusal(error, "load")
        schedule, eager = _eager_schedule(case)
        verdict = _compare(case, schedule, eager, program)
        if verdict.outcome in (Outcome.WRONG, Outcome.REFUSED_BY_TENURE) and _is_exports_doing(case, schedule, eager, program, path):
            return Verdict(Outcome.EXPORT_DIFFERS, verdict.reason, verdict.detail)
        return verdict


def _export(case: Case) -> torch.export.ExportedProgram:
    args, kwargs = copies((case.args, case.kwargs))
    with torch.no_grad():
        return torch.export.export(case.make_model(), args, kwargs, dynamic_shapes=case.dynamic_shapes, strict=False)


def _eager_schedule(case: Case) -> tuple[list[Step], list[Effect]]:
    """The calls that eager PyTorch takes, and what it does in each. State goes on from call to call."""
    model = case.make_model()
    steps, effects = [], []
    for step in _steps(case):
        try:
            effects.append(_run(model, step, case))
        except Exception:
            if step.name.startswith("with"):  # other values need not be valid: no matter, and eager has no state to spoil
                continue
            raise
        steps.append(step)
    return steps, effects


def _steps(case: Case) -> Iterator[Step]:
    given = (case.args, case.kwargs)
    yield Step("first run", *given)
    yield Step("second run", *given, held=False)
    yield Step("third run", *given)
    for name, change in (("with other values", reversed_values), ("with paired values", paired_values)):
        other = copies(given, change)
        if has_other_values(given, other):
            yield Step(name, *other)
    if case.further_args is not None:
        yield Step("with other sizes", case.further_args, case.kwargs)
    yield Step("last run", *given)
    yield Step("run without pre-allocated outputs", *given, pre_allocated=False)


def _run(call: Callable[..., Any], step: Step, case: Case) -> Effect:
    args, kwargs = copies((step.args, step.kwargs))
    seed_everything()
    return effect_of(call, args, kwargs, values=case.unwritten is None)


def _compare(case: Case, schedule: list[Step], eager: list[Effect], program: tenure.Program) -> Verdict:
    held: list[tuple[Step, Effect]] = []
    for step, want in zip(schedule, eager, strict=True):
        try:
            with tenure.runtime.enable_pre_allocated_outputs(program, step.pre_allocated):
                got = _run(program, step, case)
        except Exception as error:
            return _refusal(error, step.name)
        if found := differences(got, want):
            return _wrong(step.name, found)
        if step.held:
            held.append((step, got))
    for step, got in held:
        for text in got.changed():
            return Verdict(Outcome.WRONG, "a held result changed", f"{step.name}: {text}")
    return _compare_state(case, schedule, program)


def _compare_state(case: Case, schedule: list[Step], program: tenure.Program) -> Verdict:
    """The buffers that the runs changed."""
    state = program.state_dict()
    if not state:
        return Verdict(Outcome.PASSED)
    model = case.make_model()
    for step in schedule:
        _run(model, step, case)
    for name, tensor in model.state_dict().items():
        if name in state and not torch.equal(state[name], tensor):
            return Verdict(Outcome.WRONG, "state after the runs", name)
    return Verdict(Outcome.PASSED)


def _wrong(where: str, found: list[Difference]) -> Verdict:
    what = ", ".join(dict.fromkeys(each.what for each in found))
    return Verdict(Outcome.WRONG, what, f"{where}: " + "; ".join(each.detail for each in found))


def _refusal(error: Exception, where: str) -> Verdict:
    if isinstance(error, tenure.Error):
        return Verdict(Outcome.REFUSED_BY_TENURE, f"{error.code}: {first_line(error.message)}", f"{where}: {error}")
    return Verdict(Outcome.WRONG, f"raised {_name(error)} instead of tenure.Error", f"{where}: {first_line(error)}")


def _is_exports_doing(case: Case, schedule: list[Step], eager: list[Effect], program: tenure.Program, path: str) -> bool:
    """Whether torch's own program differs from eager, in the same calls and in the same way as Tenure's does."""
    program.reset_state()
    theirs = torch.export.load(path).module()
    differed = False
    for step, want in zip(schedule, eager, strict=True):
        ours, torchs = _outcome(program, step, case), _outcome(theirs, step, case)
        if isinstance(ours, Effect) != isinstance(torchs, Effect):
            return False
        if not isinstance(torchs, Effect):
            return True  # both raise
        if differences(ours, torchs):
            return False
        differed = differed or bool(differences(torchs, want))
    return differed


def _outcome(call: Callable[..., Any], step: Step, case: Case) -> Effect | None:
    try:
        if isinstance(call, tenure.Program):
            with tenure.runtime.enable_pre_allocated_outputs(call, step.pre_allocated):
                return _run(call, step, case)
        return _run(call, step, case)
    except Exception:
        return None


def first_line(error: object) -> str:
    return str(error).strip().split("\n", 1)[0][:200]


def _name(error: Exception) -> str:
    return type(error).__name__
