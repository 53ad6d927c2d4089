"""Tenure: an ownership-aware runtime for hybrid inference programs.

program = tenure.compile(model, (example,)); result = program(tensor)
program.save("model.pt2"); program = tenure.load("model.pt2"); print(program.explain())
"""

from importlib.metadata import EntryPoint as _EntryPoint

import torch as _torch  # noqa: F401  # loads the libraries that the extension is linked against
from torch._dynamo.backends import registry as _registry

from . import ops as _ops  # noqa: F401  # registers the operator that stands for an engine, which torch.export.load needs
from . import runtime, torch_api
from ._tenure import VERSION as __version__
from .entry import (
    compile,
    load,
)  # `compile` the function hides the submodule of that name, which `from tenure.compile import` finds
from .errors import Error
from .migrate import from_torch_tensorrt
from .program import Program

__all__ = ["Error", "Program", "__version__", "compile", "from_torch_tensorrt", "load", "runtime", "torch_api"]

# torch.compile(backend="tenure") from the first import on, also where the package is not installed and has no entry point.
_registry._BACKENDS.setdefault("tenure", _EntryPoint("tenure", "tenure.dynamo:tenure_backend", "torch_dynamo_backends"))
