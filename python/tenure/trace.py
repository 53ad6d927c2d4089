"""What a program's runs did and when: `with tenure.runtime.trace(program) as trace: ...`, then `print(trace)`."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import _tenure
from .atomic_file import replacing

if TYPE_CHECKING:
    import rich.table

_MAX_SPANS = 1_000_000


@dataclass(frozen=True)
class Span:
    """Something that took time. A run holds its nodes, an engine's node the engine's layers."""

    name: str  # of the node; of a layer as its engine calls it; of a run "replay", "observing run" or "plain run"
    target: str  # of a node its operator or engine, of a layer its engine; empty for a run
    kind: str  # "run", "operator", "scalar" (arithmetic on sizes), "engine" or "layer"
    clock: str  # "host": until the call returned; "device": until the device was done with it, after what came before
    run: int  # of the program's traced runs, from 1
    thread: int  # of the threads that run, from 1
    begin_ns: int  # since the trace began
    duration_ns: int


@dataclass(frozen=True)
class Counter:
    """How much there was at the end of a run: "standing bytes", "leased bytes", "allocations" (in that run)."""

    name: str
    time_ns: int
    value: int


@dataclass(frozen=True)
class Times:
    """One node or layer over all its runs, in microseconds a run; `device` is None on the CPU, `host` for layers on a device."""

    name: str
    target: str
    kind: str
    runs: int
    host: float | None
    device: float | None


class Trace:
    """What was noted so far. Prints as a table of where the time of replays went; `save` writes it for a timeline's viewer.

    Thread-safe. It keeps a million spans; later runs are counted in `dropped_runs`.
    """

    def __init__(self):
        """Use tenure.runtime.trace."""
        self._native = _tenure.Trace(_MAX_SPANS)

    @property
    def spans(self) -> list[Span]:
        """In the order in which runs ended, and within a run of its nodes."""
        return [Span(*fields) for fields in self._native.spans()]

    @property
    def counters(self) -> list[Counter]:
        return [Counter(*fields) for fields in self._native.counters()]

    @property
    def dropped_runs(self) -> int:
        return self._native.dropped_runs()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes Chrome's trace format, which ui.perfetto.dev and chrome://tracing show.

        Raises Error if the path cannot be written.
        """
        with replacing(path) as file:
            file.write(self._native.to_chrome_json().encode())

    def times(self) -> list[Times]:
        """Of each node and layer, the longest first; of replays, if there are any, else of all runs."""
        return _times(self.spans)

    def __str__(self) -> str:
        rows = [_cells(times, share) for times, share in _shares(self.times())]
        widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows, strict=True)]
        right = {_COLUMNS.index(name) for name in _NUMBERS}
        lines = [
            "  ".join(
                cell.rjust(width) if k in right else cell.ljust(width)
                for k, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in [_COLUMNS, *rows]
        ]
        return "\n".join(line.rstrip() for line in lines)

    def __rich__(self) -> rich.table.Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(title="Where the time of a run goes, in microseconds")
        for name in _COLUMNS:
            table.add_column(name, justify="right" if name in _NUMBERS else "left", overflow="fold")
        for times, share in _shares(self.times()):
            table.add_row(*map(Text, _cells(times, share)), style="dim" if times.kind == "layer" else "")
        return table


_COLUMNS = ("node", "target", "kind", "runs", "host us", "device us", "share")
_NUMBERS = ("runs", "host us", "device us", "share")


def _times(spans: list[Span]) -> list[Times]:
    replays = {span.run for span in spans if span.kind == "run" and span.name == "replay"}
    sums: dict[tuple[str, str, str], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for span in spans:
        if span.kind != "run" and (not replays or span.run in replays):
            sums[span.name, span.target, span.kind][span.clock].append(span.duration_ns)
    found = [
        Times(name, target, kind, max(map(len, clocks.values())), _mean(clocks["host"]), _mean(clocks["device"]))
        for (name, target, kind), clocks in sums.items()
    ]
    return sorted(found, key=_longest, reverse=True)


def _mean(durations: list[int]) -> float | None:
    return sum(durations) / len(durations) / 1000 if durations else None


def _longest(times: Times) -> float:
    return times.device if times.device is not None else times.host or 0.0


def _shares(every: list[Times]) -> Iterable[tuple[Times, float | None]]:
    """Of the time of all nodes; a layer's time is a part of its engine's."""
    whole = sum(_longest(times) for times in every if times.kind != "layer")
    for times in every:
        yield times, None if times.kind == "layer" or not whole else _longest(times) / whole


def _cells(times: Times, share: float | None) -> tuple[str, ...]:
    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.1f}"

    return (
        times.name,
        times.target,
        times.kind,
        str(times.runs),
        number(times.host),
        number(times.device),
        "" if share is None else f"{share:.1%}",
    )
