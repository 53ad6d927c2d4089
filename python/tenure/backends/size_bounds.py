"""What is known of a size that differs from run to run."""

from __future__ import annotations

import sympy
import torch
from torch.export import ExportedProgram
from torch.utils._sympy.numbers import int_oo
from torch.utils._sympy.value_ranges import ValueRanges, bound_sympy


def size_bounds(size: int | torch.SymInt, part: ExportedProgram, unlimited: int | None = None) -> tuple[int, int | None]:
    """The smallest and the largest that `size` may be, the same if it is fixed; None if nothing limits it.

    A symbol that nothing limits is at most `unlimited`, so that sizes which depend on one another have limits that do so too.
    """
    if isinstance(size, int) or size.node.expr.is_number:
        return int(size), int(size)
    expr = size.node.expr
    bounds = bound_sympy(expr, {symbol: _range(symbol, size, part, unlimited) for symbol in expr.free_symbols})
    return max(int(bounds.lower), 0), None if bounds.upper >= _LARGEST else int(bounds.upper)


_LARGEST = 2**31


def _range(symbol: sympy.Symbol, size: torch.SymInt, part: ExportedProgram, unlimited: int | None) -> ValueRanges:
    environment = size.node.shape_env
    known = part.range_constraints.get(symbol) or environment.var_to_range.get(symbol) or ValueRanges(0, int_oo)
    # torch.export says "2 or more" where it means "may differ": 0 and 1 run as well.
    low = int(known.lower) if known.lower > 2 else 0
    if known.upper < _LARGEST:
        return ValueRanges(low, int(known.upper))
    sample = int(environment.backed_var_to_val.get(symbol, 0))
    return ValueRanges(low, int_oo if unlimited is None else max(unlimited, low, sample))
