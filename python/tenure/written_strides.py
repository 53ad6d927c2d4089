"""In-place operators keep the strides of what they write. What such an operator becomes in functional form may have others:
masked_fill of a permuted tensor is contiguous for some masks, masked_fill_ never changes the order of its argument."""

from __future__ import annotations

import torch
from torch.fx import Graph, Node

from .node_facts import is_contiguous, is_operator, is_tensor, makes_memory, memory_order

aten = torch.ops.aten

# Copies already, and what gives a tensor other memory or other sizes.
_NOT_OF_ELEMENTS = {aten.copy_, aten.set_, aten.resize_, aten.resize_as_}


def writes_that_may_reorder(graph: Graph) -> list[Node]:
    """In-place operators of PyTorch on dense tensors that are not contiguous, in a graph as torch.export traces it."""
    return [node for node in graph.nodes if _functional_form(node) is not None and _is_dense_in_another_order(node.args[0])]


def write_by_copies(graph: Graph) -> None:
    """x.op_(...) becomes x.copy_(op(x, ...)), whose functional form has the strides of x, where those could get lost."""
    for node in writes_that_may_reorder(graph):
        with graph.inserting_before(node):
            computed = graph.call_function(_functional_form(node), node.args, node.kwargs)
            written = graph.call_function(aten.copy_.default, (node.args[0], computed))
        computed.meta, written.meta = dict(node.meta), dict(node.meta)
        node.replace_all_uses_with(written)
        graph.erase_node(node)


def drop_copies_of_the_same(graph: Graph) -> None:
    """Those in a functional graph whose operand is made for them alone, and already as the copy is to be."""
    for node in graph.find_nodes(op="call_function", target=aten.copy.default):
        copied, made = node.meta["val"], node.args[1]
        if len(made.users) == 1 and makes_memory(made) and _layout(made.meta["val"]) == _layout(copied):
            node.replace_all_uses_with(made)
            graph.erase_node(node)


def _layout(tensor: torch.Tensor) -> tuple:
    return tensor.dtype, tensor.device, tensor.shape, tensor.stride()


def _functional_form(node: Node) -> torch._ops.OpOverload | None:
    """aten.add.Tensor of aten.add_.Tensor. None of what writes more than the elements of its first argument."""
    if not is_operator(node) or node.target.namespace != "aten" or not is_tensor(node):
        return None
    if node.target.overloadpacket in _NOT_OF_ELEMENTS or torch.Tag.inplace_view in node.target.tags:
        return None
    aliases, packet = [argument.alias_info for argument in node.target._schema.arguments], node.target.overloadpacket.__name__
    written = [index for index, alias in enumerate(aliases) if alias is not None and alias.is_write]
    if written != [0] or not packet.endswith("_"):
        return None
    functional = getattr(getattr(aten, packet[:-1], None), node.target._overloadname, None)
    returns_new = functional is not None and all(each.alias_info is None for each in functional._schema.returns)
    return functional if returns_new and not functional._schema.is_mutable else None


def _is_dense_in_another_order(node: Node) -> bool:
    return not is_contiguous(node.meta["val"]) and memory_order(node.meta["val"]) is not None
