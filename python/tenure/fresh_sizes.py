"""Tensors without data whose variable sizes are symbols of their own: tracing with them cannot fix a size of the program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sympy
import torch
from torch._dispatch.python import enable_python_dispatcher
from torch._dynamo.source import ConstantSource
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv

from .part import expression

# A size that no fixed size of a model is likely to equal: comparisons with it then go the way that most sizes go.
_FIRST_HINT = 10007


class FreshSizes:
    """Equal expressions of the program become equal symbols here; nothing else about them is kept."""

    def __init__(self):
        self.mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
        self.symbols: dict[sympy.Expr, torch.SymInt] = {}

    def number(self, value: int | torch.SymInt) -> int | torch.SymInt:
        expr = expression(value)
        if not isinstance(expr, sympy.Expr):
            return expr
        if expr not in self.symbols:
            hint, source = _FIRST_HINT + 2 * len(self.symbols), ConstantSource(f"size_{len(self.symbols)}")
            environment = self.mode.shape_env
            symbol = environment.create_symbol(hint, source, dynamic_dim=DimDynamic.DYNAMIC)
            self.symbols[expr] = environment.create_symintnode(symbol, hint=hint, source=source)
        return self.symbols[expr]

    def tensor(self, value: torch.Tensor) -> torch.Tensor:
        """Dense, of the same rank, type and device."""
        with self.mode:
            return torch.empty([self.number(size) for size in value.shape], dtype=value.dtype, device=value.device)

    @contextmanager
    def tracing(self) -> Iterator[None]:
        with self.mode, enable_python_dispatcher(), torch.no_grad():
            yield

    def fixed(self) -> list[str]:
        """What tracing had to assume to go on, if that is more than lower bounds."""
        environment = self.mode.shape_env
        equalities = [str(guard.expr) for guard in environment.guards if isinstance(guard.expr, sympy.Eq)]
        return equalities + [f"{symbol} = {value}" for symbol, value in environment.replacements.items()]
