"""The operator that stands for an engine in a graph: `tenure::call_engine(Tensor[] inputs, str engine) -> Tensor[]`.

Importing this module registers it, which is all that `torch.export.load` needs to open a file that Tenure saved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

import torch

from .errors import Error

if TYPE_CHECKING:
    from .engine_spec import EngineSpec

# FRAGMENT: the C++ layer may define further operators in the same namespace.
_library = torch.library.Library("tenure", "FRAGMENT")
_library.define("call_engine(Tensor[] inputs, str engine) -> Tensor[]")

_known: ContextVar[Mapping[str, EngineSpec]] = ContextVar("tenure_known_engines")


@contextmanager
def known_engines(specs: Mapping[str, EngineSpec]) -> Iterator[None]:
    """Within the block, tracing knows the outputs of these engines, whose names mean something in one program only."""
    token = _known.set(specs)
    try:
        yield
    finally:
        _known.reset(token)


@torch.library.impl(_library, "call_engine", "CompositeExplicitAutograd")
def _run(inputs: Sequence[torch.Tensor], engine: str) -> list[torch.Tensor]:
    raise Error(
        "unsupported",
        "an engine runs inside a Tenure program, not as a PyTorch operator: load the file with tenure.load(path) and call that",
        [f"engine {engine}"],
    )


@torch.library.register_fake("tenure::call_engine", lib=_library)
def _trace(inputs: Sequence[torch.Tensor], engine: str) -> list[torch.Tensor]:
    spec = _known.get({}).get(engine)
    if spec is None:
        raise Error(
            "not found",
            "the sizes of this engine's outputs are not known here: trace or decompose before tenure.compile, not after",
            [f"engine {engine}"],
        )
    shapes = spec.output_sizes([tuple(tensor.shape) for tensor in inputs], lambda: torch.library.get_ctx().new_dynamic_size())
    # Shapes may come from the host; results lie where the data is.
    like = next((tensor for tensor in inputs if tensor.device.type != "cpu"), inputs[0])
    return [like.new_empty(shape, dtype=output.dtype) for shape, output in zip(shapes, spec.outputs, strict=True)]
