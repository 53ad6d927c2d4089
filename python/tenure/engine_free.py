"""Programs that get no engines, since what they write reaches further, or less far, than their functional form can tell.

Engines need the functional form. Where it would give other numbers than the program in place, the program stays as it was exported.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Graph, Node

from .node_facts import (
    addresses_storage,
    arguments_of,
    hides_view,
    is_getitem,
    is_idle_dropout,
    is_mutating,
    is_operator,
    is_view,
    operator_names,
    tensors_of,
)

aten = torch.ops.aten

# Views of some strides and copies of others; their schemas say "view".
_VIEWS_OR_COPIES = {aten.reshape, aten.reshape_as, aten.flatten, aten.ravel, aten.contiguous}
# Their result may be their argument or a view of it, which their schemas keep quiet about, besides those of hides_view().
_PERHAPS_VIEWS = {
    aten.einsum,
    aten.tensordot,
    aten.combinations,
    aten.channel_shuffle,
    aten.pixel_shuffle,
    aten.pixel_unshuffle,
}
# After a write into such a view torch.export has in its base a rounded sum, `base + (new - base)`, or 0 where no window is.
_INEXACT = {aten.expand, aten.expand_as, aten.broadcast_to, aten.broadcast_tensors, aten.meshgrid, aten.unfold}
# Their result may be their argument, the same tensor object, whose sizes an operator in place changes.
_PERHAPS_ITSELF = {
    *(aten.to, aten.contiguous, aten.type_as, aten.positive, aten.real, aten.conj, aten.resolve_conj, aten.resolve_neg),
    *(aten.conj_physical, aten.lift, aten.to_dense, aten.sum_to_size, aten.atleast_1d, aten.atleast_2d, aten.atleast_3d),
    *(aten.expand_as, aten.reshape),
}


def why_no_engines(exported: ExportedProgram) -> str | None:
    """Of a program as torch.export traces it: which write has no functional form. None if all have one."""
    for node in exported.graph.nodes:
        if is_operator(node) and torch.Tag.inplace_view in node.target.tags and whole_of(node, but_for=_PERHAPS_ITSELF):
            return f"{_named(node)} gives an input other sizes or strides, in place"
    inputs = {node for node in exported.graph.nodes if node.name in exported.graph_signature.user_inputs}
    for node in exported.graph.nodes:
        if is_operator(node) and addresses_storage(node):
            origins = _origins(node.args[0])
            if any(map(_may_hide_view, origins)) or (inputs & origins and _has(_VIEWS_OR_COPIES, origins)):
                return f"{_named(node)} addresses the memory of a view or a copy, by the inputs' strides or a hidden view"
    for result in exported.graph.output_node().args[0]:
        # Of a view by reshape, which is what becomes of it, more inputs allow.
        if isinstance(result, Node) and inputs & (origins := _origins(result)) and _has({aten.ravel}, origins):
            return f"it returns a view of an input, or of a copy where the input has gaps ({result.name})"
    if (write := _inexact_write(exported.graph)) is not None:
        return f"{_named(write)} writes through an expanded or unfolded view, whose functional form is not exact"
    memory = _Memory(exported.graph)
    if (write := memory.write_of_uncertain_reach()) is not None:
        return f"what {_named(write)} writes may reach other tensors or not, by the strides of the inputs or by a hidden view"
    if (view := memory.view_of_a_changed_input(exported)) is not None:
        return f"it returns a view of an input that it changes ({view.name}), which would become a copy"
    return None


def write_behind_a_hidden_view(graph: Graph) -> str | None:
    """The same for a graph that is traced for the strides of its inputs: only views that schemas hide are uncertain there."""
    if (write := _inexact_write(graph)) is not None:
        return f"{_named(write)} writes through an expanded or unfolded view"
    memory = _Memory(graph)
    memory.uncertain = [(base, view) for base, view in memory.uncertain if view.target.overloadpacket not in _VIEWS_OR_COPIES]
    write = memory.write_of_uncertain_reach()
    return None if write is None else f"what {_named(write)} writes may reach a view of it that a schema hides"


def writes_that_overlap(graph: Graph) -> list[Node]:
    """Of a functional graph: as_strided_scatter into memory where several of its elements share a place.

    That is what torch.export makes of a write into a piece of such a view. Which of the elements stays is nobody's promise; in
    eager PyTorch only the piece is written.
    """
    scatters = graph.find_nodes(op="call_function", target=aten.as_strided_scatter.default)
    return [node for node in scatters if _overlaps(*node.args[2:4])]


def _inexact_write(graph: Graph) -> Node | None:
    return next((write for write in filter(is_mutating, graph.nodes) if _has(_INEXACT, _origins(*_written(write)))), None)


def _origins(*nodes: Node) -> set[Node]:
    """They and all that they are, or may be, views of."""
    return set().union(*(_reached(node, lambda each: [base for base, _ in _memory_of(each)]) for node in nodes))


def _has(packets: Collection[torch._ops.OpOverloadPacket], nodes: Collection[Node]) -> bool:
    return any(is_operator(node) and node.target.overloadpacket in packets for node in nodes)


def _named(node: Node) -> str:
    return f"{node.name} ({operator_names(node.target)[0]})"


class _Memory:
    """Which values of a graph lie in one memory, certainly or perhaps."""

    def __init__(self, graph: Graph):
        self.place = {node: place for place, node in enumerate(graph.nodes)}
        self.writes = [node for node in graph.nodes if is_mutating(node)]
        self.uncertain: list[tuple[Node, Node]] = []  # a value and what may be a view of it
        self.viewed: dict[Node, list[Node]] = defaultdict(list)
        self.views: dict[Node, list[Node]] = defaultdict(list)
        if not self.writes:
            return
        for node in graph.nodes:
            for base, certain in _memory_of(node):
                self.viewed[node].append(base)
                self.views[base].append(node)
                if not certain:
                    self.uncertain.append((base, node))

    def write_of_uncertain_reach(self) -> Node | None:
        """Whether other values of its memory change with what is written depends on whether one of them is a view."""
        for write in self.writes:
            written = list(_written(write))
            for _, view in self.uncertain:
                group, below = self.group(view), self.below(view)
                for target in written:
                    if target not in group:
                        continue
                    others = group - below if target in below else below
                    if (target in below or self.place[view] < self.place[write]) and self.seen_after(write, others):
                        return write
        return None

    def view_of_a_changed_input(self, exported: ExportedProgram) -> Node | None:
        """A result other than the input itself."""
        given = {spec.arg.name for spec in exported.graph_signature.input_specs if spec.kind is InputKind.USER_INPUT}
        changed = {node for write in self.writes for target in _written(write) for node in self.group(target)}
        inputs = {node for node in changed if node.op == "placeholder" and node.name in given}
        if not inputs:
            return None
        names = set(exported.graph_signature.user_outputs)
        for node in self.place:
            of_input = node in changed and node not in inputs and whole_of(node) is None
            if of_input and node.name in names and inputs & self.group(node):
                return node
        return None

    def below(self, node: Node) -> set[Node]:
        """It and what lies in its memory by way of it."""
        return _reached(node, lambda each: self.views.get(each, []))

    def group(self, node: Node) -> set[Node]:
        """All that may lie in its memory."""
        return _reached(node, lambda each: [*self.views.get(each, []), *self.viewed.get(each, [])])

    def seen_after(self, write: Node, values: set[Node]) -> bool:
        """Somebody reads one of them after that, or holds it outside."""
        return any(
            value.op == "placeholder" or any(self.place[user] > self.place[write] for user in value.users) for value in values
        )


def _reached(node: Node, neighbours) -> set[Node]:
    found, open_ = {node}, [node]
    while open_:
        for each in neighbours(open_.pop()):
            if each not in found:
                found.add(each)
                open_.append(each)
    return found


def _memory_of(node: Node) -> Iterator[tuple[Node, bool]]:
    """The arguments in whose memory a result lies, and whether it does so for certain."""
    if is_getitem(node):
        yield node.args[0], True
    elif is_operator(node):
        packet = node.target.overloadpacket
        if is_view(node):
            for argument in _annotated(node, written=False):
                yield argument, packet not in _VIEWS_OR_COPIES
        elif is_mutating(node):
            for argument in _written(node):
                yield argument, True
        elif is_idle_dropout(node):
            yield node.args[0], True
        elif _may_hide_view(node):
            for argument in node.all_input_nodes:
                yield argument, False


def _may_hide_view(node: Node) -> bool:
    if not is_operator(node) or is_view(node) or is_mutating(node) or is_idle_dropout(node):
        return False
    return node.target.overloadpacket in _PERHAPS_VIEWS or bool(tensors_of(node) and hides_view(node))


def _written(node: Node) -> Iterator[Node]:
    return _annotated(node, written=True)


def _annotated(node: Node, written: bool) -> Iterator[Node]:
    """Arguments that the schema says are written, or viewed."""
    arguments = arguments_of(node)
    for parameter in node.target._schema.arguments:
        if parameter.alias_info is None or parameter.alias_info.is_write != written:
            continue
        given = arguments.get(parameter.name)
        yield from (each for each in (given if isinstance(given, list | tuple) else [given]) if isinstance(each, Node))


def whole_of(node: Node | None, but_for: Collection[torch._ops.OpOverloadPacket] = ()) -> Node | None:
    """The input that this is by another name (what operators in place return, and those of `but_for`), or that it is itself."""
    while is_operator(node):
        if is_mutating(node):
            returned = [result.alias_info for result in node.target._schema.returns]
            if len(returned) != 1 or returned[0] is None or not returned[0].is_write:
                return None  # statistics, say, that a normalization writes beside its result
            node = next(_written(node))
        elif node.target.overloadpacket in but_for or is_idle_dropout(node):
            node = node.args[0]
        else:
            return None
    return node if node is not None and node.op == "placeholder" else None


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
