"""One operator in terms of others, for backends that convert it only in pieces."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping

import torch
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from ..fresh_sizes import FreshSizes


def expanded(node: Node, table: Mapping[torch._ops.OpOverload, Callable]) -> GraphModule:
    """What the node's operator becomes by the decompositions of `table`; its inputs are the node's `operands`.

    Raises ValueError if that holds for some sizes only, and what a decomposition raises.
    """
    fresh = FreshSizes()
    values = [_anew(fresh, operand.meta["val"]) for operand in operands(node)]
    with fresh.tracing():
        module = make_fx(_calling(node), decomposition_table=table)(*values)
    if fixed := fresh.fixed():
        raise ValueError(f"it would hold only for {', '.join(fixed)}")
    module.graph.eliminate_dead_code()
    return module


def operands(node: Node) -> list[Node]:
    """The nodes a node takes, tensors before numbers, each once."""
    return sorted(node.all_input_nodes, key=lambda arg: not isinstance(arg.meta["val"], torch.Tensor))


def call_key(node: Node) -> Hashable:
    """The same for calls of one operator with arguments of the same types, sizes, strides and constants."""
    leaves, structure = pytree.tree_flatten((node.args, node.kwargs))
    return (node.target, str(structure), *map(_key, leaves))


def _anew(fresh: FreshSizes, value: torch.Tensor | torch.SymInt) -> torch.Tensor | torch.SymInt | int:
    return fresh.tensor(value) if isinstance(value, torch.Tensor) else fresh.number(value)


def _calling(node: Node) -> Callable:
    def call(*values):
        given = dict(zip(operands(node), values, strict=True))
        args, kwargs = pytree.tree_map_only(Node, given.__getitem__, (node.args, node.kwargs))
        result = node.target(*args, **kwargs)
        return list(result) if isinstance(result, list | tuple) else [result]

    return call


def _key(value: object) -> Hashable:
    if not isinstance(value, Node):
        return (type(value), str(value))
    known = value.meta["val"]
    if isinstance(known, torch.Tensor):
        return (known.dtype, known.device.type, tuple(map(str, known.shape)), tuple(map(str, known.stride())))
    if isinstance(known, list | tuple):
        return tuple((item.dtype, tuple(map(str, item.shape))) for item in known)
    return str(known)
