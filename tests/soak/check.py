"""One program from draws to verdict."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

import tenure

from .building import Built, RefusedByExport, build
from .cases import Case
from .compare import EFFECTIVE, EXACT
from .draws import Draws
from .generator import draw_case
from .maker import Refused
from .worlds import Mismatch, ReferenceFailed, Worlds

PASSED = "passed"
REFUSED = "refused by torch.export"  # or by eager PyTorch
DIFFERS = "torch.export differs from eager"  # and Tenure does what torch.export does
FAILED = "FAILED"


@dataclass
class Verdict:
    """What became of a program."""

    case: Case
    outcome: str
    reason: str = ""
    facts: dict[str, int] = field(default_factory=dict)


def check(case: Case) -> Verdict:
    """Builds and runs it."""
    torch.set_num_threads(1)
    try:
        built = build(case)
    except RefusedByExport as error:
        return Verdict(case, REFUSED, str(error))
    except Exception as error:
        return Verdict(case, FAILED, f"no program: {type(error).__name__}: {error}\n{''.join(traceback.format_exception(error))}")
    facts = _facts(case, built)
    strides = EXACT if case.build.plain else EFFECTIVE
    worlds = Worlds(case, built.program, case.model, strides)
    try:
        worlds.run_all()
    except ReferenceFailed as error:
        return Verdict(case, REFUSED, f"eager PyTorch cannot run it: {error}")
    except Mismatch as error:
        refused = isinstance(error.__cause__, tenure.Error)
        outcome = DIFFERS if _does_what_export_does(case, built, strides, worlds.step, refused) else FAILED
        return Verdict(case, outcome, str(error), facts)
    return Verdict(case, PASSED, facts=facts)


def _does_what_export_does(case: Case, built: Built, strides: str, step: int, refused: bool) -> bool:
    """Whether the module that torch.export traced, without any code of Tenure's, gives what Tenure gives, or raises if Tenure
    `refused`.

    If it cannot run all steps, then as far as to the one where Tenure differed from eager PyTorch; nor need it take inputs that lie
    otherwise than they were exported, where `contiguous` was dropped, say, and a view asks for it. The functional form that
    torch.export can make of it is no judge: where it differs, Tenure must not use it.
    """
    worlds = Worlds(case, build(case).program, built.module, strides)
    try:
        worlds.run_all()
    except Mismatch:
        return False
    except ReferenceFailed:
        return refused or worlds.step > step or getattr(case.steps[worlds.step], "layouts", None) is not None
    return True


def _facts(case: Case, built: Built) -> dict[str, int]:
    engines = built.program.engines
    outputs = max((len(engine.outputs) for engine in engines.values()), default=0)
    return {
        "with engines": bool(engines),
        "with an engine of several outputs": outputs > 1,
        "loaded as torch.export saved them": case.build.plain,
        "with state": case.writes_state,
        "with sizes that depend on data": case.data_dependent,
        "with several signatures": len(case.signatures) > 1,
        "with threads": case.has_threads,
        "checking ownership": ("check_ownership", 1) in case.build.options,
    }


def verdict_of(make_draws: Callable[[int], Draws], check_ownership: bool = False, attempts: int = 20) -> Verdict:
    """Of the first program that torch.export takes among make_draws(0), make_draws(1)..."""
    verdict = None
    for attempt in range(attempts):
        try:
            case = draw_case(make_draws(attempt))
        except Refused:
            continue
        verdict = check(case.checking_ownership() if check_ownership else case)
        if verdict.outcome != REFUSED:
            return verdict
    if verdict is None:
        raise AssertionError("the generator makes no programs")
    return verdict
