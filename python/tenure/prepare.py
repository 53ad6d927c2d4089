"""A model as the functional graph that partitioning starts from."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sympy
import torch
from torch._library.fake_impl import FakeImplCtx
from torch._ops import HigherOrderOperator
from torch.export import ExportedProgram, exported_program
from torch.export.graph_signature import ExportGraphSignature, OutputKind
from torch.fx import Graph, Node

from .engine_free import whole_of
from .errors import Error
from .mutations import FUNCTIONALIZED
from .node_facts import (
    hides_view,
    is_compute,
    is_getitem,
    is_idle_dropout,
    is_mutating,
    is_operator,
    is_part_of_view,
    makes_memory,
    output_specs,
    tensors_of,
    weight_tensors,
)
from .observed_strides import observe_strides, tell_view
from .part import expression
from .written_strides import drop_copies_of_the_same, write_by_copies, writes_that_may_reorder

_WRITES = (OutputKind.BUFFER_MUTATION, OutputKind.USER_INPUT_MUTATION)
_KEPT_META = ("val", "unbacked_bindings")


@contextmanager
def sizes_from_zero() -> Iterator[None]:
    """Within the block, custom operators' shape rules make data-dependent sizes of zero or more.

    torchvision's rule for nms asks for a size by a deprecated name whose default is "two or more": an exported detector would
    refuse a picture with one object or none. Not thread-safe, as torch.export is not.
    """
    deprecated = FakeImplCtx.create_unbacked_symint
    FakeImplCtx.create_unbacked_symint = FakeImplCtx.new_dynamic_size
    try:
        yield
    finally:
        FakeImplCtx.create_unbacked_symint = deprecated


def export(model: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any] | None, dynamic_shapes: Any) -> ExportedProgram:
    """The model in the mode (train or eval) that its owner set. Raises Error with what torch.export says."""
    try:
        with torch.no_grad(), sizes_from_zero():
            return torch.export.export(model, tuple(args), dict(kwargs or {}), dynamic_shapes=dynamic_shapes)
    except Exception as error:  # torch.export raises many kinds
        where = [f"model {type(model).__name__}"]
        raise Error("invalid argument", f"torch.export cannot export the model: {error}", where) from error


def functionalize(program: ExportedProgram) -> ExportedProgram:
    """torch.export's functional form, of whole operators. `program` stays as it is. Raises what torch.export raises."""
    if writes_that_may_reorder(program.graph) or any(map(is_idle_dropout, program.graph.nodes)):
        program = as_exported(program, with_samples=True)
        write_by_copies(program.graph)
        _drop_idle_dropouts(program)
    with _copies_into_state_kept(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)  # torch's own, about its own code
        # torch's shape rule for aten::zero gives dense strides; the operator keeps those of its argument.
        return program.run_decompositions({torch.ops.aten.zero.default: torch.zeros_like})


def _drop_idle_dropouts(program: ExportedProgram) -> None:
    """They return their argument, of which torch.export would make a copy."""
    for node in filter(is_idle_dropout, program.graph.nodes):
        node.replace_all_uses_with(node.args[0])
        program.graph.erase_node(node)
    program.graph_signature.output_specs[:] = output_specs(program)


@contextmanager
def _copies_into_state_kept() -> Iterator[None]:
    """Within the block, torch.export leaves what `buffer.copy_(x)` became a copy.

    It would put x in its place, whose sizes, dtype and strides may be others, and which may itself be a result: the two would then
    be one tensor. Not thread-safe, as torch.export is not.
    """
    name = "_remove_unnecessary_copy_op_pass"
    removes = getattr(exported_program, name)
    setattr(exported_program, name, lambda graph_module, signature: (graph_module, signature))
    try:
        yield
    finally:
        setattr(exported_program, name, removes)


def decompose(program: ExportedProgram, observe: bool = True) -> ExportedProgram:
    """A functional graph of whole operators (linear, layer_norm, attention stay one operator each), tidied.

    `observe`: run it once on its sample inputs, for strides. Raises Error for higher-order operators. `program` stays as it is.
    """
    refuse_higher_order_operators(program)
    with torch.no_grad(), sizes_from_zero():
        try:
            exported, program = program, functionalize(program)
        except Exception as error:  # torch.export raises many kinds
            raise Error(
                "unsupported",
                f"torch.export cannot bring the program into functional form: {error}; its file, as torch.export.save writes it, "
                "can be loaded and run as PyTorch operators",
            ) from error
    _drop_traces(program.graph)
    # What these check was settled when the graph was traced; as users of a tensor they would only tie it to a part's border.
    for node in program.graph.find_nodes(op="call_function", target=torch.ops.aten._assert_tensor_metadata.default):
        program.graph.erase_node(node)
    # What torch.export thinks that nobody can tell from a copy: results may be several such views of one tensor.
    for node in program.graph.find_nodes(op="call_function", target=torch.ops.aten._unsafe_view.default):
        node.target = torch.ops.aten.view.default
    if observe:
        observe_strides(program)
    drop_copies_of_the_same(program.graph)
    _drop_copies(program.graph)
    _return_what_was_written(program, exported)
    _drop_copies_into_state(program)
    _give_returned_state_its_strides(program)
    _drop_conversions_to_the_same(program.graph)
    _give_results_views_of_their_own(program)
    _share_sizes(program)
    _mark_small_integers(program)
    program.graph.eliminate_dead_code()
    program.graph_signature.output_specs[:] = output_specs(program)
    return program


def as_exported(program: ExportedProgram, with_samples: bool = False) -> ExportedProgram:
    """The program itself, in a graph of its own, but for traces of source code and perhaps sample inputs. It shares the weights."""
    graph = copy.deepcopy(program.graph)
    for node, original in zip(graph.nodes, program.graph.nodes, strict=True):
        node.name = original.name  # "input", say, which torch.fx would give to no node
    _drop_traces(graph)
    return ExportedProgram(
        root=program.graph_module,
        graph=graph,
        graph_signature=ExportGraphSignature(list(program.graph_signature.input_specs), list(program.graph_signature.output_specs)),
        state_dict=program.state_dict,
        range_constraints=program.range_constraints,
        module_call_graph=program.module_call_graph,
        example_inputs=program.example_inputs if with_samples else None,
        constants=program.constants,
        verifiers=program.verifiers,
    )


def _drop_traces(graph: Graph) -> None:
    for node in graph.nodes:
        node.meta = {key: node.meta[key] for key in _KEPT_META if key in node.meta}


def refuse_higher_order_operators(program: ExportedProgram) -> None:
    """cond, while_loop, map and their kind; a block under no_grad or autocast is none, since decomposition inlines it."""
    for node in higher_order_operators(program):
        if node.target not in FUNCTIONALIZED and node.target.name() not in _INLINED:
            raise Error(
                "unsupported",
                f"{node.target.name()} is control flow inside the graph, which Tenure does not run: write it with tensor operators "
                "(torch.where), or compile its branches as programs of their own",
                [f"node {node.name}"],
            )


def higher_order_operators(program: ExportedProgram) -> list[Node]:
    return [node for node in program.graph.nodes if isinstance(node.target, HigherOrderOperator)]


_INLINED = {"wrap_with_set_grad_enabled", "wrap_with_autocast"}


def _share_sizes(program: ExportedProgram) -> None:
    """One node per size, read from the earliest tensor that has it: a later tensor may then live inside an engine."""
    first: dict[sympy.Expr, tuple[Node, int]] = {}
    shared: dict[sympy.Expr, Node] = {}
    graph = program.graph
    for node in list(graph.nodes):
        value = node.meta.get("val")
        if node.target == torch.ops.aten.sym_size.int and isinstance(expr := expression(value), sympy.Expr):
            tensor, dim = first[expr]
            if expr not in shared:
                with graph.inserting_after(tensor):
                    shared[expr] = graph.call_function(torch.ops.aten.sym_size.int, (tensor, dim))
                shared[expr].meta = dict(node.meta)
            node.replace_all_uses_with(shared[expr])
            graph.erase_node(node)
        elif isinstance(value, torch.Tensor):
            for dim, size in enumerate(map(expression, value.shape)):
                if isinstance(size, sympy.Expr):
                    first.setdefault(size, (node, dim))


def _drop_copies(graph: Graph) -> None:
    """Removes copies (what dropout is in inference) where nobody could tell the copy from the original."""
    if any(map(is_mutating, graph.nodes)):
        return
    for node in graph.find_nodes(op="call_function", target=torch.ops.aten.clone.default):
        original = node.args[0]
        private = len(original.users) == 1 or all(is_compute(user) and not hides_view(user) for user in node.users)
        pending = node.meta["val"].is_complex()  # perhaps a conjugation, which a copy carries out
        if makes_memory(original) and private and not pending and node.meta["val"].stride() == original.meta["val"].stride():
            node.replace_all_uses_with(original)
            graph.erase_node(node)


def _return_what_was_written(program: ExportedProgram, exported: ExportedProgram) -> None:
    """A result that is an input itself, or a buffer, is what was written into it last, not a value that is equal to that."""
    outputs = list(program.graph.output_node().args[0])
    specs = program.graph_signature.output_specs
    written = {spec.target: value for spec, value in zip(specs, outputs, strict=True) if spec.kind in _WRITES}
    targets = {spec.arg.name: spec.target or spec.arg.name for spec in exported.graph_signature.input_specs}
    results = [k for k, spec in enumerate(specs) if spec.kind is OutputKind.USER_OUTPUT]
    for k, before in zip(reversed(results), reversed(exported.graph.output_node().args[0]), strict=False):
        whole = whole_of(before) if isinstance(before, Node) else None
        if whole is not None:
            outputs[k] = written.get(targets[whole.name], outputs[k])
    program.graph.output_node().args = (tuple(outputs),)


def _drop_copies_into_state(program: ExportedProgram) -> None:
    """What is made only to be the new content of a buffer need not be copied: it can be made where the buffer lies."""
    for spec, new in zip(program.graph_signature.output_specs, program.graph.output_node().args[0], strict=True):
        if spec.kind is not OutputKind.BUFFER_MUTATION or new.target is not torch.ops.aten.copy.default:
            continue
        old, made = new.args[0].meta["val"], new.args[1]
        like_old = made.meta["val"].shape == old.shape and made.meta["val"].dtype == old.dtype
        like_old = like_old and made.meta["val"].stride() == old.stride()
        if like_old and makes_memory(made) and not _reaches_results(made, but=new):
            new.replace_all_uses_with(made, propagate_meta=False)
            program.graph.erase_node(new)


def _give_returned_state_its_strides(program: ExportedProgram) -> None:
    """Results that are what a buffer or an input was made to hold, or views of that, have strides as it has."""
    placeholders = {node.name: node for node in program.graph.find_nodes(op="placeholder")}
    inputs = {spec.target or spec.arg.name: placeholders[spec.arg.name] for spec in program.graph_signature.input_specs}
    output = program.graph.output_node()
    results = list(zip(program.graph_signature.output_specs, output.args[0], strict=True))
    returned = {result for spec, result in results if spec.kind is OutputKind.USER_OUTPUT}
    for spec, new in results:
        if spec.kind not in _WRITES:
            continue
        views = [user for user in new.users if is_part_of_view(user) and _reaches_results(user)]
        old = inputs[spec.target]
        like_old = new.meta["val"].shape == old.meta["val"].shape and new.meta["val"].stride() != old.meta["val"].stride()
        if like_old and (new in returned or views):
            with program.graph.inserting_after(new):
                copied = program.graph.call_function(torch.ops.aten.copy.default, (old, new))
            copied.meta["val"] = old.meta["val"]
            output.replace_input_with(new, copied)
            for view in views:
                view.replace_input_with(new, copied)
                _tell_anew(view)


def _tell_anew(view: Node) -> None:
    tell_view(view)
    for user in view.users:
        if is_part_of_view(user):
            _tell_anew(user)


def _reaches_results(node: Node, but: Node | None = None) -> bool:
    """Whether it, or a view of it, is an output, through other users than `but`."""
    return any(
        user.op == "output" or (is_part_of_view(user) and _reaches_results(user, but)) for user in node.users if user is not but
    )


def _drop_conversions_to_the_same(graph: Graph) -> None:
    """x.type_as(y) of the same dtype is x itself; an engine would return a copy of it."""
    for node in graph.find_nodes(op="call_function", target=torch.ops.aten.type_as.default):
        if node.args[0].meta["val"].dtype == node.meta["val"].dtype:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)


def _give_results_views_of_their_own(program: ExportedProgram) -> None:
    """A view that is returned gets a twin for the return, so that a part can take the one and leave the other.

    What an engine returns is dense memory of its own: a returned view stays outside, or results that share memory no longer would.
    """
    graph, twins = program.graph, dict[Node, Node]()

    def twin(node: Node) -> Node:
        maker = node.args[0] if is_getitem(node) else node
        if not is_part_of_view(node) and not (is_operator(maker) and hides_view(maker)):
            return node
        if node not in twins:
            with graph.inserting_after(node):
                twins[node] = graph.node_copy(node)
            for viewed in node.all_input_nodes:
                if tensors_of(viewed):
                    twins[node].replace_input_with(viewed, twin(viewed))
        return twins[node]

    output = graph.output_node()
    specs_and_results = list(zip(program.graph_signature.output_specs, output.args[0], strict=True))
    written = {result for spec, result in specs_and_results if spec.kind in _WRITES}  # and so no views, but inputs themselves
    output.args = (
        tuple(
            twin(result) if spec.kind is OutputKind.USER_OUTPUT and isinstance(result, Node) and result not in written else result
            for spec, result in specs_and_results
        ),
    )


def _mark_small_integers(program: ExportedProgram) -> None:
    """`fits_int32` on the int64 weights that do (position tables, say), for backends that compute int64 in int32."""
    weights = weight_tensors(program)
    for node in program.graph.find_nodes(op="placeholder"):
        tensor = weights.get(node.name)
        if tensor is not None and tensor.dtype == torch.int64 and tensor.numel():
            low, high = torch.aminmax(tensor)
            node.meta["fits_int32"] = bool(low >= -(2**31) and high < 2**31)
