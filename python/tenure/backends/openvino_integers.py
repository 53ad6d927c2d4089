"""Where OpenVINO's integers are not PyTorch's.

The CPU plugin computes int64 in int32, saturates uint8 and int8 where PyTorch wraps, and divides integers without making them float.
So integers go into an engine as indices, as what is converted to float or bool, and as positions and sizes, which are small.
"""

from __future__ import annotations

import torch
from torch.fx import Node

from ..node_facts import is_getitem, is_view, tensors_of

_INTEGERS = {torch.int64, torch.int32, torch.int8, torch.uint8}

# Yield positions in a tensor, whatever they are given.
_POSITIONS = {"arange", "argmax", "argmin", "max", "min", "topk", "sort"}
# Yield elements of their first argument; further integer arguments are indices.
_PICKING = {"embedding", "index", "index_select", "gather", "clone", "scatter"}
_MOVING = {"cat", "stack", "where", "masked_fill"}
_COMPARING = {"eq", "ne", "lt", "le", "gt", "ge"}
_SMALL_ARITHMETIC = {"add", "sub", "rsub"}
_LARGEST_STEP = 2**20  # sizes of tensors are far from int32's end; so they stay after a step like this


def why_integers_differ(node: Node) -> str | None:
    """None if an engine's integers would be PyTorch's for this operator."""
    name, operands = node.target._opname, node.all_input_nodes
    given = {tensor.dtype for operand in operands for tensor in tensors_of(operand)} & _INTEGERS
    made = {tensor.dtype for tensor in tensors_of(node)} & _INTEGERS
    if not given and not made or is_view(node) or is_small(node):
        return None
    if name == "_to_copy" and not made:
        return None
    if name in _POSITIONS and not given:
        return None
    if name in _COMPARING and all(is_small(operand) for operand in operands):
        return None
    if torch.int64 in made or not made and name not in _PICKING | _MOVING:
        return "OpenVINO's integer arithmetic is not PyTorch's"
    return None if name in _PICKING | _MOVING else "OpenVINO's integer arithmetic is not PyTorch's"


def is_small(node: Node) -> bool:
    """Its integers certainly fit int32: positions, sizes, and what follows from them by picking and small steps."""
    if node.op == "placeholder":
        return node.meta.get("fits_int32", False) or _narrow(node)
    if is_getitem(node):
        return is_small(node.args[0])
    if not isinstance(node.target, torch._ops.OpOverload):
        return False
    name = node.target._opname
    if name in _POSITIONS and name != "max" and name != "min":
        return True
    if is_view(node) or name in _PICKING - {"scatter"}:
        return is_small(node.args[0])
    if name in _SMALL_ARITHMETIC:
        numbers = [arg for arg in node.args if isinstance(arg, int)]
        tensors = [arg for arg in node.args if isinstance(arg, Node)]
        steps = all(abs(number) <= _LARGEST_STEP for number in numbers)
        return steps and len(tensors) == 1 and tensors_of(node)[0].dtype == torch.int64 and is_small(tensors[0])
    return _narrow(node) and name in _MOVING


def _narrow(node: Node) -> bool:
    return all(tensor.dtype == torch.int32 for tensor in tensors_of(node))
