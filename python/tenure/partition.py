"""Which nodes of a program become parts for engines.

Stages: a backend's own verdict per node; torch.fx's CapabilityBasedPartitioner; then what it leaves open:
  - it walks from the outputs: what could have run in an earlier part moves there;
  - it puts unrelated nodes into one part, so each part is split into those that wait for the same inputs;
  - views at a part's border, which are free as PyTorch operators and copies as engine outputs, are peeled off;
  - a node that needs a number which its part cannot derive stays a PyTorch operator, and the partitioner runs again;
  - parts with fewer than `min_block_size` compute operators stay PyTorch operators.
Weights, and nodes that follow from weights and sizes alone, take no part in this: each part gets copies of those it uses.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import OutputKind
from torch.fx import Node
from torch.fx.passes.infra.partitioner import CapabilityBasedPartitioner
from torch.fx.passes.operator_support import OperatorSupportBase

from .errors import Error
from .node_facts import (
    addresses_storage,
    data_dependent_sizes,
    input_free_nodes,
    is_compute,
    is_dense,
    is_getitem,
    is_operator,
    is_part_of_view,
    is_reshape,
    is_symbolic_number,
    is_tensor,
    is_view,
    operator_names,
    takes_dense_as_well,
    tensors_of,
    viewed,
    weight_tensors,
    why_no_engine_takes,
)
from .order import each_waits_for_the_one_before, nodes_in_order
from .part import Part, Underivable, border_outputs, extract_part
from .state_updates import state_updates


@dataclass(frozen=True)
class Rejection:
    """Nodes that an engine could have taken, and why they stay PyTorch operators."""

    nodes: Sequence[Node]
    reason: str


@dataclass(frozen=True)
class Partitioning:
    """For one backend: disjoint parts; what nearly became one; by operator, why the backend takes none of its nodes or not all; and
    the nodes that stay and must run in this order, which the parts allow."""

    parts: Sequence[Part]
    rejections: Sequence[Rejection]
    refused: Mapping[str, str]
    in_order: Sequence[Node]


def normalize_operators(names: Iterable[object]) -> frozenset[str]:
    """Operators as "aten.sin", "aten.sin.default", torch.ops.aten.sin or torch.ops.aten.sin.default -> their dotted names.

    Raises Error for a name that no registered operator has.
    """
    return frozenset(_operator_name(name) for name in names)


def _operator_name(name: object) -> str:
    if isinstance(name, torch._ops.OpOverload):
        return operator_names(name)[1]
    if isinstance(name, torch._ops.OpOverloadPacket):
        return str(name)
    text = str(name).removeprefix("torch.ops.").replace("::", ".")
    namespace, _, rest = text.partition(".")
    try:
        found = getattr(torch.ops, namespace)
        for attribute in rest.split("."):
            found = getattr(found, attribute)
    except (AttributeError, RuntimeError):
        found = None
    if not isinstance(name, str) or not isinstance(found, torch._ops.OpOverload | torch._ops.OpOverloadPacket):
        raise Error(
            "invalid argument",
            f"torch_executed_ops: no operator is called {name!r}; write it as 'aten.sin' or 'aten.sin.default', and import the "
            "library that registers it first",
        )
    return text


def partition(program: ExportedProgram, why_not: Callable[[Node], str | None], min_block_size: int) -> Partitioning:
    """`why_not(node)` is None if the backend takes the node, else the reason. The program stays as it is."""
    updates, ordered = state_updates(program) | _read_by_storage(program), nodes_in_order(program)
    in_order = list(ordered)
    reasons = {
        node: why_no_engine_takes(node) or updates.get(node) or ordered.get(node) or why_not(node)
        for node in program.graph.nodes
        if node.op == "call_function"
    }
    refused = {
        operator_names(node.target)[1]: reason
        for node, reason in reasons.items()
        if reason and tensors_of(node) and is_operator(node)
    }
    takes = {node for node, reason in reasons.items() if reason is None} - _returned_views(program)
    weights, free = weight_tensors(program), input_free_nodes(program, takes)
    takes -= free
    while True:
        cuts, parts, rejections, dropped = [], [], [], set()
        for nodes in _cuts(program, takes, free | _weight_nodes(program, weights), in_order):
            reason = _why_not_worth_it(nodes, min_block_size)
            if reason:
                rejections.append(Rejection(nodes, reason))
            else:
                cuts.append(nodes)
        taken = {node for nodes in cuts for node in nodes}
        dense_will_do = {node for node in taken if all(user in taken or takes_dense_as_well(user) for user in node.users)}
        for nodes in cuts:
            try:
                parts.append(extract_part(program, nodes, weights, free, dense_will_do))
            except Underivable as error:
                dropped.add(error.node)
        if not dropped:
            return Partitioning(parts, rejections, refused, in_order)
        underivable = "it needs a size that its part cannot derive"
        refused |= {operator_names(node.target)[1]: underivable for node in dropped if is_operator(node)}
        takes -= _with_getitems(dropped)


def _weight_nodes(program: ExportedProgram, weights: Collection[str]) -> set[Node]:
    return {node for node in program.graph.find_nodes(op="placeholder") if node.name in weights}


def _returned_views(program: ExportedProgram) -> set[Node]:
    """Views between a result and what it is a view of. Outside engines they cost nothing and share memory as in PyTorch."""
    found: set[Node] = set()
    for spec, node in zip(program.graph_signature.output_specs, program.graph.output_node().args[0], strict=True):
        while spec.kind is OutputKind.USER_OUTPUT and isinstance(node, Node) and is_part_of_view(node):
            found.add(node)
            node = node.args[0]
    return found


def _read_by_storage(program: ExportedProgram) -> dict[Node, str]:
    """What as_strided and its kind address: copies of a part of a storage may lie in one of that size, engine outputs lie alone."""
    bases = [viewed(node.args[0]) for node in program.graph.nodes if addresses_storage(node)]
    return dict.fromkeys(bases, "its storage is addressed, by an as_strided")


def _with_getitems(nodes: set[Node]) -> set[Node]:
    return nodes | {user for node in nodes for user in node.users if is_getitem(user)}


class _Takes(OperatorSupportBase):
    def __init__(self, takes: set[Node]):
        self.takes = takes

    def is_node_supported(self, submodules, node: Node) -> bool:
        return node in self.takes


def _cuts(program: ExportedProgram, takes: set[Node], given: set[Node], in_order: Sequence[Node]) -> list[list[Node]]:
    """Connected sets of nodes in graph order, borders peeled. `given` are nodes that every part has for nothing."""
    order = {node: index for index, node in enumerate(program.graph.nodes)}
    partitioner = CapabilityBasedPartitioner(program.graph_module, _Takes(takes), allows_single_node_partition=True)
    with each_waits_for_the_one_before(in_order):
        proposals = partitioner.propose_partitions()
    work = deque(_hoisted(program, [set(proposal.nodes) for proposal in proposals], given))
    cuts = []
    while work:
        nodes = work.popleft()
        pieces = _pieces(nodes, given)
        if len(pieces) > 1:
            work.extend(pieces)
            continue
        peeled = _peeled(nodes, given)
        if peeled != nodes:
            work.append(peeled)
        elif nodes:
            cuts.append(sorted(nodes, key=order.__getitem__))
    return sorted(cuts, key=lambda nodes: order[nodes[0]])


def _hoisted(program: ExportedProgram, parts: list[set[Node]], given: set[Node]) -> list[set[Node]]:
    """Moves each node whose arguments all come from one earlier part into that part.

    The partitioner walks from the outputs, so a branch that runs beside what an engine cannot take (the second head of a detector)
    ends up behind it: its engine would wait, and take the large tensors of the trunk as inputs.
    """
    owner = {node: index for index, part in enumerate(parts) for node in part}
    for node in program.graph.nodes:
        tensors = [arg for arg in node.all_input_nodes if not is_symbolic_number(arg) and arg not in given]
        sources = {owner.get(arg) for arg in tensors}
        if node not in owner or len(sources) != 1 or None in sources or owner[node] in sources:
            continue
        if data_dependent_sizes(node.all_input_nodes) <= data_dependent_sizes(tensors):  # else its numbers come from elsewhere
            parts[owner[node]].remove(node)
            owner[node] = sources.pop()
            parts[owner[node]].add(node)
    return parts


def _border_inputs(nodes: Collection[Node], given: set[Node]) -> frozenset[Node]:
    arguments = {arg for node in nodes for arg in node.all_input_nodes if not is_symbolic_number(arg)}
    return frozenset(arguments - set(nodes) - given)


def _pieces(nodes: set[Node], given: set[Node]) -> list[set[Node]]:
    """Connected components; those that wait for exactly the same inputs are one piece, since neither holds the other up."""
    left, by_inputs = set(nodes), {}
    while left:
        component, frontier = set(), [left.pop()]
        while frontier:
            node = frontier.pop()
            component.add(node)
            near = {other for other in (*node.all_input_nodes, *node.users) if other in left}
            left -= near
            frontier.extend(near)
        by_inputs.setdefault(_border_inputs(component, given), set()).update(component)
    return list(by_inputs.values())


def _peeled(nodes: set[Node], given: set[Node]) -> set[Node]:
    """`nodes` less one layer of border views that an engine would pay for and PyTorch gets for nothing."""
    return {node for node in nodes if not _is_border_view(node, nodes, given)}


def _is_border_view(node: Node, nodes: set[Node], given: set[Node]) -> bool:
    if is_getitem(node):
        return is_view(node.args[0]) and _is_border_view(node.args[0], nodes, given)
    if not is_view(node):
        return False
    base = node.args[0]
    results = [node] if is_tensor(node) else list(node.users)
    leaves = [result for result in results if any(user not in nodes for user in result.users)]
    if base not in nodes and base not in given:
        # It would alias the part's input if it left; a dense piece of a larger tensor costs nothing outside and a copy inside.
        return bool(leaves) or (not is_reshape(node) and all(is_dense(result) for result in results))
    if not leaves or any(user in nodes for result in results for user in result.users):
        return bool(leaves) and _views_an_input(node, nodes, given)
    return _shares_memory_outside(node, nodes) or _views_an_input(node, nodes, given)


def _shares_memory_outside(node: Node, nodes: set[Node]) -> bool:
    """The views down to what this one is a view of are not all reshapes of it, or one of them leaves the part as well: a dense copy
    of it would have other strides, or not share memory with what it shares memory with in PyTorch."""
    while is_view(node):
        base = node.args[0]
        if not is_reshape(node) or any(_leaves(user, nodes) for user in base.users if user is not node):
            return True
        node = base
    return False


def _leaves(node: Node, nodes: set[Node]) -> bool:
    """It, or a view of it, is outside the part."""
    return node not in nodes or ((is_view(node) or is_getitem(node)) and any(_leaves(user, nodes) for user in node.users))


def _views_an_input(node: Node, nodes: set[Node], given: set[Node]) -> bool:
    """Nothing but views lie between this node and the part's border."""
    while is_view(node) or is_getitem(node):
        node = node.args[0]
        if node not in nodes:
            return node not in given
    return False


def _why_not_worth_it(nodes: Sequence[Node], min_block_size: int) -> str | None:
    computing = [node for node in nodes if is_compute(node)]
    if not computing:
        return "nothing but views"
    if len(computing) < min_block_size:
        return f"{len(computing)} compute operators, fewer than min_block_size={min_block_size}"
    if not any(is_tensor(node) for node in border_outputs(nodes)):
        return "nothing uses its results"
    if all(data_dependent_sizes([node]) for node in computing) and not any(_is_heavy(node) for node in computing):
        return "element-wise arithmetic on sizes that depend on data, for which an engine would plan anew in nearly every run"
    return None


_HEAVY = ("conv", "linear", "mm", "matmul", "attention", "lstm", "gru", "rnn", "einsum")


def _is_heavy(node: Node) -> bool:
    return is_operator(node) and any(word in node.target._opname for word in _HEAVY)
