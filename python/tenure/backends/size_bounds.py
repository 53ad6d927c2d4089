"""What is known of a size that differs from run to run."""

from __future__ import annotations

import torch
from torch.export import ExportedProgram
from torch.utils._sympy.numbers import int_oo
from torch.utils._sympy.value_ranges import ValueRanges, bound_sympy


def size_bounds(size: int | torch.SymInt, part: ExportedProgram) -> tuple[int, int | None]:
    """The smallest and the largest that `size` may be, the same if it is fixed; None if nothing limits it."""
    if isinstance(size, int) or size.node.expr.is_number:
        return int(size), int(size)
    environment, expr = size.node.shape_env, size.node.expr
    ranges = {symbol: part.range_constraints.get(symbol, environment.var_to_range.get(symbol)) for symbol in expr.free_symbols}
    bounds = bound_sympy(expr, ranges) if all(ranges.values()) else ValueRanges(0, int_oo)
    # torch.export says "2 or more" where it means "may differ": 0 and 1 run as well.
    low = int(bounds.lower) if bounds.lower.is_number and bounds.lower > 2 else 0
    return low, None if bounds.upper >= 2**31 else int(bounds.upper)
