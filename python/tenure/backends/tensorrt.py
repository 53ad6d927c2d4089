"""TensorRT-RTX, or TensorRT: a part goes through ONNX and TensorRT's own parser. TensorRT-RTX needs no GPU for that."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import onnx  # noqa: F401  # torch.onnx imports it late: what lacks must be known at once
import onnxscript  # noqa: F401
import torch
from torch.export import ExportedProgram
from torch.fx import Node
from torch.onnx._internal.exporter._registration import ONNXRegistry

from ..errors import Error
from ..node_facts import is_getitem, tensors_of
from .base import Backend
from .size_bounds import size_bounds

try:
    import tensorrt_rtx as trt
except ImportError:
    import tensorrt as trt

_TYPES = {
    torch.float32: trt.DataType.FLOAT,
    torch.float16: trt.DataType.HALF,
    torch.bfloat16: trt.DataType.BF16,
    torch.int64: trt.DataType.INT64,
    torch.int32: trt.DataType.INT32,
    torch.uint8: trt.DataType.UINT8,
    torch.int8: trt.DataType.INT8,
    torch.bool: trt.DataType.BOOL,
}

# Float32 is float32, as in PyTorch; and engines must be told the largest sizes that they will meet.
_DEFAULTS = {"tf32": "0", "max_size": "32768"}
_OPTIONS = {*_DEFAULTS, "workspace_bytes", "weight_streaming_budget", "runtime_cache"}


class TensorRTBackend(Backend):
    """Takes what torch.onnx can translate, on whichever device; engines run on a GPU only (tenure.load(..., device="cuda")).

    Options: "tf32" ("1": matrix products and convolutions of float32 in TF32); "max_size", the largest size of a dimension that
    the export leaves unbounded; "workspace_bytes", the most scratch memory that a kernel may use; "weight_streaming_budget", the
    bytes of weights that stay on the GPU; "runtime_cache", a file for the kernels that TensorRT-RTX compiles on the GPU.
    """

    name = "tensorrt"

    def __init__(self):
        self._registry = ONNXRegistry.from_torchlib()
        self._log = _Log()

    def why_not(self, node: Node) -> str | None:
        if is_getitem(node):
            return self.why_not(node.args[0])
        if node.target.namespace != "aten":
            return f"a custom operator of {node.target.namespace}"
        for each in (node, *node.all_input_nodes):
            for tensor in tensors_of(each):
                if tensor.dtype not in _TYPES or tensor.layout != torch.strided:
                    return f"a tensor of {tensor.dtype}, {tensor.layout}"
                if tensor.dim() > 8:
                    return "a tensor of more than 8 dimensions"
        return None if self._translates(node.target) else "torch.onnx has no translation of it"

    def _translates(self, target: torch._ops.OpOverload) -> bool:
        composite = torch._C._dispatch_has_kernel_for_dispatch_key(target.name(), "CompositeImplicitAutograd")
        return composite or self._registry.is_registered(target)

    def full_options(self, options: Mapping[str, str]) -> dict[str, str]:
        if unknown := sorted(set(options) - _OPTIONS):
            raise Error(
                "invalid argument",
                f"TensorRT engines have no option {', '.join(unknown)}; they have: {', '.join(sorted(_OPTIONS))}",
            )
        for name, value in options.items():
            if name != "runtime_cache" and not value.isdecimal():
                raise Error("invalid argument", f"the option {name} is {value!r}; it is a number")
        return {**_DEFAULTS, **options}

    def compile(self, part: ExportedProgram, options: Mapping[str, str]) -> bytes:
        builder = trt.Builder(self._log)
        network = self._parsed(builder, _onnx_model(part))
        given = set(part.graph_signature.user_inputs)
        inputs = [node for node in part.graph.find_nodes(op="placeholder") if node.name in given]
        outputs = list(part.graph.output_node().args[0])
        _check_ports([network.get_input(i) for i in range(network.num_inputs)], inputs)
        _check_ports([network.get_output(i) for i in range(network.num_outputs)], outputs)
        config = builder.create_builder_config()
        if options["tf32"] == "0":
            config.clear_flag(trt.BuilderFlag.TF32)
        if "workspace_bytes" in options:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(options["workspace_bytes"]))
        if "weight_streaming_budget" in options:
            config.set_flag(trt.BuilderFlag.WEIGHT_STREAMING)
        if any(not isinstance(size, int) for node in inputs for size in node.meta["val"].shape):
            config.add_optimization_profile(_profile(builder, network, inputs, part, int(options["max_size"])))
        blob = builder.build_serialized_network(network, config)
        if blob is None:
            raise RuntimeError(f"TensorRT cannot build it: {self._log.take()}")
        return bytes(blob)

    def _parsed(self, builder: trt.Builder, model: bytes) -> trt.INetworkDefinition:
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, self._log)
        self._log.take()
        if not parser.parse(model):
            errors = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
            raise RuntimeError(f"TensorRT's ONNX parser: {errors or self._log.take()}")
        return network


class _Log(trt.ILogger):
    """Keeps errors; TensorRT's own log would go to the terminal."""

    def __init__(self):
        super().__init__()
        self._errors: list[str] = []

    def log(self, severity: trt.ILogger.Severity, text: str) -> None:
        if severity <= trt.ILogger.Severity.ERROR:
            self._errors.append(text)

    def take(self) -> str:
        errors, self._errors = self._errors, []
        return "; ".join(errors) or "it gives no reason"


def _onnx_model(part: ExportedProgram) -> bytes:
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        return torch.onnx.export(part, (), dynamo=True, verbose=False).model_proto.SerializeToString()
    finally:
        quiet.setLevel(level)


def _check_ports(ports: list[trt.ITensor], nodes: list[Node]) -> None:
    """What leaves and enters the engine has the order and the types that the part says."""
    if len(ports) != len(nodes):
        raise RuntimeError(f"the converted part has {len(ports)} inputs or outputs, not {len(nodes)}")
    for port, node in zip(ports, nodes, strict=True):
        tensor = node.meta["val"]
        if port.dtype != _TYPES[tensor.dtype] or len(port.shape) != tensor.dim():
            raise RuntimeError(
                f"{port.name} of the converted part is {port.dtype} {port.shape}, not {tensor.dtype} of rank {tensor.dim()}"
            )


def _profile(builder, network, inputs: list[Node], part: ExportedProgram, max_size: int) -> trt.IOptimizationProfile:
    """One for all sizes: from the smallest to the largest, best at the sample's."""
    profile = builder.create_optimization_profile()
    for index, node in enumerate(inputs):
        low, best, high = [], [], []
        for size in node.meta["val"].shape:
            least, most = size_bounds(size, part)
            most = max(max_size, least) if most is None else most
            low.append(least)
            high.append(most)
            best.append(min(max(_hint(size), least), most))
        profile.set_shape(network.get_input(index).name, low, best, high)
    return profile


def _hint(size: int | torch.SymInt) -> int:
    return size if isinstance(size, int) else size.node.hint if size.node.hint is not None else 1
