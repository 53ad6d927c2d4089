"""Where random choices come from: a seed, hypothesis, or a recorded list. One generator of programs serves all three."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


class Draws:
    """Choices as integers, the simplest first, so that whatever makes integers smaller makes programs simpler."""

    def __init__(self, integer: Callable[[int, int], int]):
        """`integer(low, high)` chooses, both ends included."""
        self.integer = integer

    def choice(self, options: Sequence[T]) -> T:
        """One of the options; the first is the simplest."""
        return options[self.integer(0, len(options) - 1)]

    def chance(self, percent: int) -> bool:
        """True with that probability; False is the simpler."""
        return self.integer(0, 99) >= 100 - percent

    def weighted(self, options: Sequence[tuple[int, T]]) -> T:
        """One of the options, each with its weight."""
        rest = self.integer(0, sum(weight for weight, _ in options) - 1)
        for weight, option in options:
            if rest < weight:
                return option
            rest -= weight
        raise AssertionError("the weights changed")

    def subset(self, options: Sequence[T], percent: int) -> list[T]:
        """Each of the options with that probability."""
        return [option for option in options if self.chance(percent)]


class RecordedDraws(Draws):
    """From a seed, with what was chosen in `taken`; or from an earlier `taken`, edited: what does not fit any more becomes the
    nearest that does, and what is missing the simplest."""

    def __init__(self, seed: str | None = None, recorded: Sequence[int] | None = None):
        """Of the two, one."""
        super().__init__(self._integer)
        self.taken: list[int] = []
        self._random = random.Random(seed) if recorded is None else None
        self._recorded = iter(recorded or ())

    def _integer(self, low: int, high: int) -> int:
        if self._random is not None:
            value = self._random.randint(low, high)
        else:
            value = min(max(next(self._recorded, low), low), high)
        self.taken.append(value)
        return value
