"""Equality of bits, of layout and of aliasing between what eager PyTorch gives and what a program gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

_SAME_WIDTH = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


EXACT, OR_DENSE, ANY = "exact", "or dense", "any"  # strides: eager's, eager's or the default ones, of no account


def difference(expected: Any, actual: Any, strides: str = EXACT) -> str | None:
    """What is not the same, or None. Of tensors: dtype, sizes, strides and bits; of anything else type and value."""
    if isinstance(expected, np.ndarray):
        same = expected.shape == actual.shape and np.array_equal(_bytes(expected), _bytes(actual))
        return None if same else f"the bits differ\n  eager {expected.tolist()}\n  here  {actual.tolist()}"
    if isinstance(expected, torch.UntypedStorage):
        return None if list(expected) == list(actual) else f"the bytes differ\n  eager {list(expected)}\n  here  {list(actual)}"
    if not isinstance(expected, torch.Tensor) or not isinstance(actual, torch.Tensor):
        same = type(expected) is type(actual) and expected == actual
        return None if same else f"another value: eager {expected!r}, here {actual!r}"
    if (expected.dtype, expected.shape) != (actual.dtype, actual.shape):
        return f"another kind: eager {expected.dtype} {list(expected.shape)}, here {actual.dtype} {list(actual.shape)}"
    allowed = [expected.stride()] + ([torch.empty(actual.shape).stride()] if strides == OR_DENSE else [])
    if strides != ANY and actual.stride() not in allowed:
        return f"other strides: eager {expected.stride()}, here {actual.stride()}"
    return None if same_bits(expected, actual) else _shown(expected, actual)


def same_bits(expected: torch.Tensor, actual: torch.Tensor) -> bool:
    """Of two tensors of one dtype and shape: NaN equals itself, and 0 does not equal -0."""
    pair = [each.resolve_conj().resolve_neg() for each in (expected, actual)]
    if expected.is_complex():
        pair = [torch.view_as_real(each) for each in pair]
    if pair[0].is_floating_point():
        pair = [each.view(_SAME_WIDTH[each.element_size()]) for each in pair]
    return torch.equal(*pair)


def aliasing(tensors: Sequence[Any], ignored: Sequence[bool]) -> list[tuple[int, int] | None]:
    """For each tensor which earlier one it shares memory with, and how many bytes further on it begins."""
    first: dict[int, tuple[int, int]] = {}
    found: list[tuple[int, int] | None] = []
    for position, (tensor, skip) in enumerate(zip(tensors, ignored, strict=True)):
        if skip or not isinstance(tensor, torch.Tensor) or not tensor.numel():
            found.append(None)
            continue
        leader, address = first.setdefault(tensor.untyped_storage().data_ptr(), (position, tensor.data_ptr()))
        found.append((leader, tensor.data_ptr() - address))
    return found


def _bytes(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).view(np.uint8)


def _shown(expected: torch.Tensor, actual: torch.Tensor) -> str:
    where = (expected != actual).nonzero()[:5].tolist()
    return f"the bits differ at {where}\n  eager {expected.flatten()[:24].tolist()}\n  here  {actual.flatten()[:24].tolist()}"
