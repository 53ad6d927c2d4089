"""OpenVINO on CPU: converts a part with OpenVINO's own PyTorch frontend and exports the compiled model as the blob."""

from __future__ import annotations

from collections.abc import Mapping

import openvino
import torch
from openvino import Dimension, PartialShape, Type
from torch.export import ExportedProgram
from torch.fx import Graph, GraphModule, Node

from ..errors import Error
from ..node_facts import is_getitem, is_operator, tensors_of
from .base import Backend
from .expansions import operands
from .openvino_integers import why_integers_differ
from .openvino_operators import OperatorTable, convert
from .size_bounds import size_bounds

_TYPES = {
    torch.float32: Type.f32,
    torch.float16: Type.f16,
    torch.bfloat16: Type.bf16,
    torch.int64: Type.i64,
    torch.int32: Type.i32,
    torch.uint8: Type.u8,
    torch.int8: Type.i8,
    torch.bool: Type.boolean,
}

# Float32 stays float32 (some CPUs would get bfloat16), and one request at a time is what a program runs.
_DEFAULTS = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}


class OpenVinoBackend(Backend):
    """Takes float and bool operators on the CPU, and those on integers whose results agree with PyTorch's (openvino_integers.py).

    Differs from PyTorch where a NaN meets max, min, clamp or relu.
    Options are OpenVINO's own properties for `compile_model`, as strings: {"INFERENCE_NUM_THREADS": "2"}.
    """

    name = "openvino"

    def __init__(self):
        self._core = openvino.Core()
        self._table = OperatorTable()

    def why_not(self, node: Node) -> str | None:
        if is_getitem(node):
            return self.why_not(node.args[0])
        if node.target.namespace != "aten":
            return f"a custom operator of {node.target.namespace}"
        for operand in (*operands(node), node):
            for tensor in tensors_of(operand):
                if tensor.device.type != "cpu":
                    return f"a tensor on {tensor.device}"
                if tensor.dtype not in _TYPES or tensor.layout != torch.strided:
                    return f"a tensor of {tensor.dtype}, {tensor.layout}"
        return why_integers_differ(node) or self._table.verdict(node).refusal

    def full_options(self, options: Mapping[str, str]) -> dict[str, str]:
        known = set(self._core.get_property("CPU", "SUPPORTED_PROPERTIES"))
        if unknown := sorted(set(options) - known):
            names = f"{', '.join(unknown)}; it has: {', '.join(sorted(known))}"
            raise Error("invalid argument", f"OpenVINO's CPU plugin has no property {names}")
        return {**_DEFAULTS, **options}

    def compile(self, part: ExportedProgram, options: Mapping[str, str]) -> bytes:
        module = self._convertible(part)
        model = convert(module)
        inputs = module.graph.find_nodes(op="placeholder")
        if len(model.inputs) != len(inputs):
            raise RuntimeError(f"the converted part has {len(model.inputs)} inputs, not {len(inputs)}")
        for port, node in zip(model.inputs, inputs, strict=True):
            port.get_node().set_element_type(_TYPES[node.meta["val"].dtype])
            port.get_node().set_partial_shape(PartialShape([_dimension(size, part) for size in node.meta["val"].shape]))
        model.validate_nodes_and_infer_types()
        model = _with_output_types(model, [node.meta["val"] for node in part.graph.output_node().args[0]])
        return bytes(self._core.compile_model(model, "CPU", dict(options)).export_model().getvalue())

    def _convertible(self, part: ExportedProgram) -> GraphModule:
        """The part with weights as attributes and with operators expanded that OpenVINO converts only in pieces."""
        graph, attributes, copies = Graph(), {}, {}
        for node in part.graph.nodes:
            if node.op == "placeholder" and node.name in part.state_dict:
                attributes[node.name] = part.state_dict[node.name]
                copies[node] = _get_attr(graph, node.name, node)
            elif node.op == "placeholder":
                copies[node] = graph.node_copy(node)
            elif node.op == "output":
                graph.output(tuple(copies[result] for result in node.args[0]))
            elif is_getitem(node) and isinstance(copies[node.args[0]], list):
                copies[node] = copies[node.args[0]][node.args[1]]
            else:
                expansion = self._table.verdict(node).expansion if is_operator(node) else None
                copies[node] = self._inlined(graph, node, expansion, copies, attributes)
        return GraphModule(attributes, graph)

    def _inlined(self, graph: Graph, node: Node, expansion: GraphModule | None, copies: dict, attributes: dict) -> object:
        if expansion is None:
            return graph.node_copy(node, copies.__getitem__)
        placeholders = expansion.graph.find_nodes(op="placeholder")
        inner = {placeholder: copies[operand] for placeholder, operand in zip(placeholders, operands(node), strict=True)}
        for other in expansion.graph.nodes:
            if other.op == "get_attr":
                name = f"{node.name}_{other.target}"
                attributes[name] = getattr(expansion, other.target)
                inner[other] = _get_attr(graph, name, other)
            elif other.op == "call_function":
                inner[other] = graph.node_copy(other, inner.__getitem__)
        results = [inner[result] for result in expansion.graph.output_node().args[0]]
        return results if isinstance(node.meta["val"], list | tuple) else results[0]


def _get_attr(graph: Graph, name: str, original: Node) -> Node:
    node = graph.create_node("get_attr", name, name=name)
    node.meta.update(original.meta)
    return node


def _dimension(size: int | torch.SymInt, part: ExportedProgram) -> Dimension:
    low, high = size_bounds(size, part)
    return Dimension(low) if low == high else Dimension(low, -1 if high is None else high)


def _with_output_types(model: openvino.Model, expected: list[torch.Tensor]) -> openvino.Model:
    """The frontend narrows some types; what leaves the engine has the type that the graph says."""
    if len(model.outputs) != len(expected):
        raise RuntimeError(f"the converted part has {len(model.outputs)} outputs, not {len(expected)}")
    steps = openvino.preprocess.PrePostProcessor(model)
    for index, (port, tensor) in enumerate(zip(model.outputs, expected, strict=True)):
        if port.get_partial_shape().rank.is_dynamic or len(port.get_partial_shape()) != tensor.dim():
            raise RuntimeError(f"output {index} of the converted part is {port.get_partial_shape()}, not of rank {tensor.dim()}")
        if port.get_element_type() != _TYPES[tensor.dtype]:
            steps.output(index).tensor().set_element_type(_TYPES[tensor.dtype])
    return steps.build()
