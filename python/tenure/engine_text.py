"""Engine descriptions as a manifest has them: JSON, with sizes in SymPy's srepr form. None of it is evaluated as Python."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from functools import lru_cache

import sympy
import torch
from torch._export.serde.serialize import _SERIALIZE_TO_TORCH_DTYPE
from torch.utils._sympy import functions as torch_functions

from .engine_spec import Binding, EngineSpec, Size
from .errors import Error


@lru_cache(maxsize=256)
def spec_from_json(text: str) -> EngineSpec:
    """Raises Error if the text is not an engine's description."""
    try:
        entry = json.loads(text)
        inputs, outputs = _bindings(entry["inputs"]), _bindings(entry["outputs"])
        return EngineSpec(entry["name"], entry["backend"], inputs, outputs, entry["options"])
    except (KeyError, TypeError, ValueError, SyntaxError) as error:
        raise Error("bad file", f"not the description of an engine: {error!r}") from error


def _bindings(entries: Sequence[dict]) -> tuple[Binding, ...]:
    return tuple(
        Binding(each["name"], _dtype(each["dtype"]), tuple(map(_size, each["sizes"])), each.get("aliases_input"))
        for each in entries
    )


def _dtype(number: int) -> torch.dtype:
    return _SERIALIZE_TO_TORCH_DTYPE[number]


def _size(text: str) -> Size:
    expr = _expression(ast.parse(text, mode="eval").body)
    return int(expr) if isinstance(expr, int) or expr.is_number else expr


def _expression(node: ast.expr) -> sympy.Basic | int:
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_expression(operand)
        case ast.Name(id="true" | "false" as name):
            return sympy.true if name == "true" else sympy.false
        case ast.Call(func=ast.Name(id="Symbol"), args=[ast.Constant(value=str(name))]):
            return sympy.Symbol(name, integer=True)
        case ast.Call(func=ast.Name(id="Float"), args=[ast.Constant(value=str(digits))]):
            return sympy.Float(float(digits))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
            return _function(name)(*map(_expression, args))
    raise ValueError(f"{ast.unparse(node)} is no part of a size")


def _function(name: str) -> type[sympy.Basic]:
    # torch has its own Max, FloorDiv and the like; what it lacks (Add, Integer, ...) is SymPy's.
    found = getattr(torch_functions, name, None) or getattr(sympy, name, None)
    if not (isinstance(found, type) and issubclass(found, sympy.Basic)):
        raise ValueError(f"{name} is no function of sizes")
    return found
