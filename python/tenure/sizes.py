"""What an engine's bindings look like: the sizes of a part's outputs in terms of the dimensions of its inputs."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import sympy
import torch
from torch.fx import Interpreter, Node

from .engine_spec import Binding, Size, dimension_symbol
from .fresh_sizes import FreshSizes
from .part import Part, expression


class UnknownSize(Exception):
    """A size of an output does not follow from the sizes of the inputs."""


def input_bindings(part: Part) -> tuple[Binding, ...]:
    """A dimension that can vary is its own symbol."""
    return tuple(
        Binding(node.name, tensor.dtype, tuple(_own_size(expression(size), k, d) for d, size in enumerate(tensor.shape)))
        for k, (node, tensor) in enumerate(_inputs(part))
    )


def output_bindings(part: Part) -> tuple[Binding, ...]:
    """Raises UnknownSize."""
    tensors = [node.meta["val"] for node in part.outputs]
    wanted = [[expression(size) for size in tensor.shape] for tensor in tensors]
    known = _input_dimensions(part)
    sizes = [[_substitute(size, known) for size in row] for row in wanted]
    if any(size is None for row in sizes for size in row):
        sizes = _retraced_sizes(part)
        _check_agreement(part, known, wanted, sizes)
    return tuple(
        Binding(node.name, tensor.dtype, tuple(row)) for node, tensor, row in zip(part.outputs, tensors, sizes, strict=True)
    )


def _inputs(part: Part) -> list[tuple[Node, torch.Tensor]]:
    return [(node, node.meta["val"]) for node in part.inputs]


def _own_size(size: Size, index: int, dim: int) -> Size:
    return size if isinstance(size, int) else dimension_symbol(index, dim)


def _input_dimensions(part: Part) -> dict[sympy.Expr, sympy.Symbol]:
    """The first input dimension of each size that can vary."""
    dimensions: dict[sympy.Expr, sympy.Symbol] = {}
    for k, (_, tensor) in enumerate(_inputs(part)):
        for d, size in enumerate(map(expression, tensor.shape)):
            if isinstance(size, sympy.Expr):
                dimensions.setdefault(size, dimension_symbol(k, d))
    return dimensions


def _substitute(size: Size, known: Mapping[sympy.Expr, sympy.Symbol]) -> Size | None:
    if isinstance(size, int):
        return size
    if size in known:
        return known[size]
    symbols = {symbol: known[symbol] for symbol in size.free_symbols if symbol in known}
    return size.xreplace(symbols) if len(symbols) == len(size.free_symbols) else None


def _retraced_sizes(part: Part) -> list[list[Size]]:
    """Runs the part on tensors without data whose variable dimensions are symbols of their own."""
    fresh = FreshSizes()
    arguments = [fresh.tensor(node.meta["val"]) for node in part.program.graph.find_nodes(op="placeholder")]
    try:
        with fresh.tracing():
            outputs = Interpreter(part.program.graph_module).run(*arguments)
    except Exception as error:
        raise UnknownSize(f"the sizes of its outputs cannot be traced: {error}") from error
    known = _input_dimensions(part)
    renamed = {symbol.node.expr: known[size] for size, symbol in fresh.symbols.items() if size in known}
    sizes = [[_substitute(expression(size), renamed) for size in tensor.shape] for tensor in outputs]
    if fresh.fixed() or any(size is None for row in sizes for size in row):
        raise UnknownSize("a size of an output does not follow from the sizes of the inputs")
    return sizes


def _check_agreement(
    part: Part,
    known: Mapping[sympy.Expr, sympy.Symbol],
    wanted: Sequence[Sequence[Size]],
    sizes: Sequence[Sequence[Size]],
) -> None:
    """The retraced sizes must be those of the program for sizes drawn at random."""
    symbols = {symbol for row in wanted for size in row if isinstance(size, sympy.Expr) for symbol in size.free_symbols}
    symbols |= {symbol for size in known for symbol in size.free_symbols}
    draw = random.Random(0)
    for _ in range(8):
        values = {symbol: draw.randint(64, 512) for symbol in sorted(symbols, key=str)}
        dimensions = {symbol: size.subs(values) for size, symbol in known.items()}
        for wanted_row, row in zip(wanted, sizes, strict=True):
            for left, right in zip(wanted_row, row, strict=True):
                if sympy.sympify(left).subs(values) != sympy.sympify(right).subs(dimensions):
                    raise UnknownSize(f"a size of an output, {left}, does not follow from the sizes of the inputs")
