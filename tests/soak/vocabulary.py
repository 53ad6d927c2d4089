"""The registry of statements that a random module is made of, and what they share."""

from __future__ import annotations

from collections.abc import Callable

import torch

from .maker import INTS, TRUTH, ModuleMaker, Refused

Word = Callable[[ModuleMaker], object]
WORDS: list[tuple[int, Word]] = []  # each with its weight
WRITES: list[tuple[int, Word]] = []  # those that write in place


def word(weight: int) -> Callable[[Word], Word]:
    """Adds a function that writes one statement, or some, to the vocabulary; it raises Refused where it finds no operands."""
    return _adder(WORDS, weight)


def writing(weight: int) -> Callable[[Word], Word]:
    """The same for a statement that writes in place."""
    return _adder(WRITES, weight)


def _adder(vocabulary: list[tuple[int, Word]], weight: int) -> Callable[[Word], Word]:
    def add(function: Word) -> Word:
        vocabulary.append((weight, function))
        return function

    return add


def view(maker: ModuleMaker, name: str, expression: str) -> str:
    """A statement that makes a view, or a copy, of `name`."""
    return maker.let(expression, maker.bounds_of(name), unbacked=name in maker.unbacked)


def dim_of(maker: ModuleMaker, name: str) -> int:
    """Any dimension, counted from either end."""
    rank = maker.tensor(name).dim()
    if rank == 0:
        raise Refused
    return maker.draws.integer(0, rank - 1) - (rank if maker.draws.chance(30) else 0)


def fixed_dim(maker: ModuleMaker, name: str, least: int = 1) -> tuple[int, int]:
    """A dimension with the same size in every signature, and that size."""
    dims = maker.fixed_dims(name, least)
    if not dims:
        raise Refused
    dim = maker.draws.choice(dims)
    return dim, maker.tensor(name).size(dim)


def index_below(maker: ModuleMaker, size: int, rank: int = 0, most_rank: int = 9) -> str:
    """int64 numbers below `size`, made of some integers."""
    a = maker.pick((*INTS, torch.bool), rank, where=lambda name: maker.tensor(name).dim() <= most_rank)
    cast = "" if maker.tensor(a).dtype == torch.int64 else ".to(torch.int64)"
    return maker.let(f"{a}{cast}.remainder({size})", TRUTH)


def partner(maker: ModuleMaker, a: str) -> str:
    """Numbers of the same dtype, as a rule of a shape that goes with it."""

    def fits(name: str) -> bool:
        try:
            for x, y in zip(maker.tensors(a), maker.tensors(name), strict=True):
                torch.broadcast_shapes(x.shape, y.shape)
        except RuntimeError:
            return False
        return True

    return maker.number((maker.tensor(a).dtype,), where=fits)
