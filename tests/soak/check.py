"""One program from draws to verdict."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from .building import Built, RefusedByExport, build
from .cases import Case, draw_case
from .draws import Draws
from .maker import Refused
from .worlds import Mismatch, ReferenceFailed, Worlds


@dataclass
class Verdict:
    """What became of a program: "passed", "refused by torch.export", "torch.export differs from eager", or "FAILED"."""

    case: Case
    outcome: str
    reason: str = ""
    facts: dict[str, int] = field(default_factory=dict)


def check(case: Case, check_ownership: bool = False) -> Verdict:
    """Builds and runs it. Only a failure of Tenure's is called one."""
    try:
        built = build(case, check_ownership)
    except RefusedByExport as error:
        return Verdict(case, "refused by torch.export", str(error))
    except Exception as error:
        return Verdict(case, "FAILED", f"no program: {type(error).__name__}: {error}")
    strides = case.build.plain or case.dense
    facts = _facts(case, built)
    try:
        Worlds(case, built.program, case.model, strides).run_all()
    except (Mismatch, ReferenceFailed) as error:
        if _export_agrees(case, check_ownership, strides):
            return Verdict(case, "torch.export differs from eager", str(error), facts)
        return Verdict(case, "FAILED", str(error), facts)
    return Verdict(case, "passed", facts=facts)


def _export_agrees(case: Case, check_ownership: bool, strides: bool) -> bool:
    """Whether the module that torch.export makes does the same as Tenure."""
    built = build(case, check_ownership)
    try:
        Worlds(case, built.program, built.module, strides).run_all()
    except (Mismatch, ReferenceFailed):
        return False
    return True


def _facts(case: Case, built: Built) -> dict[str, int]:
    engines = built.program.engines
    return {
        "engines": len(engines),
        "most_outputs": max((len(engine.outputs) for engine in engines.values()), default=0),
        "plain": case.build.plain,
        "state": case.writes_state,
        "data_dependent": case.data_dependent,
        "dynamic": len(case.signatures) > 1,
        "dense": case.dense,
    }


def draw_and_check(draws: Draws, check_ownership: bool = False) -> Verdict | None:
    """None if no program could be drawn."""
    torch.set_num_threads(1)
    try:
        case = draw_case(draws)
    except Refused:
        return None
    return check(case, check_ownership)
