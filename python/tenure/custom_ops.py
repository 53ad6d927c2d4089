"""Which libraries register the custom operators of a program, so that a file can name them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

import torch
from torch.export import ExportedProgram

from .node_facts import is_custom


def libraries_of(program: ExportedProgram, named: Iterable[str]) -> list[str]:
    """`named`, then the Python modules that register the program's other custom operators, each once.

    An operator made with torch.library.custom_op is registered by the module that defines it; any other is taken to be registered
    by the package that its namespace is called after, if there is one (torchvision::nms by torchvision).
    """
    libraries = dict.fromkeys([named] if isinstance(named, str) else named)
    for node in program.graph.nodes:
        if is_custom(node):
            module = _registering_module(node.target)
            if module is not None and not any(module == name or module.startswith(f"{name}.") for name in libraries):
                libraries[module] = None
    return list(libraries)


def _registering_module(target: torch._ops.OpOverload) -> str | None:
    definition = torch._library.custom_ops.OPDEFS.get(target._schema.name)
    if definition is not None:
        return definition._init_fn.__module__
    return target.namespace if importlib.util.find_spec(target.namespace) else None
