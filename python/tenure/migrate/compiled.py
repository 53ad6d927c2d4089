"""What torch_tensorrt.dynamo.compile returned: a graph of submodules, some of which hold an engine.

Read by the attributes that both of its runtimes give such a submodule: `serialized_engine`, the binding names, and
`symbolic_shape_expressions`, which tell inputs and outputs in the symbols of the program.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sympy
import torch
from torch.export import Dim, ExportedProgram
from torch.fx import Graph, GraphModule, Node
from torch.fx.experimental.symbolic_shapes import is_concrete_int

from ..compile import Artifact, EngineArtifact
from ..engine_spec import EngineSpec, Size
from ..errors import Error
from .engines import Port, engine_artifact, finished, tracing_calls_of

_WRAPPERS = ("compiled_module", "gm")  # of enable_cudagraphs; of MutableTorchTensorRTModule


def artifact_of_module(module: torch.nn.Module, options: Mapping[str, str]) -> Artifact:
    """Raises Error; see tenure.from_torch_tensorrt."""
    for wrapper in _WRAPPERS:
        module = getattr(module, wrapper, module)
    if module is None:
        raise Error(
            "invalid argument", "a MutableTorchTensorRTModule compiles when it is called: call it once before it is moved over"
        )
    holders = {name: child for name, child in module.named_children() if getattr(child, "serialized_engine", None)}
    if not isinstance(module, GraphModule) or not holders:
        raise Error(
            "invalid argument",
            f"{type(module).__name__} holds no TensorRT engine; it is to be what torch_tensorrt.dynamo.compile returned, or the "
            "file that torch_tensorrt.save wrote",
        )
    engines = {name: _engine(name.lstrip("_"), holder, options) for name, holder in holders.items()}
    return finished(_exported(module, engines), list(engines.values()))


def _engine(name: str, holder: torch.nn.Module, options: Mapping[str, str]) -> EngineArtifact:
    shapes = holder.symbolic_shape_expressions
    if not shapes:
        message = "it does not tell the shapes of its outputs; compile with Torch-TensorRT 2.10 or newer"
        raise Error("unsupported", message, [f"engine {name}"])
    ports = []
    for kind in ("inputs", "outputs"):
        names = getattr(holder, f"{kind[:-1]}_binding_names", None)
        if names is None:  # the Python runtime
            names = getattr(holder, f"{kind[:-1]}_names")
        told = shapes[kind]
        ports.append(
            [Port(each, row["dtype"], list(map(_size, row["shape_exprs"]))) for each, row in zip(names, told, strict=True)]
        )
    return engine_artifact(name, bytes(holder.serialized_engine), *ports, options)


def _size(told: int | sympy.Expr) -> Size:
    return told if isinstance(told, sympy.Expr) and not told.is_number else int(told)


class _Call(torch.nn.Module):
    """Stands for the engine while torch.export traces."""

    def __init__(self, spec: EngineSpec):
        super().__init__()
        self.spec = spec

    def forward(self, *inputs: torch.Tensor | float) -> torch.Tensor | tuple[torch.Tensor, ...]:
        # Sizes are shape tensors to TensorRT, which reads them on the host.
        tensors = [
            each if isinstance(each, torch.Tensor) else torch.scalar_tensor(each, dtype=binding.dtype)
            for each, binding in zip(inputs, self.spec.inputs, strict=True)
        ]
        results = torch.ops.tenure.call_engine(tensors, self.spec.name)
        return results[0] if len(results) == 1 else tuple(results)


def _exported(module: GraphModule, engines: Mapping[str, EngineArtifact]) -> ExportedProgram:
    """`module` with calls in place of its engines, and its own structure of arguments and results."""
    structure = getattr(module.graph._codegen, "pytree_info", None)
    if structure is None:
        raise Error("invalid argument", "the graph of the module does not tell the structure of its arguments")
    graph = Graph()
    graph.output(graph.graph_copy(module.graph, {}))
    flat = GraphModule(module, graph)  # shares the submodules and the weights
    for name, engine in engines.items():
        setattr(flat, name, _Call(engine.spec))
    placeholders = flat.graph.find_nodes(op="placeholder")
    with tracing_calls_of(engines.values()):
        try:
            exported = torch.export.export(
                flat, tuple(map(_sample, placeholders)), dynamic_shapes=tuple(map(_dimensions, placeholders))
            )
        except Exception as error:  # torch.export raises many kinds
            raise Error("unsupported", f"torch.export cannot trace the compiled module: {error}") from error
    signature = exported.module_call_graph[0].signature
    signature.in_spec, signature.out_spec = structure.in_spec, structure.out_spec
    return exported


def _sample(node: Node) -> Any:
    value = node.meta["val"]
    if not isinstance(value, torch.Tensor):
        return int(value) if isinstance(value, torch.SymInt) else value
    sizes, strides = ([_hint(each) for each in row] for row in (value.shape, value.stride()))
    return torch.empty_strided(sizes, strides, dtype=value.dtype, device=value.device)


def _hint(size: int | torch.SymInt) -> int:
    return int(size) if is_concrete_int(size) else size.node.hint


def _dimensions(node: Node) -> dict[int, Any] | None:
    """What torch.export is to be told of each dimension that varies."""
    value = node.meta["val"]
    if not isinstance(value, torch.Tensor):
        return Dim.DYNAMIC if isinstance(value, torch.SymInt) else None
    return {dim: _dimension(size) for dim, size in enumerate(value.shape) if not is_concrete_int(size)}


def _dimension(size: torch.SymInt) -> Any:
    expr = size.node.expr
    if not expr.is_Symbol:
        return Dim.DYNAMIC
    bounds = size.node.shape_env.var_to_range[expr]
    # torch.export says "2 or more" where it means "may differ": the engines' profiles tell what they take.
    return Dim(str(expr), min=int(bounds.lower) if bounds.lower > 2 else 0, max=int(bounds.upper) if bounds.upper < 2**31 else None)
