"""What a caller does with a program: a list of steps."""

from __future__ import annotations

from dataclasses import dataclass

from .draws import Draws

HOLDS = ("tensor", "tensor", "view", "numpy", "dlpack", "detached", "storage")


@dataclass(frozen=True)
class Run:
    """Calls the program and keeps some of the results."""

    signature: int
    seed: int
    hold: tuple[tuple[int, str], ...]  # which of the flat results, modulo their number, and as what
    feed: int | None = None  # writes new numbers into this held result and passes it as an argument, where it fits


@dataclass(frozen=True)
class Drop:
    """Lets go of one held result, modulo their number; of all, if None."""

    which: int | None


@dataclass(frozen=True)
class Write:
    """The caller writes into a held result."""

    which: int
    number: int


@dataclass(frozen=True)
class Inspect:
    """Asks for statistics and the explanation."""


@dataclass(frozen=True)
class Reuse:
    """Switches pre-allocated outputs on or off."""

    enabled: bool


@dataclass(frozen=True)
class Together:
    """Calls from several threads at once, each with its own arguments; odd results are dropped at once."""

    runs: tuple[tuple[tuple[int, int], ...], ...]  # by thread: signature and seed of each call


@dataclass(frozen=True)
class Trim:
    """Gives memory back, where the build can."""


@dataclass(frozen=True)
class Reset:
    """Puts state back to what the file holds, where the build can."""


Step = Run | Drop | Write | Inspect | Reuse | Together | Trim | Reset


def draw_steps(draws: Draws, signatures: int, inputs: int, may_thread: bool) -> list[Step]:
    """Some 10 runs, with what a caller may do between them."""
    steps: list[Step] = []
    threads_at = draws.integer(2, 7) if may_thread and draws.chance(25) else None
    for k in range(draws.integer(6, 12)):
        if k == threads_at:
            steps.append(_together(draws, signatures))
        steps.append(
            Run(
                draws.integer(0, signatures - 1),
                draws.integer(0, 999),
                _holds(draws),
                draws.integer(0, 9) if draws.chance(20) else None,
            )
        )
        for _ in range(draws.weighted([(5, 0), (4, 1), (1, 2)])):
            steps.append(
                draws.weighted(
                    [
                        (8, Drop(draws.integer(0, 9))),
                        (2, Drop(None)),
                        (4, Write(draws.integer(0, 9), draws.integer(0, 3))),
                        (1, Inspect()),
                        (1, Reuse(False)),
                        (2, Reuse(True)),
                        (1, Trim()),
                        (1, Reset()),
                    ]
                )
            )
    return steps


def _holds(draws: Draws) -> tuple[tuple[int, str], ...]:
    count = draws.weighted([(3, 0), (4, 1), (3, 2), (2, 6)])
    return tuple((k if count == 6 else draws.integer(0, 5), draws.choice(HOLDS)) for k in range(count))


def _together(draws: Draws, signatures: int) -> Together:
    def one() -> tuple[int, int]:
        return draws.integer(0, signatures - 1), draws.integer(0, 999)

    return Together(tuple(tuple(one() for _ in range(draws.integer(2, 4))) for _ in range(draws.integer(3, 4))))
