"""One case through torch.export, torch.export.save and tenure.load, compared with eager PyTorch call by call."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from op_cases import Case, seed_everything
from op_compare import Difference, Effect, differences, effect_of
from op_memory import content, copies, has_other_values, paired_values, reversed_values, same_bits, strides_of, transposed_copies

import tenure


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
    optional: bool = False  # made-up values need not suit the model
    restrided: bool = False  # not what was exported: only where torch's own module does as eager PyTorch does


class Route(StrEnum):
    """From the exported program to one that Tenure runs; the text is the table's."""

    FILE = "torch.export.save and tenure.load"
    ENGINES = "tenure.compile, with null engines for each operator that an engine may take"


@dataclass(frozen=True)
class Eager:
    """A schedule, what eager PyTorch does in each call, and what the buffers that it changed hold in the end."""

    steps: list[Step]
    effects: list[Effect]
    state: dict[str, torch.Tensor]
    route: Route

    def differences(self, got: Effect, want: Effect) -> list[Difference]:
        """By what the route promises: of engines' results, the strides of dimensions that have more than one element."""
        return differences(got, want, effective_strides=self.route is Route.ENGINES)


SESSIONS = {"": {}, "with check_ownership, ": {"check_ownership": True}}


def try_case(case: Case, route: Route = Route.FILE) -> Verdict:
    """Raises only what eager PyTorch raises."""
    with tempfile.TemporaryDirectory(prefix="op-coverage-") as folder:
        verdict = _try_in(folder, case, route)
        return dataclasses.replace(verdict, detail=verdict.detail.replace(f"{folder}/", ""))


def _try_in(folder: str, case: Case, route: Route) -> Verdict:
    path = f"{folder}/model.pt2"
    stage = "export"
    try:
        exported = _export(case)
        stage = "save"
        torch.export.save(exported, path)
    except Exception as error:
        return Verdict(Outcome.REFUSED_BY_EXPORT, f"{stage}: {root_cause(error)}")
    eager = _run_eager(case, exported, route)
    for kind, options in SESSIONS.items():
        try:
            if route is Route.FILE:
                program = tenure.load(path, session_options=options)
            else:
                program = tenure.compile(exported, backend="null", min_block_size=1, session_options=options, progress=False)
        except Exception as error:
            return _refusal(error, "load" if route is Route.FILE else "compile")
        verdict = _compare(case, eager, program)
        if verdict.outcome is not Outcome.PASSED:
            return _settled(verdict, case, eager, program, exported, path, kind)
    return verdict


def _export(case: Case) -> torch.export.ExportedProgram:
    args, kwargs = copies((case.args, case.kwargs))
    with torch.no_grad():
        return torch.export.export(case.make_model(), args, kwargs, dynamic_shapes=case.dynamic_shapes, strict=False)


def _run_eager(case: Case, exported: torch.export.ExportedProgram, route: Route) -> Eager:
    """Without the calls that eager PyTorch does not take. State goes on from call to call."""
    steps = [step for step in _steps(case) if not step.optional or _is_taken(case, step, exported)]
    steps = [step for step in steps if not step.restrided or route is Route.FILE]  # engines keep the strides that were exported
    model = case.make_model()
    before = _contents(model)
    effects = [_run(model, step, case) for step in steps]
    state = {name: tensor for name, tensor in _contents(model).items() if not same_bits(tensor, before[name])}
    return Eager(steps, effects, state, route)


def _contents(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: content(tensor) for name, tensor in model.state_dict().items() if isinstance(tensor, torch.Tensor)}


def _is_taken(case: Case, step: Step, exported: torch.export.ExportedProgram) -> bool:
    try:
        want = _run(case.make_model(), step, case)
        return not step.restrided or not differences(_run(copy.deepcopy(exported).module(), step, case), want)
    except Exception:
        return False


def _steps(case: Case) -> Iterator[Step]:
    given = (case.args, case.kwargs)
    yield Step("first run", *given)
    yield Step("second run", *given, held=False)
    yield Step("third run", *given)
    for name, change in (("with other values", reversed_values), ("with paired values", paired_values)):
        other = copies(given, change)
        if has_other_values(given, other):
            yield Step(name, *other, optional=True)
    if strides_of(other := transposed_copies(given)) != strides_of(given):
        yield Step("with other strides", *other, optional=True, restrided=True)
        yield Step("again with other strides", *other, optional=True, restrided=True)
    if case.further_args is not None:
        yield Step("with other sizes", case.further_args, case.kwargs)
        yield Step("again with other sizes", case.further_args, case.kwargs)
    yield Step("last run", *given)
    yield Step("without pre-allocated outputs", *given, pre_allocated=False)


def _run(call: Callable[..., Any], step: Step, case: Case) -> Effect:
    args, kwargs = copies((step.args, step.kwargs))
    seed_everything()
    return effect_of(call, args, kwargs, values=case.unwritten is None)


def _run_program(program: tenure.Program, step: Step, case: Case) -> Effect:
    with tenure.runtime.enable_pre_allocated_outputs(program, step.pre_allocated):
        return _run(program, step, case)


def _compare(case: Case, eager: Eager, program: tenure.Program) -> Verdict:
    held: list[tuple[Step, Effect]] = []
    for step, want in zip(eager.steps, eager.effects, strict=True):
        try:
            got = _run_program(program, step, case)
        except Exception as error:
            return _refusal(error, step.name)
        if found := eager.differences(got, want):
            return _wrong(step.name, found)
        if step.held:
            held.append((step, got))
        del got  # the memory of results that are not held is the next run's
    for step, got in held:
        for text in got.changed():
            return Verdict(Outcome.WRONG, "a held result changed", f"{step.name}: {text}")
    return _compare_state(case, eager, program)


def _compare_state(case: Case, eager: Eager, program: tenure.Program) -> Verdict:
    """What the program says its state is; and that without it the first run is the first run again."""
    state = program.state_dict()
    for name, tensor in eager.state.items():
        if name not in state:
            return Verdict(Outcome.WRONG, "state that state_dict() does not tell", name)
        if not same_bits(content(state[name]), tensor):
            return Verdict(Outcome.WRONG, "state after the runs", name)
    if eager.state:
        program.reset_state()
        if found := eager.differences(_run_program(program, eager.steps[0], case), eager.effects[0]):
            return _wrong("first run after reset_state()", found)
    return Verdict(Outcome.PASSED)


def _wrong(where: str, found: list[Difference]) -> Verdict:
    what = ", ".join(dict.fromkeys(each.what for each in found))
    return Verdict(Outcome.WRONG, what, f"{where}: " + "; ".join(each.detail for each in found))


def _refusal(error: Exception, where: str) -> Verdict:
    if not isinstance(error, tenure.Error):
        return Verdict(Outcome.WRONG, f"raised {_name(error)} instead of tenure.Error", f"{where}: {first_line(error)}")
    at_fault = error.code in ("ownership", "internal")  # which are never the program's
    outcome = Outcome.WRONG if at_fault else Outcome.REFUSED_BY_TENURE
    return Verdict(outcome, f"{error.code}: {first_line(error.message)}", f"{where}: {error}")


def _settled(
    verdict: Verdict,
    case: Case,
    eager: Eager,
    program: tenure.Program,
    exported: torch.export.ExportedProgram,
    path: str,
    session: str,
) -> Verdict:
    """The verdict, unless it is torch.export that made the difference."""
    rounds_otherwise = eager.route is Route.ENGINES and verdict.reason == "values of a result"
    for theirs, whose in _torchs_own(exported, path, decomposed=rounds_otherwise):
        if _does_the_same(theirs, case, eager, program):
            return Verdict(Outcome.EXPORT_DIFFERS, verdict.reason, f"{whose}: {session}{verdict.detail}")
    return Verdict(verdict.outcome, verdict.reason, f"{session}{verdict.detail}")


def _torchs_own(exported: torch.export.ExportedProgram, path: str, decomposed: bool) -> Iterator[tuple[torch.nn.Module, str]]:
    """What torch makes of the same export: at once, and from the file, to which not everything goes.

    `decomposed`: also in functional form, in which some operators (softshrink, multi_margin_loss) are several, and round otherwise.
    It is a judge of nothing else: where it shares memory or writes otherwise, an engine must not be made of it.
    """
    yield copy.deepcopy(exported).module(), "as the exported module"
    if decomposed:
        with contextlib.suppress(Exception):  # of torch's own decompositions
            yield exported.run_decompositions({}).module(check_guards=False), "as the decomposed module"
    try:
        yield torch.export.load(path).module(), "as the module from the file"
    except Exception:  # torch does not read all that it writes
        return


def _does_the_same(theirs: torch.nn.Module, case: Case, eager: Eager, program: tenure.Program) -> bool:
    """Whether torch's own module differs from eager, in the same calls and in the same way as Tenure's program does."""
    program.reset_state()
    differed = False
    for step, want in zip(eager.steps, eager.effects, strict=True):
        ours, torchs = _or_none(_run_program, program, step, case), _or_none(_run, theirs, step, case)
        if (ours is None) != (torchs is None):
            return False
        if ours is None:
            return True  # both raise
        if eager.differences(ours, torchs):
            return False
        differed = differed or bool(eager.differences(torchs, want))
    return differed


def _or_none(run: Callable[..., Effect], *arguments: Any) -> Effect | None:
    try:
        return run(*arguments)
    except Exception:
        return None


def first_line(error: object) -> str:
    return str(error).strip().split("\n", 1)[0][:200]


def root_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{_name(error)}: {first_line(error)}"


def _name(error: BaseException) -> str:
    return type(error).__name__
