"""What both ways to a TensorRT engine have in common: options, and which tensors an engine takes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from .. import _tenure
from ..errors import Error
from ..node_facts import is_getitem, tensors_of
from .base import Backend
from .size_bounds import size_bounds

# Not int8, which to TensorRT is a quantized float; nor float64, which it does not have.
TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8, torch.bool)

# Float32 is float32, as in PyTorch; and engines must be told the largest sizes that they will meet.
_DEFAULTS = {"tf32": "0", "max_size": "32768"}
_OPTIONS = {*_DEFAULTS, "workspace_bytes", "weight_streaming_budget", "runtime_cache", "shape_specialization"}
_SPECIALIZATIONS = ("none", "lazy", "eager")


class TensorRTBackend(Backend):
    """Engines of TensorRT or TensorRT-RTX, which run on a GPU only (tenure.load(..., device="cuda")).

    Options: "tf32" ("1": matrix products and convolutions of float32 in TF32); "max_size", the largest size of a dimension that
    the export leaves unbounded; "workspace_bytes", the most scratch memory that a kernel may use; "weight_streaming_budget", the
    bytes of weights that stay on the GPU; "runtime_cache", a file for the kernels that TensorRT-RTX compiles on the GPU,
    "" for none; by default one beside the program's file (tenure.load); "shape_specialization": "none" (unless
    told), "lazy" or "eager", when TensorRT-RTX compiles kernels for single sizes, which are wrong in 1.4
    (tenure/engine/tensorrt/README.md).
    """

    name = "tensorrt"

    def why_not(self, node: Node) -> str | None:
        if is_getitem(node):
            return self.why_not(node.args[0])
        if node.target.namespace != "aten":
            return f"a custom operator of {node.target.namespace}"
        for each in (node, *node.all_input_nodes):
            for tensor in tensors_of(each):
                if tensor.dtype not in TYPES or tensor.layout != torch.strided:
                    return f"a tensor of {tensor.dtype}, {tensor.layout}"
                if tensor.dim() > 8:
                    return "a tensor of more than 8 dimensions"
        return self.why_not_converted(node)

    @abstractmethod
    def why_not_converted(self, node: Node) -> str | None:
        """None if the node's operator can be brought into a TensorRT network."""

    def full_options(self, options: Mapping[str, str]) -> dict[str, str]:
        if unknown := sorted(set(options) - _OPTIONS):
            raise Error(
                "invalid argument",
                f"TensorRT engines have no option {', '.join(unknown)}; they have: {', '.join(sorted(_OPTIONS))}",
            )
        for name, value in options.items():
            if name == "shape_specialization" and value not in _SPECIALIZATIONS:
                raise Error("invalid argument", f"the option {name} is {value!r}; it is one of {', '.join(_SPECIALIZATIONS)}")
            if name not in ("runtime_cache", "shape_specialization") and not value.isdecimal():
                raise Error("invalid argument", f"the option {name} is {value!r}; it is a number")
        return {**_DEFAULTS, **options}


def check_builds_for_this(package: ModuleType) -> None:
    """`package`, which builds engines, is that of the TensorRT which this build of Tenure runs them with, if it runs any.

    TensorRT and TensorRT-RTX do not read each other's engines, nor as a rule those of another version.
    """
    runs = _tenure.backend_runtimes().get("tensorrt")
    builds = f"{'TensorRT-RTX' if 'rtx' in package.__name__ else 'TensorRT'} {package.__version__}"
    if runs is not None and _release(runs) != _release(builds):
        raise Error(
            "unsupported",
            f"{package.__name__} builds engines of {builds}, and this Tenure runs those of {runs}: install the package of that "
            "version, or build Tenure with TENSORRT_ROOT naming the other",
        )


def _release(product: str) -> list[str]:
    """["TensorRT-RTX", "1", "4"] of "TensorRT-RTX 1.4.0.76"."""
    return product.replace(" ", ".").split(".")[:3]


def inputs_of(part: ExportedProgram) -> list[Node]:
    """The placeholders of tensors that come from outside, in order."""
    given = set(part.graph_signature.user_inputs)
    return [node for node in part.graph.find_nodes(op="placeholder") if node.name in given]


def outputs_of(part: ExportedProgram) -> list[Node]:
    """In order."""
    return list(part.graph.output_node().args[0])


def size_ranges(node: Node, part: ExportedProgram, max_size: int) -> tuple[tuple[int, ...], ...]:
    """The smallest sizes of a tensor, the sample's and the largest. Those that depend on one another do so in all three: TensorRT
    looks."""
    ranges = [_size_range(size, part, max_size) for size in node.meta["val"].shape]
    return tuple(tuple(each[which] for each in ranges) for which in range(3))


def _size_range(size: int | torch.SymInt, part: ExportedProgram, max_size: int) -> tuple[int, int, int]:
    low, high = size_bounds(size, part, max_size)
    return low, min(max(_hint(size), low), high), high


def _hint(size: int | torch.SymInt) -> int:
    return size if isinstance(size, int) else size.node.hint if size.node.hint is not None else 1


def check_ports(ports: Sequence[Any], nodes: Sequence[Node], type_of: Callable[[torch.dtype], object]) -> None:
    """What leaves or enters the engine has the order, the types and the sizes that the part says. A port has name, dtype and shape;
    `type_of` is its word for a dtype."""
    if len(ports) != len(nodes):
        raise RuntimeError(f"the converted part has {len(ports)} inputs or outputs, not {len(nodes)}")
    for port, node in zip(ports, nodes, strict=True):
        tensor = node.meta["val"]
        fits = len(port.shape) == tensor.dim() and all(map(_fits, port.shape, tensor.shape))
        if port.dtype != type_of(tensor.dtype) or not fits:
            raise RuntimeError(
                f"{port.name} of the converted part is {port.dtype} {port.shape}, not {tensor.dtype} {list(tensor.shape)}"
            )


def _fits(converted: int, size: int | torch.SymInt) -> bool:
    """-1 stands for a size that varies."""
    return converted == -1 or not isinstance(size, int) or converted == size
