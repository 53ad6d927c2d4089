"""Where OpenVINO's integers are not PyTorch's.

The CPU plugin computes int64 in int32, saturates uint8 and int8 where PyTorch wraps, divides integers as integers, and takes a
negative index among several as it is. So integers go into an engine as indices, as what becomes float or bool at once, and as
positions and sizes, which are small.
"""

from __future__ import annotations

import torch
from torch.fx import Node

from ..node_facts import is_getitem, is_operator, is_view, tensors_of

_INTEGERS = {torch.int64, torch.int32, torch.int8, torch.uint8}

_SEARCHING = {"argmax", "argmin", "max", "min", "topk", "sort"}  # yield positions, or elements of what they are given
_PICKING = {
    "embedding",
    "index",
    "index_select",
    "gather",
    "scatter",
    "clone",
}  # elements of the first argument; others are indices
_MOVING = {"cat", "stack", "where", "masked_fill"}
_SHAPING = {"new_ones", "new_zeros", "new_full", "zeros_like", "ones_like", "full_like"}  # use the sizes of their argument
_COMPARING = {"eq", "ne", "lt", "le", "gt", "ge"}
_LARGEST_STEP = 2**20  # sizes of tensors are far from int32's end, and still are after some steps like this

_DIFFERENT = "OpenVINO's integer arithmetic is not PyTorch's"


def why_integers_differ(node: Node) -> str | None:
    """None if an engine's integers would be PyTorch's for this operator."""
    name, operands = node.target._opname, node.all_input_nodes
    given = {tensor.dtype for operand in operands for tensor in tensors_of(operand)} & _INTEGERS
    made = {tensor.dtype for tensor in tensors_of(node)} & _INTEGERS
    if not given and (not made or name in _SEARCHING):
        return None
    if name == "index" and not _takes_indices(node):
        return "OpenVINO takes a negative index among several as it is"
    if is_position(node):
        return None
    if is_view(node):
        return _DIFFERENT if torch.int64 in made and not _fits(node) and not _only_indexes(node) else None
    if torch.int64 in made:
        return None if name in _PICKING and _fits(node.args[0]) else _DIFFERENT
    harmless = name in _PICKING | _MOVING or (not made and name in _SHAPING | {"_to_copy"})
    compared = not made and name in _COMPARING and all(_fits(operand) for operand in operands)
    return None if harmless or compared else _DIFFERENT


def is_position(node: Node) -> bool:
    """int64 that is certainly neither negative nor beyond int32: positions in tensors, sizes, and what small steps make of them."""
    if is_getitem(node):
        return node.args[1] == 1 and node.args[0].target._opname in _SEARCHING
    if not is_operator(node) or any(tensor.dtype != torch.int64 for tensor in tensors_of(node)):
        return False
    name = node.target._opname
    if name in ("argmax", "argmin"):
        return True
    if name == "arange":
        return all(_is_step(arg) for arg in node.args)
    if is_view(node) or name == "clone":
        return is_position(node.args[0])
    return name == "add" and is_position(node.args[0]) and _is_step(node.args[1])


def _is_step(arg: object) -> bool:
    """A number of the program, or a size, which is one too."""
    return (
        0 <= arg <= _LARGEST_STEP if isinstance(arg, int) else isinstance(arg, Node) and isinstance(arg.meta["val"], torch.SymInt)
    )


def _fits(node: Node) -> bool:
    """Its integers fit int32: narrower ones, positions, tables that were looked at, and what is picked from these."""
    if all(tensor.dtype != torch.int64 for tensor in tensors_of(node)):
        return True
    if node.op == "placeholder":
        return node.meta.get("fits_int32", False)
    picks = is_operator(node) and (is_view(node) or node.target._opname in _PICKING - {"scatter"})
    return is_position(node) or (picks and _fits(node.args[0]))


def _takes_indices(node: Node) -> bool:
    indices = [index for index in node.args[1] if index is not None]
    return len(indices) == 1 or all(is_position(index) for index in indices)


def _only_indexes(node: Node) -> bool:
    """Every use of these integers is as indices."""
    return all(
        is_operator(user)
        and (_only_indexes(user) if is_view(user) else user.target._opname in _PICKING and user.args[0] is not node)
        for user in node.users
    )
