"""What a program tells of itself: who owns each value (Explanation) and the counters of its runs (Stats)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import rich.table

_COLOURS = {"borrowed": "dim", "view": "cyan", "standing": "green", "leased": "yellow", "fresh": "red"}


@dataclass(frozen=True)
class Stats:
    """Counters of a program since it was made; bytes are of memory reserved now. `stats["runs"]` and `dict(stats)` work too."""

    runs: int
    observing_runs: int  # first runs of a signature
    replays: int  # runs from a plan
    deviations: int  # replays that met an operator behaving otherwise than observed, and went on without the plan
    frames: int  # runs that were in flight at once, at most
    plans: int
    plan_bytes: int  # host memory of all plans, about; session_options' max_plan_bytes bounds it
    engine_blocks: int
    aten_blocks: int
    standing_bytes: int  # arenas, and the own buffers of standing values
    leased_bytes: int  # slots, held or free
    abandoned_bytes: int  # arenas that an operator kept memory in beyond a run: never used again, nor given back
    fresh_bytes: int  # allocated in the last run for values marked fresh
    slots: int
    held_slots: int  # slots whose tensor somebody still holds
    slot_overflows: int  # results that found all max_output_slots held and became plain allocations
    last_run_allocations: int  # requests of the last run that the ordinary allocator served

    def keys(self) -> Iterator[str]:
        return (each.name for each in fields(self))

    def __getitem__(self, name: str) -> int:
        if name not in set(self.keys()):
            raise KeyError(name)
        return getattr(self, name)

    def __str__(self) -> str:
        width = max(map(len, self.keys()))
        return "\n".join(f"{name:<{width}}  {self[name]:>13,}" for name in self.keys())


@dataclass(frozen=True)
class ValueExplanation:
    """Who owns one value's memory, where it lies and why."""

    value: str  # its name in the graph
    node: str  # the node that makes it; empty for inputs
    target: str  # that node's operator or engine; empty for inputs
    ownership: str  # "borrowed", "view", "standing", "leased" or "fresh"
    bytes: int | None  # of its memory; None for a view, or where the sizes are not known
    arena_offset: int | None  # bytes; standing values with a fixed size
    slot: int | None  # leased values: which of the program's slots
    where: str  # "arena", "arena on cuda:0", "own buffer", "slot 0", "caller", "weight", "state", "view of x", "allocator"
    first_node: int  # life: index of the node that makes it; -1 for inputs
    last_node: int  # index of the last node that uses it or a view of it
    reason: str


@dataclass(frozen=True)
class Explanation:
    """Who owns each value and why. Prints as a table, in colour through `rich.print`."""

    values: list[ValueExplanation]
    signature: str  # the inputs of the run that the sizes are of: "f32[1, 3, 224, 224]"; empty before the first run
    basis: str  # what it rests on: an observed run, or the file alone
    arena_bytes: int | None  # that the plan needs; None where a standing value's size is not known
    table: str = field(repr=False)
    _json: str = field(repr=False)

    def __str__(self) -> str:
        return self.table

    def json(self) -> str:
        """One object: basis, signature, arena_bytes, and values as an array of objects with ValueExplanation's fields."""
        return self._json

    def __rich__(self) -> rich.table.Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(title=f"Owners, {self.basis}")
        for column in ("value", "made by", "owner", "bytes", "where", "life", "why"):
            table.add_column(column, justify="right" if column == "bytes" else "left", overflow="fold")
        for value in self.values:
            table.add_row(
                Text(value.value),
                Text(value.target),
                Text(value.ownership, style=_COLOURS.get(value.ownership, "")),
                "" if value.bytes is None else f"{value.bytes:,}",
                Text(value.where if value.arena_offset is None else f"{value.where} +{value.arena_offset:,}"),
                f"{'' if value.first_node < 0 else value.first_node}..{value.last_node}",
                Text(value.reason),
            )
        return table


def explanation_from(description: dict[str, Any]) -> Explanation:
    """From what the C++ session describes."""
    values = [ValueExplanation(**value) for value in description["values"]]
    return Explanation(
        values=values,
        signature=description["signature"],
        basis=description["basis"],
        arena_bytes=description["arena_bytes"],
        table=description["table"],
        _json=description["json"],
    )
