"""Which nodes write a piece of a tensor that the program keeps: they stay PyTorch operators, which write it where it lies."""

from __future__ import annotations

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import OutputKind
from torch.fx import Node

from .node_facts import is_operator, is_view

aten = torch.ops.aten

# Their result is their first argument but for a piece: an engine would copy the whole tensor in and out.
_PIECEWISE = {
    aten.index_put,
    aten.index_copy,
    aten.index_add,
    aten.index_fill,
    aten.scatter,
    aten.scatter_add,
    aten.scatter_reduce,
    aten.slice_scatter,
    aten.select_scatter,
    aten.masked_scatter,
    aten.copy,
    aten.fill,
}
_SCATTERS = {aten.slice_scatter, aten.select_scatter}


def state_updates(program: ExportedProgram) -> dict[Node, str]:
    """Nodes on the way from a buffer or an input to its new content, if each changes only a piece -> why no engine takes them."""
    nodes = {node.name: node for node in program.graph.nodes}
    placeholders = {spec.target or spec.arg.name: nodes[spec.arg.name] for spec in program.graph_signature.input_specs}
    found: dict[Node, str] = {}
    for spec, new in zip(program.graph_signature.output_specs, program.graph.output_node().args[0], strict=True):
        if spec.kind not in (OutputKind.BUFFER_MUTATION, OutputKind.USER_INPUT_MUTATION) or spec.target not in placeholders:
            continue
        chain: list[Node] = []
        if _reaches(new, placeholders[spec.target], chain):
            found |= dict.fromkeys(chain, f"it writes a piece of {spec.target}, which the program keeps, where it lies")
    return found


def _reaches(node: Node, start: Node, chain: list[Node]) -> bool:
    """Whether piecewise writes and views lead from `start` to `node`; appends them."""
    while node is not start:
        if not is_operator(node) or not (is_view(node) or node.target.overloadpacket in _PIECEWISE):
            return False
        chain.append(node)
        if node.target.overloadpacket in _SCATTERS:  # what is scattered may itself have been written into a piece
            inner: list[Node] = []
            if _reaches(node.args[1], start, inner):
                chain += inner
        node = node.args[0]
    return True
