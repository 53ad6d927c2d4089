"""What dynamo captured as the exported program that tenure.compile takes.

Dynamo hands over a graph of torch functions whose parameters and buffers are inputs like any other. Here it becomes a functional
graph of PyTorch operators, traced with dynamo's own symbolic sizes: what it assumes of them becomes one of dynamo's guards.
Parameters and buffers that the graph neither writes nor gives away may then be frozen: as weights, which an engine can fold in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch._dispatch.python import enable_python_dispatcher
from torch._export.verifier import TrainingIRVerifier
from torch._guards import TracingContext, tracing
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import ExportedProgram
from torch.export.exported_program import ModuleCallEntry, ModuleCallSignature
from torch.export.graph_signature import (
    ConstantArgument,
    ExportGraphSignature,
    InputKind,
    InputSpec,
    OutputKind,
    OutputSpec,
    SymIntArgument,
    TensorArgument,
)
from torch.fx import Graph, GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils import _pytree as pytree

from .engine_free import write_behind_a_hidden_view
from .errors import Error
from .node_facts import is_mutating
from .part import expression
from .prepare import functionalize, refuse_higher_order_operators, sizes_from_zero


@dataclass(frozen=True)
class InputView:
    """A result that is an input (`geometry` is None) or a view of one: made from the tensor that the caller passed."""

    position: int
    geometry: tuple[Sequence[int], Sequence[int], int] | None  # sizes, strides, offset from the input's own

    def of(self, inputs: Sequence[Any]) -> torch.Tensor:
        base = inputs[self.position]
        if self.geometry is None:
            return base
        sizes, strides, offset = self.geometry
        return base.as_strided(sizes, strides, base.storage_offset() + offset)


@dataclass(frozen=True)
class CapturedGraph:
    """A functional program whose inputs are those of dynamo's graph, less the sizes that its tensors tell. Immutable."""

    program: ExportedProgram
    positions: Sequence[int]  # of each user input of `program`: which input of dynamo's graph it is
    views: Mapping[int, InputView]  # results of dynamo's graph, by index, that are none of the program's
    written: frozenset[int]  # positions whose tensor the graph writes
    freezable: frozenset[int]  # positions of parameters and buffers that the graph neither writes nor gives away

    def frozen(self, weights: Mapping[int, torch.Tensor]) -> ExportedProgram:
        """The program with these inputs, by position, as its weights; the other inputs stay, in their order."""
        return _freeze(self.program, {self.positions.index(position): tensor for position, tensor in weights.items()})


def capture(module: GraphModule, inputs: Sequence[Any]) -> CapturedGraph:
    """Within a backend's call from dynamo, or outside with tensors of fixed sizes. Raises Error for what cannot be lowered."""
    placeholders = module.graph.find_nodes(op="placeholder")
    mode, fakes = _fake_inputs(inputs)
    mode.allow_scalar_outputs = True  # dynamo passes a float that varies as a tensor, whose item() the graph takes
    with tracing(None), torch.no_grad(), sizes_from_zero():
        graph, constants = _traced(module, mode, fakes)
        views = _take_views(graph, len(inputs))
        sources = _drop_known_sizes(graph, len(inputs))
        leaked = _given_away(graph, sources)
        if (reason := write_behind_a_hidden_view(graph)) is not None:
            raise Error("unsupported", reason)
        functional = _functional(_program(graph, constants, mode.shape_env), placeholders)
    user_inputs = [spec.arg.name for spec in functional.graph_signature.input_specs if spec.kind == InputKind.USER_INPUT]
    written = frozenset(
        sources[user_inputs.index(spec.target)]
        for spec in functional.graph_signature.output_specs
        if spec.kind == OutputKind.USER_INPUT_MUTATION
    )
    if shared := written & leaked:
        names = ", ".join(placeholders[position].name for position in sorted(shared))
        raise Error("unsupported", f"it returns a view of what it writes to: {names}")
    kept = {position for position in sources if _is_weight(placeholders[position], inputs[position])}
    return CapturedGraph(functional, sources, views, written, frozenset(kept - written - leaked))


def _functional(program: ExportedProgram, inputs: Sequence[Node]) -> ExportedProgram:
    try:
        return functionalize(program)
    except Exception as error:
        by_storage: dict[Any, list[str]] = {}
        for node in inputs:
            by_storage.setdefault(_storage(node.meta.get("example_value")), []).append(node.name)
        by_storage.pop(None, None)
        if shared := [names for names in by_storage.values() if len(names) > 1]:
            raise Error("unsupported", f"it writes to memory that inputs share: {', '.join(shared[0])}") from error
        raise


def _is_weight(node: Node, value: Any) -> bool:
    """A module's parameter or buffer, whose changes can be noticed (an inference tensor's cannot)."""
    if not isinstance(value, torch.Tensor) or value.is_inference():
        return False
    return isinstance(value, torch.nn.Parameter) or "_dynamo_static_input_type" in node.meta.get("tensor_dict", {})


def _fake_inputs(inputs: Sequence[Any]) -> tuple[FakeTensorMode, list[Any]]:
    """Tensors without data, of the sizes, symbolic ones too, that dynamo gave them."""
    context = TracingContext.try_get()
    mode = context.fake_mode if context else FakeTensorMode(shape_env=ShapeEnv())

    def fake(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        known = context.tensor_to_context.get(value) if context else None
        if known is None:
            return mode.from_tensor(value, static_shapes=True)
        return mode.from_tensor(value, symbolic_context=known, source=known.tensor_source, trace=False)

    return mode, [fake(value) for value in inputs]


def _traced(module: GraphModule, mode: FakeTensorMode, fakes: Sequence[Any]) -> tuple[Graph, dict[str, torch.Tensor]]:
    """A graph of PyTorch operators, and the tensors that it has as constants, which are its last placeholders."""

    def flat(*arguments: Any) -> tuple[Any, ...]:
        return tuple(module(*arguments))

    with mode, enable_python_dispatcher():
        traced = make_fx(flat, pre_dispatch=True, _allow_non_fake_inputs=True)(*fakes)
    refuse_higher_order_operators(traced)
    for node in traced.graph.nodes:
        if node.op == "call_function" and not node.users:
            node.meta.setdefault("val", None)  # tracing leaves it out where nothing reads the result
    constants: dict[str, torch.Tensor] = {}
    placeholders = traced.graph.find_nodes(op="placeholder")
    for node in traced.graph.find_nodes(op="get_attr"):
        value = getattr(traced, node.target)
        if not isinstance(value, torch.Tensor):
            raise Error("unsupported", f"it holds a {type(value).__name__}, {node.target}")
        with traced.graph.inserting_before(_after(traced.graph, placeholders)):
            placeholder = traced.graph.placeholder(node.target)
        placeholder.meta["val"] = mode.from_tensor(value, static_shapes=True)
        constants[placeholder.name] = value
        node.replace_all_uses_with(placeholder)
        traced.graph.erase_node(node)
        placeholders.append(placeholder)
    return traced.graph, constants


def _after(graph: Graph, placeholders: Sequence[Node]) -> Node:
    return placeholders[-1].next if placeholders else next(iter(graph.nodes))


def _drop_known_sizes(graph: Graph, count: int) -> list[int]:
    """Makes those of the first `count` inputs that are the size of a tensor be read from it; returns which inputs are left."""
    placeholders = graph.find_nodes(op="placeholder")[:count]
    sizes = {}
    for node in placeholders:
        value = node.meta["val"]
        for dim, size in enumerate(value.shape) if isinstance(value, torch.Tensor) else ():
            sizes.setdefault(expression(size), (node, dim))
    left = []
    for position, node in enumerate(placeholders):
        known = sizes.get(expression(node.meta["val"])) if isinstance(node.meta["val"], torch.SymInt) else None
        if known is None:
            left.append(position)
            continue
        with graph.inserting_after(graph.find_nodes(op="placeholder")[-1]):
            size = graph.call_function(torch.ops.aten.sym_size.int, known)
        size.meta["val"] = node.meta["val"]
        node.replace_all_uses_with(size)
        graph.erase_node(node)
    return left


def _take_views(graph: Graph, count: int) -> dict[int, InputView]:
    """Removes the results that are one of the first `count` inputs or a view of one, as far as its sizes are known."""
    results = graph.output_node().args[0]
    positions = {node: position for position, node in enumerate(graph.find_nodes(op="placeholder")[:count])}
    by_storage = {_storage(node.meta["val"]): node for node in positions}
    views, left = {}, []
    for index, result in enumerate(results):
        base = by_storage.get(_storage(result.meta["val"])) if isinstance(result, Node) else None
        if (original := _same_tensor(result)) in positions:
            views[index] = InputView(positions[original], None)
        elif base is not None and (geometry := _geometry(result.meta["val"], base.meta["val"])):
            views[index] = InputView(positions[base], geometry)
        else:
            left.append(result)
    writes = any(map(is_mutating, graph.nodes))
    if not left and not writes and results:  # torch wants a program to do something
        left.append(results[-1])
        del views[len(results) - 1]
    graph.output_node().args = (tuple(left),)
    return views


def _same_tensor(node: Any) -> Any:
    """What a chain of in-place operators started from: they return their argument itself."""
    while isinstance(node, Node) and isinstance(node.target, torch._ops.OpOverload):
        schema = node.target._schema
        written = [i for i, each in enumerate(schema.arguments) if each.alias_info is not None and each.alias_info.is_write]
        returned = [each.alias_info for each in schema.returns]
        if len(returned) != 1 or returned[0] is None or not returned[0].is_write or written[:1] != [0]:
            break
        node = node.args[0]
    return node


def _geometry(view: Any, base: Any) -> tuple[Sequence[int], Sequence[int], int] | None:
    """Sizes, strides and offset of a view as numbers, or None if it is not one or they vary."""
    if not isinstance(view, torch.Tensor) or not isinstance(base, torch.Tensor):
        return None
    if view.dtype != base.dtype or view.is_conj() != base.is_conj() or view.is_neg() != base.is_neg():
        return None
    offset = view.storage_offset() - base.storage_offset()
    numbers = [*view.shape, *view.stride(), offset]
    return (tuple(view.shape), tuple(view.stride()), offset) if all(isinstance(number, int) for number in numbers) else None


def _given_away(graph: Graph, sources: Sequence[int]) -> frozenset[int]:
    """Positions of inputs whose memory a result shares."""
    results = {_storage(node.meta["val"]) for node in graph.output_node().all_input_nodes} - {None}
    placeholders = graph.find_nodes(op="placeholder")[: len(sources)]
    return frozenset(source for source, node in zip(sources, placeholders, strict=True) if _storage(node.meta["val"]) in results)


def _storage(value: Any) -> StorageWeakRef | None:
    return StorageWeakRef(value.untyped_storage()) if isinstance(value, torch.Tensor) else None


def _program(graph: Graph, constants: Mapping[str, torch.Tensor], sizes: ShapeEnv) -> ExportedProgram:
    inputs = [
        InputSpec(InputKind.CONSTANT_TENSOR, TensorArgument(node.name), node.name)
        if node.name in constants
        else InputSpec(InputKind.USER_INPUT, _argument(node), None)
        for node in graph.find_nodes(op="placeholder")
    ]
    outputs = [OutputSpec(OutputKind.USER_OUTPUT, _argument(result), None) for result in graph.output_node().args[0]]
    values = [value for node in graph.nodes for value in pytree.tree_leaves(node.meta.get("val"))]
    numbers = [size for value in values for size in (value.shape if isinstance(value, torch.Tensor) else [value])]
    symbols = {symbol for size in numbers if isinstance(size, torch.SymInt) for symbol in size.node.expr.free_symbols}
    ranges = {symbol: sizes.var_to_range[symbol] for symbol in symbols if symbol in sizes.var_to_range}
    return _exported(graph, ExportGraphSignature(inputs, outputs), {}, constants, ranges, [TrainingIRVerifier])


def _argument(value: Any) -> TensorArgument | SymIntArgument | ConstantArgument:
    if not isinstance(value, Node):
        return ConstantArgument(name="", value=value)
    if isinstance(value.meta["val"], torch.Tensor):
        return TensorArgument(value.name)
    if isinstance(value.meta["val"], torch.SymInt):
        return SymIntArgument(value.name)
    return ConstantArgument(name=value.name, value=value.meta["val"])


def _freeze(program: ExportedProgram, weights: Mapping[int, torch.Tensor]) -> ExportedProgram:
    copies: dict[Node, Node] = {}
    graph = Graph()
    specs = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
    placeholders = program.graph.find_nodes(op="placeholder")
    users = [node for node in placeholders if specs[node.name].kind == InputKind.USER_INPUT]
    frozen = {users[index]: tensor for index, tensor in weights.items()}
    # An exported program has its weights first.
    for node in sorted(placeholders, key=lambda node: node not in frozen):
        copies[node] = graph.node_copy(node)
        if node in frozen:
            specs[node.name] = InputSpec(InputKind.BUFFER, TensorArgument(node.name), node.name, persistent=True)
    results = graph.graph_copy(program.graph, copies)
    graph.output(results)
    state = {node.name: tensor.detach() for node, tensor in frozen.items()}
    inputs = [specs[node.name] for node in graph.find_nodes(op="placeholder")]
    signature = ExportGraphSignature(inputs, program.graph_signature.output_specs)
    return _exported(graph, signature, state, program.constants, program.range_constraints, program.verifiers)


def _exported(
    graph: Graph,
    signature: ExportGraphSignature,
    state: Mapping[str, torch.Tensor],
    constants: Mapping[str, Any],
    ranges: Mapping[Any, Any],
    verifiers: Sequence[type],
) -> ExportedProgram:
    count = sum(spec.kind == InputKind.USER_INPUT for spec in signature.input_specs)
    results = [spec for spec in signature.output_specs if spec.kind == OutputKind.USER_OUTPUT]
    call = ModuleCallSignature(
        inputs=[],
        outputs=[],
        in_spec=pytree.tree_structure((tuple(range(count)), {})),
        out_spec=pytree.tree_structure(tuple(results)),
    )
    return ExportedProgram(
        root=torch.nn.Module(),
        graph=graph,
        graph_signature=signature,
        state_dict=dict(state),
        constants=dict(constants),
        range_constraints=dict(ranges),
        module_call_graph=[ModuleCallEntry(fqn="", signature=call)],
        verifiers=list(verifiers),
    )
