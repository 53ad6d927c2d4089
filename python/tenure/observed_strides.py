"""Strides as a run shows them. The shape rules of PyTorch tell other ones for some operators: masked_fill of a permuted tensor is
dense by its rule, and keeps the permuted order in fact; so does maximum of operands that are expanded."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch._subclasses import FakeTensor
from torch.export import ExportedProgram
from torch.fx import Graph, Interpreter, Node
from torch.fx.experimental.symbolic_shapes import is_concrete_int
from torch.utils import _pytree as pytree

from .node_facts import is_getitem, is_operator, is_tensor, is_view, tensors_of, updated_statistics, viewed

_Order = tuple[int, ...]  # dimensions, from the one of the widest stride to the one of the narrowest


def observe_strides(program: ExportedProgram) -> None:
    """Runs a functional `program` on its sample inputs, and gives its nodes the strides that their values have there.

    Neither the inputs nor the state of the program change, nor the state of PyTorch's generator. A program without sample inputs,
    or one that cannot run on them, stays as it is.
    """
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            observer = _Observer(program.graph_module)
            observer.run(*_arguments(program))
    except Exception:  # samples without data, say, or for another device: what the shape rules tell must do
        return
    _correct(program.graph, observer.orders)


def _arguments(program: ExportedProgram) -> list[Any]:
    if any(isinstance(leaf, FakeTensor) for leaf in pytree.tree_leaves(program.example_inputs)):
        raise ValueError("samples without data")
    args, kwargs = pytree.tree_map_only(torch.Tensor, lambda tensor: copy.deepcopy(tensor.detach()), program.example_inputs)
    # Normalizations write into their statistics, whatever kind of attribute these are.
    written = {viewed(given) for node in program.graph.nodes for given in updated_statistics(node)}
    placeholders, values = program.graph.find_nodes(op="placeholder"), program._graph_module_flat_inputs(args, kwargs)
    return [value.clone() if node in written else value for node, value in zip(placeholders, values, strict=True)]


class _Observer(Interpreter):
    """Collects what is not as told: for each tensor that an operator computes the order of its dimensions in memory."""

    def __init__(self, module: torch.fx.GraphModule):
        super().__init__(module)
        self.orders: dict[Node, Sequence[_Order | None]] = {}

    def run_node(self, node: Node) -> Any:
        result = super().run_node(node)
        if is_operator(node) and not is_view(node):
            told, real = tensors_of(node), [result] if isinstance(result, torch.Tensor) else result
            if isinstance(real, list | tuple) and len(real) == len(told):
                orders = [_order_not_told(one, other) for one, other in zip(told, real, strict=True)]
                if any(orders):
                    self.orders[node] = orders
        return result


def _correct(graph: Graph, orders: Mapping[Node, Sequence[_Order | None]]) -> None:
    """Of what has another order, and of the views of it."""
    corrected: set[Node] = set()
    for node in graph.nodes:
        base = node.args[0] if node.args and isinstance(node.args[0], Node) else None
        if node in orders:
            values = [_in_order(tensor, order) for tensor, order in zip(tensors_of(node), orders[node], strict=True)]
            node.meta["val"] = values[0] if is_tensor(node) else values
        elif base in corrected and (is_getitem(node) or is_view(node)):
            tell_view(node)
        else:
            continue
        corrected.add(node)


def tell_view(node: Node) -> None:
    """Gives a view, or one of several results, the strides that follow from what it is a view of."""
    base = node.args[0].meta["val"]
    if is_getitem(node):
        node.meta["val"] = base[node.args[1]]
        return
    args, kwargs = pytree.tree_map_only(Node, lambda arg: arg.meta["val"], (node.args, node.kwargs))
    # With other strides a view may have to be a copy, as relax_views lets it be outside engines.
    target = torch.ops.aten.reshape.default if node.target is torch.ops.aten.view.default else node.target
    with base.fake_mode:
        node.meta["val"] = target(*args, **kwargs)


def _order_not_told(told: torch.Tensor, real: torch.Tensor) -> _Order | None:
    """The order of dimensions of `real`, which is dense, if `told` has other strides."""
    hints = [int(stride) if is_concrete_int(stride) else stride.node.hint for stride in told.stride()]
    wide = [dim for dim, size in enumerate(real.shape) if size > 1]
    if real.layout is not torch.strided or not real.numel() or all(hints[dim] in (real.stride(dim), None) for dim in wide):
        return None
    order = tuple(sorted(range(real.dim()), key=lambda dim: -real.stride(dim)))
    return order if real.permute(order).is_contiguous() else None


def _in_order(tensor: torch.Tensor, order: _Order | None) -> torch.Tensor:
    if order is None:
        return tensor
    strides, expected = [0] * tensor.dim(), 1
    for dim in reversed(order):
        strides[dim] = expected
        expected = expected * tensor.shape[dim]
    with tensor.fake_mode:
        return torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype, device=tensor.device)
