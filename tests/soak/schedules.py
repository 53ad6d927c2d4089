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
    hold: tuple[tuple[int, str], ...] = ()  # which of the flat results, modulo their number, and as what
    feed: int | None = None  # writes new numbers into this held result and passes it as an argument, where it fits
    twin: bool = False  # passes one tensor for two inputs, where they are alike
    layouts: int | None = None  # lays the inputs out otherwise than they were exported, by this number


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
    """Calls from several threads at once, each with its own arguments."""

    runs: tuple[tuple[tuple[int, int], ...], ...]  # by thread: signature and seed of each call


@dataclass(frozen=True)
class Trim:
    """Gives memory back."""


@dataclass(frozen=True)
class Reset:
    """Puts state back to what the file holds."""


Step = Run | Drop | Write | Inspect | Reuse | Together | Trim | Reset


def draw_steps(draws: Draws, signatures: int, may_thread: bool) -> list[Step]:
    """8 to 16 runs, with what a caller may do between them."""
    steps: list[Step] = []
    count = draws.integer(8, 16)
    threads_after = draws.integer(1, count) if may_thread and draws.chance(30) else None
    for k in range(count):
        feed = draws.integer(0, 9) if draws.chance(20) else None
        layouts = draws.integer(0, 99) if draws.chance(25) else None
        steps.append(Run(draws.integer(0, signatures - 1), draws.integer(0, 999), _holds(draws), feed, draws.chance(10), layouts))
        steps += [_between(draws) for _ in range(draws.weighted([(5, 0), (4, 1), (1, 2)]))]
        if k + 1 == threads_after:
            steps.append(_together(draws, signatures))
    return steps


def _holds(draws: Draws) -> tuple[tuple[int, str], ...]:
    which = draws.weighted([(3, "none"), (7, "some"), (2, "all")])
    if which == "none":
        return ()
    numbers = range(6) if which == "all" else [draws.integer(0, 5) for _ in range(draws.integer(1, 2))]
    return tuple((number, draws.choice(HOLDS)) for number in numbers)


def _between(draws: Draws) -> Step:
    kind = draws.weighted([(8, Drop), (4, Write), (3, Reuse), (1, Inspect), (1, Trim), (1, Reset)])
    if kind is Drop:
        return Drop(None if draws.chance(20) else draws.integer(0, 9))
    if kind is Write:
        return Write(draws.integer(0, 9), draws.integer(0, 3))
    return Reuse(not draws.chance(35)) if kind is Reuse else kind()


def _together(draws: Draws, signatures: int) -> Together:
    def one() -> tuple[int, int]:
        return draws.integer(0, signatures - 1), draws.integer(0, 999)

    return Together(tuple(tuple(one() for _ in range(draws.integer(2, 4))) for _ in range(draws.integer(3, 4))))
