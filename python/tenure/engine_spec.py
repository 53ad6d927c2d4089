"""What a file says about an engine: its name, backend, inputs, outputs and options. The C++ twin is tenure/graph/engine_spec.h."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import sympy
import torch

from .errors import Error

# In the symbols i<k>_<d>, dimension d of engine input k, and o<k>_<d>, dimension d of output k, known when the engine has run.
Size = int | sympy.Expr


def dimension_symbol(index: int, dim: int) -> sympy.Symbol:
    """The symbol that means dimension `dim` of engine input `index`."""
    return sympy.Symbol(f"i{index}_{dim}", integer=True)


def output_symbol(index: int, dim: int) -> sympy.Symbol:
    """The symbol that means dimension `dim` of engine output `index`: the size of one that depends on data."""
    return sympy.Symbol(f"o{index}_{dim}", integer=True)


@dataclass(frozen=True)
class Binding:
    """A tensor that goes into or comes out of an engine, dense and contiguous at that border."""

    name: str
    dtype: torch.dtype
    sizes: tuple[Size, ...]
    aliases_input: int | None = None  # this output is written into the memory of that input


@dataclass(frozen=True)
class EngineSpec:
    """What a file says about an engine; `options` are the backend's own."""

    name: str
    backend: str
    inputs: tuple[Binding, ...]
    outputs: tuple[Binding, ...]
    options: Mapping[str, str] = field(default_factory=dict)

    def output_sizes(
        self, input_sizes: Sequence[Sequence[int | torch.SymInt]], new_size: Callable[[], torch.SymInt] | None = None
    ) -> list[list[int | torch.SymInt]]:
        """Sizes of the outputs for inputs of these sizes; `new_size` gives one that depends on data.

        Raises Error if the ranks differ, or sizes depend on data and nothing gives them.
        """
        values: dict[sympy.Symbol, int | torch.SymInt] = {}
        for index, (binding, sizes) in enumerate(zip(self.inputs, input_sizes, strict=True)):
            if len(binding.sizes) != len(sizes):
                message = f"input {binding.name} has rank {len(sizes)}, not {len(binding.sizes)}"
                raise Error("invalid argument", message, [f"engine {self.name}"])
            values.update({dimension_symbol(index, dim): size for dim, size in enumerate(sizes)})
        for index, binding in enumerate(self.outputs):
            for size in {output_symbol(index, dim) for dim in range(len(binding.sizes))}.intersection(binding.sizes):
                if new_size is None:
                    message = f"the sizes of output {binding.name} depend on data"
                    raise Error("invalid argument", message, [f"engine {self.name}"])
                values[size] = new_size()
        return [[_evaluate(size, values) for size in binding.sizes] for binding in self.outputs]


def _evaluate(size: Size, values: Mapping[sympy.Symbol, int | torch.SymInt]) -> int | torch.SymInt:
    if isinstance(size, int):
        return size
    symbols = sorted(size.free_symbols, key=str)
    if all(isinstance(values[symbol], int) for symbol in symbols):
        return int(size.subs({symbol: values[symbol] for symbol in symbols}))
    return torch.utils._sympy.interp.sympy_interp(torch.utils._sympy.reference.PythonReferenceAnalysis, dict(values), size)
