"""Writes that have no functional form."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.fx import Graph, Node


def writes_that_overlap(graph: Graph) -> list[Node]:
    """Of a functional graph: as_strided_scatter into memory where several of its elements share a place.

    That is what torch.export makes of a write into a piece of such a view. Which of the elements stays is nobody's promise; in
    eager PyTorch only the piece is written.
    """
    scatters = graph.find_nodes(op="call_function", target=torch.ops.aten.as_strided_scatter.default)
    return [node for node in scatters if _overlaps(*node.args[2:4])]


def _overlaps(sizes: Sequence[object], strides: Sequence[object]) -> bool:
    """Perhaps; certainly not if each stride is larger than all that the smaller ones reach."""
    if not all(isinstance(each, int) for each in (*sizes, *strides)):
        return True
    reach = 0
    for stride, size in sorted(zip(strides, sizes, strict=True)):
        if size > 1:
            if stride <= reach:
                return True
            reach += (size - 1) * stride
    return False
