"""A part: nodes of a program cut out for one engine, as an exported program of its own.

The weights that the part uses are its buffers; its user inputs and outputs are the tensors that cross the border, all dense; an
output that PyTorch would keep in another order of dimensions (channels last, say) leaves the engine permuted into that order.
Numbers that the nodes need (sizes) are computed inside, from the sizes of the part's own tensors: no number crosses the border.
"""

from __future__ import annotations

import operator
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import sympy
import torch
from torch.export import ExportedProgram
from torch.export.exported_program import ModuleCallEntry, ModuleCallSignature
from torch.export.graph_signature import (
    ExportGraphSignature,
    InputKind,
    InputSpec,
    OutputKind,
    OutputSpec,
    TensorArgument,
)
from torch.fx import Graph, Node
from torch.utils import _pytree as pytree

from .node_facts import is_dense, is_symbolic_number, is_tensor, memory_order

_ARITHMETIC = {operator.add, operator.sub, operator.mul, operator.floordiv}


class Underivable(Exception):
    """`node` needs a number that the part's own tensors do not tell."""

    def __init__(self, node: Node):
        super().__init__(node.name)
        self.node = node


@dataclass(frozen=True)
class Output:
    """The engine gives `value`: what `node` of the program is, but that dimension k of it is dimension order[k] of `node`."""

    node: Node
    value: torch.Tensor  # a fake one
    order: Sequence[int]

    @property
    def restoring(self) -> Sequence[int] | None:
        """What to permute `value` by to have `node`; None if it is that already."""
        places = [self.order.index(dim) for dim in range(len(self.order))]
        return None if places == sorted(places) else places


@dataclass(frozen=True)
class Part:
    """`inputs` are nodes of the program; `program` takes their tensors and returns those of `outputs`, in this order."""

    nodes: Sequence[Node]
    inputs: Sequence[Node]
    outputs: Sequence[Output]
    program: ExportedProgram


def extract_part(
    whole: ExportedProgram,
    nodes: Sequence[Node],
    weights: Mapping[str, torch.Tensor],
    free: set[Node],
    dense_will_do: Container[Node] = (),
) -> Part:
    """Cuts `nodes` (in the order of the graph, closed under paths) out of `whole`, which stays as it is.

    `weights` are the tensors by placeholder name that become buffers of the part; `free` are nodes that follow from them and from
    sizes, and are copied into the part where it uses them. Outputs in `dense_will_do`, whose readers take dense memory anyhow,
    leave the part dense, in whatever order PyTorch would keep them. Raises Underivable.
    """
    return _Extraction(whole, nodes, weights, free).part(dense_will_do)


def border_outputs(nodes: Sequence[Node]) -> list[Node]:
    """Those of `nodes` that something outside uses."""
    inside = set(nodes)
    return [node for node in nodes if any(user not in inside for user in node.users)]


def expression(number: object) -> sympy.Expr | int:
    """Of a size or symbolic number; plain if it is known."""
    if isinstance(number, torch.SymInt):
        expr = number.node.expr
        return int(expr) if expr.is_number else expr
    return number


class _Extraction:
    def __init__(self, whole: ExportedProgram, nodes: Sequence[Node], weights: Mapping[str, torch.Tensor], free: set[Node]):
        self.whole, self.nodes, self.weights, self.free = whole, nodes, weights, free
        self.inside = set(nodes)
        self.graph = Graph()
        self.copies: dict[Node, Node | int] = {}
        self.inputs: list[Node] = []
        self.buffers: dict[str, torch.Tensor] = {}
        # They follow from an input that is dense in the part but not in the program: their own strides may be others here too.
        self.restrided: set[Node] = set()
        # Placeholders go before this mark, so that inputs can be found while nodes are copied.
        self.mark = self.graph.call_function(operator.pos, (0,))

    def part(self, dense_will_do: Container[Node]) -> Part:
        for node in self.nodes:
            for arg in node.all_input_nodes:
                if is_tensor(arg) and arg not in self.inside and arg not in self.free and arg.name not in self.weights:
                    self.take_input(arg)
        for node in self.nodes:
            self.copy(node)
        given = [self.give_output(node, keeps_order=node not in dense_will_do) for node in border_outputs(self.nodes)]
        results = [result for result, _ in given]
        self.graph.output(tuple(results))
        self.graph.erase_node(self.mark)
        return Part(self.nodes, self.inputs, [output for _, output in given], self.program(results))

    def give_output(self, node: Node, keeps_order: bool) -> tuple[Node, Output]:
        copy, value = self.copies[node], node.meta["val"]
        order = memory_order(value) if keeps_order else None
        output = Output(node, value, order or range(value.dim()))
        if output.restoring is None:
            return copy, output
        with value.fake_mode:
            output = Output(node, value.permute(order), order)
        permuted = self.graph.call_function(torch.ops.aten.permute.default, (copy, list(order)))
        permuted.meta["val"] = output.value
        return permuted, output

    def take_input(self, node: Node) -> Node:
        if node not in self.copies:
            with self.graph.inserting_before(self.mark):
                copy = self.graph.placeholder(node.name)
            copy.meta["val"] = _dense(node.meta["val"])
            self.copies[node] = copy
            self.inputs.append(node)
        return self.copies[node]

    def take_weight(self, node: Node) -> Node:
        first = next(iter(self.graph.nodes))
        with self.graph.inserting_before(first):
            copy = self.graph.placeholder(node.name)
        copy.meta["val"] = node.meta["val"]
        self.copies[node] = copy
        self.buffers[copy.name] = self.weights[node.name].detach()
        return copy

    def copy(self, node: Node) -> Node:
        args, kwargs = pytree.tree_map_only(Node, lambda arg: self.argument(arg, node), (node.args, node.kwargs))
        if any(arg in self.restrided or (arg in self.inputs and not is_dense(arg)) for arg in node.all_input_nodes):
            self.restrided.add(node)
            if node.target is torch.ops.aten.view.default:
                args = (self.contiguous(args[0]), *args[1:])
        copy = self.graph.create_node("call_function", node.target, args, kwargs, name=node.name)
        copy.meta["val"] = node.meta["val"]
        self.copies[node] = copy
        return copy

    def contiguous(self, node: Node) -> Node:
        copy = self.graph.call_function(torch.ops.aten.clone.default, (node,), {"memory_format": torch.contiguous_format})
        copy.meta["val"] = _dense(node.meta["val"])
        return copy

    def argument(self, arg: Node, user: Node) -> Node | int:
        if arg in self.copies:
            return self.copies[arg]
        if is_symbolic_number(arg):
            number = self.number(arg)
            if number is None:
                raise Underivable(user)
            self.copies[arg] = number
            return number
        if arg.name in self.weights:
            return self.take_weight(arg)
        if arg in self.free:
            try:
                return self.copy(arg)
            except Underivable:  # computed outside then, as an input
                return self.take_input(arg)
        return self.take_input(arg)

    def number(self, node: Node) -> Node | int | None:
        """The same number, from the part's own tensors."""
        value = node.meta["val"]
        expr = expression(value)
        if not isinstance(value, torch.SymInt) or not isinstance(expr, sympy.Expr):
            return expr
        if found := self.size_in_part(expr):
            tensor, dim = found
            target, args = torch.ops.aten.sym_size.int, (tensor, dim)
        elif node.target in _ARITHMETIC:
            args = tuple(self.number_or_none(arg) for arg in node.args)
            if None in args:
                return None
            target = node.target
        else:
            return None
        copy = self.graph.call_function(target, args)
        copy.meta["val"] = value
        return copy

    def number_or_none(self, arg: object) -> Node | int | None:
        if not isinstance(arg, Node):
            return arg if isinstance(arg, int) else None
        if arg not in self.copies:
            number = self.number(arg)
            if number is None:
                return None
            self.copies[arg] = number
        return self.copies[arg]

    def size_in_part(self, expr: sympy.Expr) -> tuple[Node, int] | None:
        """A tensor of the part that has a dimension of this size; an input if there is one."""
        for original, copy in self.copies.items():
            if isinstance(copy, Node) and isinstance(copy.meta["val"], torch.Tensor) and original.name not in self.weights:
                for dim, size in enumerate(copy.meta["val"].shape):
                    if expression(size) == expr:
                        return copy, dim
        return None

    def program(self, results: Sequence[Node]) -> ExportedProgram:
        inputs = [self.copies[node] for node in self.inputs]
        signature = ExportGraphSignature(
            input_specs=[
                InputSpec(InputKind.BUFFER, TensorArgument(node.name), node.name, persistent=True)
                if node.name in self.buffers
                else InputSpec(InputKind.USER_INPUT, TensorArgument(node.name), None)
                for node in self.graph.find_nodes(op="placeholder")
            ],
            output_specs=[OutputSpec(OutputKind.USER_OUTPUT, TensorArgument(node.name), None) for node in results],
        )
        symbols = {symbol for tensor in self.graph.nodes for symbol in _symbols(tensor)}
        call = ModuleCallSignature(
            inputs=[],
            outputs=[],
            in_spec=pytree.tree_structure((tuple(inputs), {})),
            out_spec=pytree.tree_structure(tuple(results)),
        )
        return ExportedProgram(
            root=torch.nn.Module(),
            graph=self.graph,
            graph_signature=signature,
            state_dict=self.buffers,
            range_constraints={symbol: bounds for symbol, bounds in self.whole.range_constraints.items() if symbol in symbols},
            module_call_graph=[ModuleCallEntry(fqn="", signature=call)],
            verifiers=self.whole.verifiers,
        )


def _symbols(node: Node) -> set[sympy.Symbol]:
    values = pytree.tree_leaves(node.meta.get("val"))
    sizes = [size for value in values for size in (value.shape if isinstance(value, torch.Tensor) else [value])]
    return {symbol for size in sizes if isinstance(size, torch.SymInt) for symbol in size.node.expr.free_symbols}


def _dense(tensor: torch.Tensor) -> torch.Tensor:
    with tensor.fake_mode:
        return torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)
