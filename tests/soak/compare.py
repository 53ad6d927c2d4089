"""Equality of bits, of layout and of aliasing between what eager PyTorch gives and what a program gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

_SAME_WIDTH = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


EXACT, EFFECTIVE, ANY = "exact", "effective", "any"  # strides: eager's, eager's where an element lies by them, of no account


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
    if strides == EXACT and actual.stride() != expected.stride():
        return f"other strides: eager {expected.stride()}, here {actual.stride()}"
    if strides == EFFECTIVE and _effective_strides(actual) != _effective_strides(expected):
        return f"other strides: eager {expected.stride()}, here {actual.stride()}"
    return None if same_bits(expected, actual) else _shown(expected, actual)


def _effective_strides(tensor: torch.Tensor) -> list[int]:
    sizes_and_strides = zip(tensor.shape, tensor.stride(), strict=True)
    return [stride for size, stride in sizes_and_strides if size > 1] if tensor.numel() else []


def same_bits(expected: torch.Tensor, actual: torch.Tensor) -> bool:
    """Of two tensors of one dtype and shape: NaN equals itself, and 0 does not equal -0."""
    pair = [each.resolve_conj().resolve_neg() for each in (expected, actual)]
    if expected.is_complex():
        pair = [torch.view_as_real(each) for each in pair]
    if pair[0].is_floating_point():
        pair = [each.view(_SAME_WIDTH[each.element_size()]) for each in pair]
    return torch.equal(*pair)


def aliasing(tensors: Sequence[Any], ignored: Sequence[bool]) -> list[np.ndarray | None]:
    """What a write into a tensor would change: for each byte of each element, in the order of the elements, which byte seen before
    is the same one. So it does not depend on the order in which memory keeps the elements."""
    addresses = [
        None if skip or not isinstance(tensor, torch.Tensor) else byte_addresses(tensor)
        for tensor, skip in zip(tensors, ignored, strict=True)
    ]
    joined = np.concatenate([np.empty(0, np.int64), *(each for each in addresses if each is not None)])
    _, first, inverse = np.unique(joined, return_index=True, return_inverse=True)
    first_seen, begin, found = first[inverse], 0, list[np.ndarray | None]()
    for each in addresses:
        found.append(None if each is None else first_seen[begin : begin + each.size])
        begin += 0 if each is None else each.size
    return found


def byte_addresses(tensor: torch.Tensor) -> np.ndarray:
    """Of each byte of each element, in the order of the elements."""
    addresses = np.array(tensor.data_ptr() if tensor.numel() else 0, np.int64)
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        addresses = addresses[..., None] + np.arange(size) * stride * tensor.element_size()
    return (addresses[..., None] + np.arange(tensor.element_size())).reshape(-1)


def unlike(one: Sequence[np.ndarray | None], other: Sequence[np.ndarray | None]) -> int | None:
    """The first tensor for which aliasing() differs."""
    for k, (left, right) in enumerate(zip(one, other, strict=True)):
        if (left is None) != (right is None) or (left is not None and not np.array_equal(left, right)):
            return k
    return None


def _bytes(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).view(np.uint8)


def _shown(expected: torch.Tensor, actual: torch.Tensor) -> str:
    where = (expected != actual).nonzero()[:5].tolist()
    return f"the bits differ at {where}\n  eager {expected.flatten()[:24].tolist()}\n  here  {actual.flatten()[:24].tolist()}"
