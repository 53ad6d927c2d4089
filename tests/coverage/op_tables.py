"""The tables of a run: what became of how many cases, and why."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from op_cases import UNINITIALISED
from op_trial import Outcome, Route
from op_workers import Tried

KINDS = {
    "operator": "operators (op_db)",
    "inside": "operators on values made inside the program",
    "module": "modules (module_db)",
    "example": "examples (torch._export.db)",
}
REFUSALS_ALLOWED = 0.02  # of the cases that torch.export takes
NAMES_SHOWN = 12


def write_tables(tried: list[Tried], folder: Path, route: Route) -> Path:
    """table.md for people, results.json for programs. Returns the table's path."""
    folder.mkdir(parents=True, exist_ok=True)
    tried = sorted(tried, key=lambda each: (list(KINDS).index(each.subject.kind), each.case))
    records = [
        {"kind": each.subject.kind, "case": each.case, **asdict(each.verdict), "seconds": round(each.seconds, 2)} for each in tried
    ]
    (folder / "results.json").write_text(json.dumps(records, indent=1) + "\n")
    table = folder / "table.md"
    table.write_text("\n".join(_lines(tried, route)) + "\n")
    return table


def failures(tried: Iterable[Tried]) -> list[str]:
    """Why the run as a whole is no success; nothing if it is one."""
    counts = Counter(each.verdict.outcome for each in tried)
    found = [f"{counts[bad]} {bad}" for bad in (Outcome.WRONG, Outcome.CRASHED) if counts[bad]]
    exported = _exported(counts)
    if counts[Outcome.REFUSED_BY_TENURE] > REFUSALS_ALLOWED * exported:
        found.append(f"{counts[Outcome.REFUSED_BY_TENURE]} of {exported} refused by Tenure, over {REFUSALS_ALLOWED:.0%}")
    return found


def summary(tried: Iterable[Tried]) -> Iterator[str]:
    """Counts of each kind. Shares are of the cases that torch.export takes, its own of all."""
    by_kind = defaultdict(Counter)
    for each in tried:
        by_kind[each.subject.kind][each.verdict.outcome] += 1
        by_kind["all"][each.verdict.outcome] += 1
    yield "| | cases | " + " | ".join(Outcome) + " |"
    yield "|---|---:|" + "---:|" * len(Outcome)
    for kind, heading in {**KINDS, "all": "all"}.items():
        if counts := by_kind[kind]:
            cells = [_cell(counts, outcome) for outcome in Outcome]
            yield f"| {heading} | {counts.total()} | " + " | ".join(cells) + " |"


def _cell(counts: Counter, outcome: Outcome) -> str:
    of = counts.total() if outcome is Outcome.REFUSED_BY_EXPORT else _exported(counts)
    return f"{counts[outcome]} ({counts[outcome] / of:.1%})" if counts[outcome] else "0"


def _exported(counts: Counter) -> int:
    return counts.total() - counts[Outcome.REFUSED_BY_EXPORT]


def _lines(tried: list[Tried], route: Route) -> Iterator[str]:
    yield "# Coverage of PyTorch's operators, modules and export examples"
    yield ""
    yield (
        f"Each case went through torch.export.export (not strict), then {route}; it ran in two sessions, one with "
        "check_ownership, at least five times each: with the values that were exported, with others, with other strides (of files) "
        "where torch's own module takes them, and without pre-allocated outputs. Passed: in each run the values to the bit, "
        "dtypes, sizes, strides (of engines: those of dimensions that have more than one element), storage offsets, what shares "
        "memory with what, the inputs afterwards and the state are those of eager PyTorch, and no result that was held changed."
    )
    yield ""
    yield from summary(tried)
    yield ""
    yield "Shares are of the cases that torch.export takes; that of its own refusals is of all cases."
    for outcome in (Outcome.WRONG, Outcome.CRASHED, Outcome.REFUSED_BY_TENURE, Outcome.EXPORT_DIFFERS, Outcome.REFUSED_BY_EXPORT):
        yield from _groups(outcome, [each for each in tried if each.verdict.outcome is outcome])
    yield ""
    yield "## Without a look at values"
    yield ""
    yield from (f"- {name}: {reason}" for name, reason in UNINITIALISED.items())


def _groups(outcome: Outcome, tried: list[Tried]) -> Iterator[str]:
    if not tried:
        return
    groups = defaultdict(list)
    for each in tried:
        groups[each.verdict.reason].append(each)
    yield from ("", f"## {outcome[0].upper()}{outcome[1:]}", "", "| cases | reason | which |", "|---:|---|---|")
    for reason, members in sorted(groups.items(), key=lambda group: -len(group[1])):
        names = list(dict.fromkeys(each.case for each in members))
        shown = ", ".join(names[:NAMES_SHOWN]) + (f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else "")
        yield f"| {len(members)} | {_cell_text(reason)} | {_cell_text(shown)} |"
    if outcome is not Outcome.REFUSED_BY_EXPORT:
        yield from ("", *(f"- {each.case}: {_cell_text(each.verdict.detail)}" for each in tried if each.verdict.detail))


def _cell_text(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
