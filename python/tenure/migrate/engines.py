"""Torch-TensorRT's engines in Tenure's terms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import sympy
import torch
from torch.export import ExportedProgram
from torch.utils._sympy.symbol import SymT, symbol_is_type

from ..compile import Artifact, EngineArtifact, Report
from ..custom_ops import libraries_of
from ..engine_spec import Binding, EngineSpec, Size, output_symbol
from ..errors import Error
from ..mutations import restore_mutating_operators
from ..ops import known_engines
from ..prepare import functionalize
from ..rewrite import drop_unused_weights
from ..sizes import in_terms_of_inputs, own_dimensions
from ..written_strides import drop_copies_of_the_same

BACKEND = "tensorrt"


@dataclass(frozen=True)
class Port:
    """An input or output of an engine; `sizes` in the symbols of the program."""

    name: str
    dtype: torch.dtype
    sizes: Sequence[Size]


def engine_artifact(
    name: str, blob: bytes, inputs: Sequence[Port], outputs: Sequence[Port], options: Mapping[str, str]
) -> EngineArtifact:
    """Raises Error if an output's size neither follows from the inputs' sizes nor depends on data."""
    rows = [port.sizes for port in inputs]
    data_dependent = _own_symbols(outputs)
    given = [Binding(port.name, port.dtype, own_dimensions(port.sizes, index)) for index, port in enumerate(inputs)]
    made = []
    for port in outputs:
        sizes = in_terms_of_inputs(port.sizes, rows, data_dependent)
        if any(size is None for size in sizes):
            shape = ", ".join(map(str, port.sizes))
            raise Error(
                "unsupported",
                f"the sizes of output {port.name}, ({shape}), do not follow from those of its inputs; leave the operator that "
                "makes it to PyTorch (torch_executed_ops) and compile again",
                [f"engine {name}"],
            )
        made.append(Binding(port.name, port.dtype, tuple(sizes)))
    return EngineArtifact(EngineSpec(name, BACKEND, tuple(given), tuple(made), dict(options)), blob)


def _own_symbols(outputs: Sequence[Port]) -> dict[sympy.Symbol, sympy.Symbol]:
    """Sizes that depend on data, each by the first dimension of an output that has it."""
    symbols: dict[sympy.Symbol, sympy.Symbol] = {}
    for index, port in enumerate(outputs):
        for dim, size in enumerate(port.sizes):
            if isinstance(size, sympy.Symbol) and symbol_is_type(size, SymT.UNBACKED_INT):
                symbols.setdefault(size, output_symbol(index, dim))
    return symbols


def tracing_calls_of(engines: Iterable[EngineArtifact]) -> AbstractContextManager[None]:
    """Within the block, tracing knows what these engines give."""
    return known_engines({engine.spec.name: engine.spec for engine in engines})


def finished(program: ExportedProgram, engines: Sequence[EngineArtifact]) -> Artifact:
    """`program` calls the engines by name; what else it does may still write in place."""
    with tracing_calls_of(engines), torch.no_grad():
        try:
            functional = functionalize(program)
        except Exception as error:  # torch.export raises many kinds
            raise Error("unsupported", f"torch.export cannot bring the program into functional form: {error}") from error
    drop_copies_of_the_same(functional.graph)
    functional = drop_unused_weights(restore_mutating_operators(functional))
    notes = [f"{BACKEND}: engines as Torch-TensorRT compiled them: {', '.join(engine.spec.name for engine in engines)}"]
    libraries = libraries_of(functional, [])
    return Artifact(functional, engines, libraries, Report([], {}, notes))
