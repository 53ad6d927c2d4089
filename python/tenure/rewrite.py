"""Puts an engine call where a part was, and drops the weights that nothing uses any more."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from itertools import pairwise

import torch
from torch._export.verifier import TrainingIRVerifier
from torch.export import ExportedProgram
from torch.export.graph_signature import ExportGraphSignature, InputKind
from torch.fx import Graph, Node

from . import ops as _ops  # noqa: F401  # registers tenure::call_engine
from .engine_spec import EngineSpec
from .node_facts import is_mutating, is_operator, memory_order, output_specs, takes_dense_as_well, viewed
from .part import Output, Part


def replace_by_engines(graph: Graph, parts: Sequence[tuple[Part, EngineSpec]], in_order: Sequence[Node]) -> None:
    """Puts one call of its engine in place of each part's nodes. The nodes `in_order` stay in that order."""
    successor: dict[Node, Node] = {}
    in_engines = {node for part, _ in parts for node in part.nodes}
    for part, spec in parts:
        inputs = [successor.get(node, node) for node in part.inputs]
        with graph.inserting_after(part.nodes[-1]):
            call = graph.call_function(torch.ops.tenure.call_engine.default, (inputs, spec.name))
        call.meta["val"] = [_dense(output.value) for output in part.outputs]
        inside = frozenset(part.nodes)
        for index, output in enumerate(part.outputs):
            result = successor[output.node] = _given(graph, call, index, output)
            # Only engines were to read a dense output, and the backend failed to compile one of them.
            if any(user not in in_engines and not takes_dense_as_well(user) for user in output.node.users):
                ordered = _ordered(graph, result, output)
                output.node.replace_all_uses_with(ordered, delete_user_cb=lambda user: user not in in_engines)
            output.node.replace_all_uses_with(result, delete_user_cb=lambda user, inside=inside: user not in inside)
        for node in reversed(part.nodes):
            graph.erase_node(node)
    _sort(graph, in_order)
    graph.eliminate_dead_code()


def _sort(graph: Graph, in_order: Sequence[Node]) -> None:
    """Arguments before users, `in_order` one after another, and else the order that the nodes have."""
    nodes = list(graph.nodes)
    place = {node: index for index, node in enumerate(nodes)}
    following = dict(pairwise(in_order))
    missing = {node: len(node.all_input_nodes) for node in nodes}
    for node in following.values():
        missing[node] += 1
    ready = [place[node] for node in nodes if not missing[node]]
    heapify(ready)
    last = None
    while ready:
        node = nodes[heappop(ready)]
        if last is not None:
            last.append(node)
        last = node
        for user in (*node.users, *filter(None, [following.get(node)])):
            missing[user] -= 1
            if not missing[user]:
                heappush(ready, place[user])


def _given(graph: Graph, call: Node, index: int, output: Output) -> Node:
    """What the program has for output `index` of the engine call: its dimensions in the order that they had, without a copy."""
    with graph.inserting_after(call):
        result = graph.call_function(operator.getitem, (call, index))
    result.meta["val"] = call.meta["val"][index]
    if output.restoring is None:
        return result
    with graph.inserting_after(result):
        restored = graph.call_function(torch.ops.aten.permute.default, (result, output.restoring))
    restored.meta["val"] = output.node.meta["val"]
    return restored


def _ordered(graph: Graph, result: Node, output: Output) -> Node:
    """`result` with the dimensions in the order of the program's node: itself, or a copy if the engine gives it dense."""
    order = memory_order(output.node.meta["val"])
    if order is None or list(order) == list(output.order):
        return result
    aten, value = torch.ops.aten, output.node.meta["val"]
    for target, args, kwargs in (
        (aten.permute.default, (list(order),), {}),
        (aten.clone.default, (), {"memory_format": torch.contiguous_format}),
        (aten.permute.default, (Output(output.node, value, order).restoring,), {}),
    ):
        with graph.inserting_after(result):
            step = graph.call_function(target, (result, *args), kwargs)
        with value.fake_mode:
            step.meta["val"] = target(result.meta["val"], *args, **kwargs)
        result = step
    return result


def _dense(tensor: torch.Tensor) -> torch.Tensor:
    with tensor.fake_mode:
        return torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)


def relax_views(graph: Graph) -> None:
    """Outside engines a view takes any strides: `reshape` had become `view` for those of the sample inputs."""
    for node in graph.find_nodes(op="call_function", target=torch.ops.aten.view.default):
        root = viewed(node)
        if root.op == "placeholder" or is_operator(root):
            node.target = torch.ops.aten.reshape.default


def drop_unused_weights(program: ExportedProgram) -> ExportedProgram:
    """A program without the parameters, buffers and constants that no node uses, and without sample inputs."""
    kinds = {InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR}
    placeholders = {node.name: node for node in program.graph.find_nodes(op="placeholder")}
    # A buffer that is only written keeps its placeholder: the signature must name what the program writes.
    written = {spec.target for spec in program.graph_signature.output_specs if spec.target is not None}
    kept = []
    for spec in program.graph_signature.input_specs:
        if spec.kind in kinds and not placeholders[spec.arg.name].users and spec.target not in written:
            program.graph.erase_node(placeholders[spec.arg.name])
        else:
            kept.append(spec)
    targets = {spec.target for spec in kept if spec.target is not None}
    return ExportedProgram(
        root=program.graph_module,
        graph=program.graph,
        graph_signature=ExportGraphSignature(kept, output_specs(program)),
        state_dict={name: tensor for name, tensor in program.state_dict.items() if name in targets},
        range_constraints=program.range_constraints,
        module_call_graph=[entry for entry in program.module_call_graph if entry.fqn == ""],
        constants={name: value for name, value in program.constants.items() if name in targets},
        verifiers=[TrainingIRVerifier] if any(map(is_mutating, program.graph.nodes)) else program.verifiers,
    )
