"""Facts about the nodes of an exported graph that do not depend on a backend."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence

import sympy
import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind, OutputSpec, SymIntArgument, TensorArgument
from torch.fx import Node
from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols, is_concrete_int, statically_known_true

aten = torch.ops.aten

# Views that keep the order of the elements: of dense memory they are dense too, and cost an engine nothing.
_RESHAPES = {
    aten.view.default,
    aten.unsqueeze.default,
    aten.squeeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.alias.default,
    aten.detach.default,
}

_WEIGHT_KINDS = {InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR}


def tensors_of(node: Node) -> list[torch.Tensor]:
    """The fake tensors that a node yields: one, several, or none (a number, nothing)."""
    value = node.meta.get("val")
    if isinstance(value, torch.Tensor):
        return [value]
    return [item for item in value if isinstance(item, torch.Tensor)] if isinstance(value, list | tuple) else []


def is_tensor(node: Node) -> bool:
    return isinstance(node.meta.get("val"), torch.Tensor)


def is_symbolic_number(node: Node) -> bool:
    """Yields an integer, float or bool that is known only in a run."""
    return isinstance(node.meta.get("val"), torch.SymInt | torch.SymFloat | torch.SymBool | int | float | bool)


def is_operator(node: Node) -> bool:
    return node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload)


def is_custom(node: Node) -> bool:
    """An operator of neither PyTorch nor Tenure."""
    return is_operator(node) and node.target.namespace not in ("aten", "prim", "prims", "tenure")


def takes_dense_as_well(node: Node) -> bool:
    """A custom operator that is known, or says by a tag, to compute the same dense results from dense arguments as from others."""
    if not is_custom(node) or is_view(node) or not all(map(is_contiguous, tensors_of(node))):
        return False
    return operator_names(node.target)[0] in _COPY_TO_DENSE or not _TAKES_DENSE_TAGS.isdisjoint(node.target.tags)


def is_getitem(node: Node) -> bool:
    return node.op == "call_function" and node.target is operator.getitem


def is_view(node: Node) -> bool:
    """The result shares the memory of an argument and nothing is written: slice, permute, split, ..."""
    if not is_operator(node):
        return False
    schema = node.target._schema
    return not schema.is_mutable and any(result.alias_info is not None for result in schema.returns)


def is_part_of_view(node: Node) -> bool:
    """A view, or one of the several that one operator makes."""
    return is_view(node) or (is_getitem(node) and is_view(node.args[0]))


def viewed(node: Node) -> Node:
    """What a chain of views ends at; the node itself if it is no view."""
    while is_part_of_view(node):
        node = node.args[0]
    return node


def is_mutating(node: Node) -> bool:
    """Writes into an argument."""
    return is_operator(node) and (node.target._schema.is_mutable or bool(updated_statistics(node)))


def is_reshape(node: Node) -> bool:
    return node.target in _RESHAPES


def addresses_storage(node: Node) -> bool:
    """Its result depends on the storage of its argument, not on the elements of that alone."""
    return is_operator(node) and node.target.overloadpacket in _BY_STORAGE


def is_compute(node: Node) -> bool:
    """Counts as an operator for min_block_size."""
    return is_operator(node) and not is_view(node)


def is_dense(node: Node) -> bool:
    """Certainly contiguous, for every size the graph allows."""
    return is_contiguous(node.meta["val"])


def is_contiguous(tensor: torch.Tensor) -> bool:
    """Certainly, for every size the graph allows."""
    return memory_order(tensor) == tuple(range(tensor.dim()))


def memory_order(tensor: torch.Tensor) -> tuple[int, ...] | None:
    """The order of its dimensions in which it is certainly contiguous (channels last, say), if there is one."""
    order, left = list[int](), list(range(tensor.dim()))
    inner, inner_or_one = 1, 1  # PyTorch counts sizes of 0 as 1, and tells so where they depend on data
    while left:
        fits = (dim for dim in reversed(left) if _has_stride(tensor, dim, inner, inner_or_one))
        if (narrowest := next(fits, None)) is None:
            return None
        order.insert(0, narrowest)
        left.remove(narrowest)
        size = tensor.shape[narrowest]
        inner, inner_or_one = inner * size, inner_or_one * torch.sym_max(size, 1)
    return tuple(order)


def _has_stride(tensor: torch.Tensor, dim: int, *strides: int | torch.SymInt) -> bool:
    """Certainly one of them, or no need of one."""
    size = tensor.shape[dim]
    if is_concrete_int(size) and size == 1:
        return True
    return any(statically_known_true(tensor.stride(dim) == stride) for stride in strides)


def data_dependent_sizes(nodes: Iterable[Node]) -> set[sympy.Symbol]:
    """Symbols in the sizes of their tensors, or in their numbers, whose values follow from the data of earlier tensors."""
    sizes = [size for node in nodes for tensor in tensors_of(node) for size in tensor.shape]
    sizes += [node.meta["val"] for node in nodes if isinstance(node.meta.get("val"), torch.SymInt)]
    return {symbol for size in sizes if isinstance(size, torch.SymInt) for symbol in free_unbacked_symbols(size)}


def operator_names(target: torch._ops.OpOverload) -> tuple[str, str]:
    """ "aten.sin" and "aten.sin.default"."""
    packet = f"{target.namespace}.{target._opname}"
    return packet, f"{packet}.{target._overloadname}"


def why_no_engine_takes(node: Node) -> str | None:
    """Why no engine of any backend can hold this node; None if one might."""
    if is_getitem(node):
        return why_no_engine_takes(node.args[0])
    if not is_operator(node):
        return "not an operator"
    if is_mutating(node):
        return "it writes into its arguments"
    if addresses_storage(node):
        return "it addresses the storage of its argument, which an engine does not see"
    if hides_view(node):
        return "its result is its argument or a view of it, and an engine's would not be"
    if _keeps_gaps(node):
        return "its result keeps the gaps between the elements of its argument, and an engine's is dense"
    for tag, reason in _REFUSED_TAGS.items():
        if tag in node.target.tags and not (tag is torch.Tag.nondeterministic_seeded and drops_nothing(node)):
            return reason
    if node.meta.get("unbacked_bindings"):
        return "the size of its result depends on data"
    if not tensors_of(node):
        return "it yields no tensor"
    values = node.meta["val"]
    if isinstance(values, list | tuple) and len(tensors_of(node)) != len(values):
        return "it yields something that is not a tensor"
    if any(tensor.is_complex() for each in (node, *node.all_input_nodes) for tensor in tensors_of(each)):
        return "it computes with complex numbers, whose conjugation may be pending"
    if any(isinstance(arg.meta.get("val"), torch.SymFloat | torch.SymBool) for arg in node.all_input_nodes):
        return "it takes a symbolic float or bool"
    return None


def updated_statistics(node: Node) -> list[Node]:
    """What a normalization in training writes into, though its schema is silent: the running statistics that it is given."""
    if not is_operator(node) or node.target.overloadpacket not in _TRAINING:
        return []
    arguments = arguments_of(node)
    if arguments.get(_TRAINING[node.target.overloadpacket], False) is False:
        return []
    return [given for name in ("running_mean", "running_var") if isinstance(given := arguments.get(name), Node)]


def makes_memory(node: Node) -> bool:
    """An operator of one result, which lies in memory of its own."""
    return is_operator(node) and is_tensor(node) and not is_view(node) and not hides_view(node)


def hides_view(node: Node) -> bool:
    """The result shares memory with an argument, though the schema does not say so."""
    packet, first = node.target.overloadpacket, node.args[0] if node.args else None
    if packet is aten.einsum:
        return _only_permutes(*node.args[:2])
    if packet in _OF_ONE:
        return isinstance(first, list | tuple) and len(first) == 1
    if packet in _OF_THE_SAME and isinstance(first, Node):
        before, after = first.meta["val"], node.meta["val"]
        return before.shape == after.shape and before.dtype == after.dtype
    return packet in _HIDDEN_VIEWS


def _only_permutes(equation: str, operands: Sequence[Node]) -> bool:
    """Whether an einsum is a permutation or a diagonal of one operand: nothing is multiplied or summed."""
    if len(operands) != 1:
        return False
    given, arrow, kept = equation.replace(" ", "").partition("->")
    return set(given) == set(kept if arrow else (letter for letter in given if given.count(letter) == 1 or letter == "."))


def _keeps_gaps(node: Node) -> bool:
    """The functional form of a write into part of a tensor: PyTorch lays the result out as the tensor lies, in every other element
    of a row, say."""
    return node.target.overloadpacket in _FUNCTIONAL_WRITES and memory_order(node.meta["val"]) is None


def arguments_of(node: Node) -> dict[str, object]:
    """Of an operator, by name, as given."""
    return dict(zip((argument.name for argument in node.target._schema.arguments), node.args, strict=False)) | node.kwargs


def is_idle_dropout(node: Node) -> bool:
    """In inference, or of nothing: its result is its argument."""
    if not is_operator(node) or node.target.overloadpacket not in _DROPOUTS:
        return False
    _, probability, training = node.args
    return not training or probability == 0


def drops_nothing(node: Node) -> bool:
    """The only randomness of attention is dropout, which inference does without."""
    arguments = arguments_of(node)
    names = {argument.name for argument in node.target._schema.arguments}
    return "dropout_p" in names and arguments.get("dropout_p", 0.0) == 0.0


_DROPOUTS = {aten.dropout, aten.alpha_dropout, aten.feature_dropout, aten.feature_alpha_dropout}
_TRAINING = {
    aten.batch_norm: "training",
    aten.native_batch_norm: "training",
    aten._batch_norm_impl_index: "training",
    aten.cudnn_batch_norm: "training",
    aten.miopen_batch_norm: "training",
    aten.instance_norm: "use_input_stats",
}

_FUNCTIONAL_WRITES = {aten.copy, aten.slice_scatter, aten.select_scatter, aten.diagonal_scatter}
_BY_STORAGE = {aten.as_strided, aten.as_strided_scatter, aten.as_strided_copy}

# Views of their arguments that their schemas keep quiet about: always; where nothing is to be done; of a list of one.
_HIDDEN_VIEWS = {
    aten.meshgrid,
    aten.broadcast_tensors,
    aten.unsafe_chunk,
    aten.unsafe_split,
    aten.unsafe_split_with_sizes,
    aten.atleast_1d,
    aten.atleast_2d,
    aten.atleast_3d,
}
_OF_THE_SAME = {aten.sum_to_size, aten.conj_physical, aten.lift, aten.to_dense, aten.type_as}
_OF_ONE = {aten.cartesian_prod, aten.chain_matmul}

# Their kernels begin by copying what is not dense (torchvision/csrc/ops/cpu: input.contiguous()).
_COPY_TO_DENSE = {f"torchvision.{name}" for name in ("roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d")}
_TAKES_DENSE_TAGS = {torch.Tag.flexible_layout, torch.Tag.needs_contiguous_strides}

_REFUSED_TAGS = {
    torch.Tag.nondeterministic_seeded: "it draws random numbers",
    torch.Tag.data_dependent_output: "its result depends on data",
}


def weight_tensors(program: ExportedProgram) -> dict[str, torch.Tensor]:
    """By placeholder name: the parameters, buffers and constants that the program never writes."""
    written = {
        spec.target
        for spec in program.graph_signature.output_specs
        if spec.kind in (OutputKind.BUFFER_MUTATION, getattr(OutputKind, "PARAMETER_MUTATION", None))
    }
    return {
        spec.arg.name: (program.state_dict if spec.target in program.state_dict else program.constants)[spec.target]
        for spec in program.graph_signature.input_specs
        if spec.kind in _WEIGHT_KINDS and spec.target not in written
    }


def input_free_nodes(program: ExportedProgram, may_take: Iterable[Node]) -> set[Node]:
    """Nodes among `may_take` that follow from weights and sizes alone: an engine computes them rather than take them as inputs."""
    candidates, weights = set(may_take), weight_tensors(program)
    known: set[Node] = {node for node in program.graph.nodes if node.op == "placeholder" and node.name in weights}
    free: set[Node] = set()
    for node in program.graph.nodes:
        if node in candidates and all(arg in known or is_symbolic_number(arg) for arg in node.all_input_nodes):
            known.add(node)
            free.add(node)
    return free


def output_specs(program: ExportedProgram) -> list[OutputSpec]:
    """Those of its signature, under the names that the nodes have now."""
    renamed = []
    for spec, node in zip(program.graph_signature.output_specs, program.graph.output_node().args[0], strict=True):
        arg = spec.arg
        if isinstance(node, Node) and isinstance(arg, TensorArgument | SymIntArgument):
            arg = type(arg)(name=node.name)
        renamed.append(OutputSpec(spec.kind, arg, spec.target))
    return renamed
