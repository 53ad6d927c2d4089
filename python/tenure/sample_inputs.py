"""Inputs for a program, made up from what its file says of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from .errors import Error
from .program import Program
from .structure import ValueSpec


def sample_inputs(program: Program, sizes: Mapping[str, int]) -> list[Any]:
    """The flat inputs: random floats, zeros for integers (which are often places in a table), truth; numbers as `sizes` says, or 1.

    `sizes` gives the file's symbols values: {"s77": 8}. Raises Error for a symbol that the file does not have, a value out of its
    range, or a size that stays open.
    """
    program.explain(sizes=sizes)  # raises for symbols and ranges
    known = program._native.input_sizes(dict(sizes))
    return [_sample(spec, found) for spec, found in zip(program.inputs, known, strict=True)]


def _sample(spec: ValueSpec, sizes: list[int | None] | None) -> Any:
    if spec.kind == "constant":
        return spec.constant
    if spec.kind != "tensor":
        return {"int": int, "float": float, "bool": bool}[spec.kind](1 if sizes[0] is None else sizes[0])
    if None in sizes:
        raise Error("invalid argument", f"input {spec} has sizes that the file leaves open: give each a value, as in --size s77=8")
    if spec.dtype.is_floating_point or spec.dtype.is_complex:
        return torch.randn(sizes, device=spec.device).to(spec.dtype)
    return (torch.ones if spec.dtype == torch.bool else torch.zeros)(sizes, dtype=spec.dtype, device=spec.device)
