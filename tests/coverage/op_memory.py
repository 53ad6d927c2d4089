"""Copies of tensors that lie in memory as the originals do, and what tensors hold, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils import _pytree as pytree

Change = Callable[[torch.Tensor], torch.Tensor]  # of a flat tensor: other values, as many


def reversed_values(flat: torch.Tensor) -> torch.Tensor:
    """The same values from the end: keeps domains, permutations of indices and symmetric matrices."""
    return flat.flip(0)


def paired_values(flat: torch.Tensor) -> torch.Tensor:
    """Every second value as the one before it: other counts of what is not zero, true or unique."""
    index = torch.arange(flat.numel())
    return flat[index - index % 2]


def copies(tree: Any, change: Change | None = None) -> Any:
    """The same structure with every tensor copied: same strides and offset, and one storage where the originals share one.

    `change` gives the copies other values. A tensor that appears twice appears twice in the copy.
    """
    storages: dict[int, torch.UntypedStorage] = {}
    tensors: dict[int, torch.Tensor] = {}

    def copy(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return leaf
        if id(leaf) not in tensors:
            tensors[id(leaf)] = _copy(leaf, storages)
        return tensors[id(leaf)]

    copied = pytree.tree_map(copy, tree)
    if change is not None:
        for tensor in tensors.values():
            _write(tensor, change)
    return copied


def transposed_copies(tree: Any) -> Any:
    """The same structure and values, every tensor laid out with its last dimension outermost."""

    def copy(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.layout != torch.strided:
            return tensor
        order = tuple(reversed(range(tensor.dim())))
        return tensor.detach().permute(order).clone(memory_format=torch.contiguous_format).permute(order)

    return pytree.tree_map_only(torch.Tensor, copy, tree)


def strides_of(tree: Any) -> list[tuple[int, ...]]:
    return [leaf.stride() for leaf in pytree.tree_leaves(tree) if isinstance(leaf, torch.Tensor) and leaf.layout == torch.strided]


def _copy(tensor: torch.Tensor, storages: dict[int, torch.UntypedStorage]) -> torch.Tensor:
    if tensor.layout != torch.strided or tensor.is_quantized or type(tensor) is not torch.Tensor:
        return tensor.detach().clone()
    origin = tensor.untyped_storage()
    storage = storages.setdefault(origin._cdata, origin.clone())
    copied = torch.empty(0, dtype=tensor.dtype).set_(storage, tensor.storage_offset(), tensor.size(), tensor.stride())
    if tensor.is_conj():
        torch._C._set_conj(copied, True)
    if tensor.is_neg():
        torch._C._set_neg(copied, True)
    return copied


def _write(tensor: torch.Tensor, change: Change) -> None:
    """Not to a tensor that overlaps itself: that has fewer values than elements."""
    plain = tensor.layout == torch.strided and not tensor.is_quantized
    if plain and tensor.numel() and torch._debug_has_internal_overlap(tensor) != 1:
        tensor.copy_(change(tensor.flatten()).view(tensor.shape))


def has_other_values(tree: Any, other: Any) -> bool:
    pairs = zip(pytree.tree_leaves(tree), pytree.tree_leaves(other), strict=True)
    return any(isinstance(a, torch.Tensor) and not same_bits(content(a), content(b)) for a, b in pairs)


def content(tensor: torch.Tensor) -> torch.Tensor:
    """What the tensor holds, dense, in memory of its own."""
    tensor = tensor.detach()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    if tensor.is_quantized:
        tensor = tensor.int_repr()
    return tensor.resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format)


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Of two contents: equal bit for bit; a NaN equals any other."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.numel() == 0 or torch.equal(_bytes(a), _bytes(b)):
        return True
    if a.is_complex():
        a, b = torch.view_as_real(a), torch.view_as_real(b)
    if not a.is_floating_point():
        return False
    nan = a.isnan()
    if not torch.equal(nan, b.isnan()):
        return False
    zero = torch.zeros((), dtype=a.dtype)
    return torch.equal(_bytes(torch.where(nan, zero, a)), _bytes(torch.where(nan, zero, b)))


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.reshape(-1).view(torch.uint8)
