"""Which nodes run in the order of the graph, though no argument says so: parts are cut so that this stays possible."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from .node_facts import drops_nothing, is_custom, is_mutating, is_operator, is_part_of_view, is_view, updated_statistics, viewed


def nodes_in_order(program: ExportedProgram) -> dict[Node, str]:
    """In graph order -> why: they draw random numbers, are custom operators, or write or read what a normalization updates."""
    reasons: dict[Node, str] = {}
    for node in program.graph.nodes:
        if is_mutating(node):
            for root in map(viewed, updated_statistics(node)):
                reasons |= dict.fromkeys(_readers(root), f"it reads statistics that {node.name} updates")
    for node in program.graph.nodes:
        if reason := _own_reason(node):
            reasons[node] = reason
    place = {node: index for index, node in enumerate(program.graph.nodes)}
    return dict(sorted(reasons.items(), key=lambda item: place[item[0]]))


def _own_reason(node: Node) -> str | None:
    if not is_operator(node) or is_view(node):
        return None
    if is_mutating(node):
        return "it writes into its arguments"
    if torch.Tag.nondeterministic_seeded in node.target.tags and not drops_nothing(node):
        return "it draws random numbers"
    return "a custom operator" if is_custom(node) else None


def _readers(node: Node) -> Iterator[Node]:
    for user in node.users:
        if is_part_of_view(user):
            yield from _readers(user)
        elif user.op != "output":
            yield user


@contextmanager
def each_waits_for_the_one_before(nodes: Sequence[Node]) -> Iterator[None]:
    """Within the block each takes the one before it as an argument, so that torch's partitioner keeps them in order."""
    before = [node.args for node in nodes]
    for earlier, node in pairwise(nodes):
        node.args = (*node.args, earlier)
    try:
        yield
    finally:
        for node, args in zip(nodes, before, strict=True):
            node.args = args
