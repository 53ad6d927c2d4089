"""What an engine's bindings look like: the sizes of a part's outputs in terms of the dimensions of its inputs."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import sympy
import torch
from torch._subclasses import FakeTensorMode
from torch.fx import Interpreter, Node
from torch.utils._sympy.functions import FloorDiv
from torch.utils._sympy.value_ranges import ValueRanges

from .engine_spec import Binding, Size, dimension_symbol
from .fresh_sizes import FreshSizes
from .part import Part, expression


class UnknownSize(Exception):
    """A size of an output does not follow from the sizes of the inputs."""


def input_bindings(part: Part) -> tuple[Binding, ...]:
    """A dimension that can vary is its own symbol."""
    return tuple(
        Binding(node.name, tensor.dtype, own_dimensions(expressions(tensor), index))
        for index, (node, tensor) in enumerate(_inputs(part))
    )


def output_bindings(part: Part) -> tuple[Binding, ...]:
    """Raises UnknownSize."""
    wanted = [expressions(output.value) for output in part.outputs]
    known = _dimensions_of(_input_sizes(part))
    sizes = [[_substitute(size, known) for size in row] for row in wanted]
    if any(size is None for row in sizes for size in row):
        sizes = _retraced_sizes(part)
        _check_agreement(part, known, wanted, sizes)
    elif not all(isinstance(size, int) for row in wanted for size in row):
        _check_by_examples(part, wanted)
    return tuple(Binding(output.node.name, output.value.dtype, tuple(row)) for output, row in zip(part.outputs, sizes, strict=True))


def own_dimensions(sizes: Sequence[Size], index: int) -> tuple[Size, ...]:
    """Sizes of engine input `index`, where each that can vary becomes the symbol of its dimension."""
    return tuple(size if isinstance(size, int) else dimension_symbol(index, dim) for dim, size in enumerate(sizes))


def in_terms_of_inputs(
    sizes: Sequence[Size], inputs: Sequence[Sequence[Size]], others: Mapping[sympy.Expr, sympy.Symbol]
) -> list[Size | None]:
    """`sizes` by dimensions of an input, whose own are told in the same symbols, and by `others` that are known; None for one that
    does not follow from them."""
    known = {**others, **_dimensions_of(inputs)}
    return [_substitute(size, known) for size in sizes]


def _inputs(part: Part) -> list[tuple[Node, torch.Tensor]]:
    return [(node, node.meta["val"]) for node in part.inputs]


def _input_sizes(part: Part) -> list[list[Size]]:
    return [expressions(tensor) for _, tensor in _inputs(part)]


def expressions(tensor: torch.Tensor) -> list[Size]:
    """Its sizes, plain where they are known."""
    return [expression(size) for size in tensor.shape]


def _dimensions_of(inputs: Sequence[Sequence[Size]]) -> dict[sympy.Expr, sympy.Symbol]:
    """The first input dimension of each size that can vary."""
    dimensions: dict[sympy.Expr, sympy.Symbol] = {}
    for index, row in enumerate(inputs):
        for dim, size in enumerate(row):
            if isinstance(size, sympy.Expr):
                dimensions.setdefault(size, dimension_symbol(index, dim))
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
    known = _dimensions_of(_input_sizes(part))
    renamed = {symbol.node.expr: known[size] for size, symbol in fresh.symbols.items() if size in known}
    sizes = [[_substitute(expression(size), renamed) for size in tensor.shape] for tensor in outputs]
    if fresh.fixed() or any(size is None for row in sizes for size in row):
        raise UnknownSize("a size of an output does not follow from the sizes of the inputs")
    return sizes


def _check_by_examples(part: Part, wanted: Sequence[Sequence[Size]]) -> None:
    """What torch.export says of a quotient is wrong at times: n // 2 * 2 instead of n where a view of one shape follows another."""
    tensors = [node.meta["val"] for node in part.program.graph.find_nodes(op="placeholder")]
    shapes = [[expression(size) for size in tensor.shape] for tensor in tensors]
    symbols = {symbol for row in shapes for size in row if isinstance(size, sympy.Expr) for symbol in size.free_symbols}
    quotients = any(size.has(FloorDiv) for row in wanted for size in row if isinstance(size, sympy.Expr))
    draw = random.Random(0)
    for _ in range(8 if quotients else 2):
        values = {symbol: _draw_size(draw, part.program.range_constraints.get(symbol)) for symbol in sorted(symbols, key=str)}
        with FakeTensorMode():
            arguments = [
                torch.empty(_at(row, values), dtype=tensor.dtype, device=tensor.device)
                for tensor, row in zip(tensors, shapes, strict=True)
            ]
            try:
                results = Interpreter(part.program.graph_module).run(*arguments)
            except Exception:  # sizes that the program does not take
                continue
        for tensor, row in zip(results, wanted, strict=True):
            if list(tensor.shape) != _at(row, values):
                raise UnknownSize(
                    f"torch.export tells wrong sizes of an output: {_at(row, values)} where it has {list(tensor.shape)}"
                )


def _draw_size(draw: random.Random, bounds: ValueRanges | None) -> int:
    low = max(2, int(bounds.lower)) if bounds else 2
    return draw.randint(low, int(min(low + 64, bounds.upper)) if bounds else low + 64)


def _at(sizes: Sequence[Size], values: Mapping[sympy.Symbol, int]) -> list[int]:
    return [int(sympy.sympify(size).subs(values)) for size in sizes]


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
