"""Where random choices come from: a seed, or hypothesis. One generator of programs serves both."""

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


def draws_from_seed(seed: str) -> Draws:
    """The same choices for the same seed, on every machine."""
    return Draws(random.Random(seed).randint)
