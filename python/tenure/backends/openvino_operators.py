"""Which operators OpenVINO's PyTorch frontend converts, and into which others to expand those that it converts only in pieces."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import torch
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder
from openvino.frontend.pytorch.torchdynamo.export_decompositions import ops_to_not_decompose
from openvino.frontend.pytorch.torchdynamo.op_support import OperatorSupport
from torch._decomp import core_aten_decompositions
from torch.fx import Graph, GraphModule, Node
from torch.fx.passes.shape_prop import _extract_tensor_metadata

from ..node_facts import is_getitem
from .expansions import call_key, expanded, operands

_frontend = None


def convert(module: GraphModule):
    """The module as an openvino.Model. Raises whatever the frontend raises."""
    global _frontend
    if _frontend is None:
        _frontend = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchFXPythonDecoder(module)  # the frontend does not keep it alive
    return _frontend.convert(_frontend.load(decoder))


@dataclass(frozen=True)
class Verdict:
    """`refusal` is None if OpenVINO takes the node: as it is, or as `expansion` (whose inputs are the node's `operands`)."""

    refusal: str | None = None
    expansion: GraphModule | None = None


class OperatorTable:
    """Answers per operator, argument types and sizes, and remembers them. For one thread at a time."""

    def __init__(self):
        self._support = OperatorSupport(None)
        self._whole = set(ops_to_not_decompose())
        self._table = {op: rule for op, rule in core_aten_decompositions().items() if op not in self._whole}
        self._verdicts: dict[Hashable, Verdict] = {}

    def verdict(self, node: Node) -> Verdict:
        key = call_key(node)
        if key not in self._verdicts:
            self._verdicts[key] = self._judge(node)
        return self._verdicts[key]

    def _judge(self, node: Node) -> Verdict:
        if self._listed(node):
            refusal = _refusal(_alone(node))
            if refusal is None:
                return Verdict()
        try:
            expansion = _described(expanded(node, self._table))
        except Exception as error:  # whatever a decomposition raises
            return Verdict(f"it does not decompose: {error}")
        inner = [other for other in expansion.graph.nodes if other.op == "call_function"]
        foreign = sorted({str(other.target) for other in inner if not self._listed(other)})
        if foreign:
            return Verdict(f"OpenVINO does not take {', '.join(foreign)}")
        refusal = _refusal(expansion)
        return Verdict(refusal) if refusal else Verdict(expansion=expansion)

    def _listed(self, node: Node) -> bool:
        return node.target in self._whole or self._support.is_node_supported({}, node)


def _alone(node: Node) -> GraphModule:
    """A module of this node only; its getitems with it."""
    graph = Graph()
    copies = {}
    for operand in operands(node):
        copies[operand] = graph.placeholder(operand.name)
        copies[operand].meta["val"] = operand.meta["val"]
    copy = graph.node_copy(node, copies.__getitem__)
    picks = [user for user in node.users if is_getitem(user)]
    results = [graph.node_copy(pick, lambda _: copy) for pick in picks] or [copy]
    graph.output(tuple(results))
    return _described(GraphModule({}, graph))


def _refusal(module: GraphModule) -> str | None:
    try:
        convert(module)
    except Exception as error:  # the frontend raises many kinds
        return f"OpenVINO does not convert it: {short(error)}"
    return None


def short(error: Exception) -> str:
    """The telling line of one of OpenVINO's long messages."""
    lines = [line.strip(" -") for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "No conversion rule" in line or "with a message" in line]
    after = lines[lines.index(telling[0]) :][:2] if telling else lines[-1:]
    return " ".join(after) or type(error).__name__


def _described(module: GraphModule) -> GraphModule:
    """The frontend reads types and sizes of placeholders from `tensor_meta`."""
    for node in module.graph.nodes:
        if isinstance(node.meta.get("val"), torch.Tensor):
            node.meta["tensor_meta"] = _extract_tensor_metadata(node.meta["val"])
    return module
