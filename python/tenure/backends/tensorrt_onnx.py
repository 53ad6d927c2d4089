"""The way to TensorRT through ONNX and TensorRT's own parser, for which TensorRT-RTX needs no GPU."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import onnx  # noqa: F401  # torch.onnx imports it late: what lacks must be known at once
import onnxscript  # noqa: F401
import torch
from torch.export import ExportedProgram
from torch.fx import Node
from torch.onnx._internal.exporter._registration import ONNXRegistry

from ..node_facts import tensors_of
from .tensorrt_base import TensorRTBackend, check_builds_for_this, check_ports, inputs_of, outputs_of, size_ranges

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
    torch.bool: trt.DataType.BOOL,
}
_INTEGERS = {torch.int64, torch.int32}

# What TensorRT-RTX 1.4 and its parser do not take, though torch.onnx translates it. One such operator would fail its whole part.
_OF_BYTES = {"_to_copy", "clone"}  # all that uint8 is for
_NOT_OF_BOOLS = {"add", "sub", "pow", "amax", "amin", "max", "min", "sort", "topk", "isnan"}
_PRODUCTS = {"mm", "bmm", "addmm", "baddbmm", "mv", "dot", "matmul", "linear", "einsum", "convolution"}
_NOT_OF_INTEGERS = {*_PRODUCTS, "isnan", "isinf", "relu", "round", "__and__", "__or__", "__xor__", "__lshift__", "__rshift__"}
_FAMILIES_NOT_OF_INTEGERS = ("bitwise_", "conv", "avg_pool", "max_pool")
_NOT_OF_BFLOAT16 = {"hardswish"}
_SCATTER = {"scatter", "scatter_add", "scatter_reduce"}


class OnnxTensorRTBackend(TensorRTBackend):
    """Takes what torch.onnx can translate, on whichever device."""

    way = "tensorrt-onnx"

    def __init__(self):
        check_builds_for_this(trt)
        self._registry = ONNXRegistry.from_torchlib()
        self._log = _Log()

    def why_not_converted(self, node: Node) -> str | None:
        if not self._translates(node.target):
            return "torch.onnx has no translation of it"
        return _why_tensorrt_cannot(node)

    def _translates(self, target: torch._ops.OpOverload) -> bool:
        composite = torch._C._dispatch_has_kernel_for_dispatch_key(target.name(), "CompositeImplicitAutograd")
        return composite or self._registry.is_registered(target)

    def compile(self, part: ExportedProgram, options: Mapping[str, str]) -> bytes:
        builder = trt.Builder(self._log)
        network = self._parsed(builder, part)
        inputs, outputs = inputs_of(part), outputs_of(part)
        check_ports([network.get_input(i) for i in range(network.num_inputs)], inputs, _TYPES.get)
        _narrow_outputs(network, outputs)
        check_ports([network.get_output(i) for i in range(network.num_outputs)], outputs, _TYPES.get)
        config = builder.create_builder_config()
        if options["tf32"] == "0":
            config.clear_flag(trt.BuilderFlag.TF32)
        if "workspace_bytes" in options:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(options["workspace_bytes"]))
        if "weight_streaming_budget" in options:
            config.set_flag(trt.BuilderFlag.WEIGHT_STREAMING)
        if any(not isinstance(size, int) for node in inputs for size in node.meta["val"].shape):
            profile = _profile(builder, network, inputs, part, int(options["max_size"]))
            if config.add_optimization_profile(profile) < 0:
                raise RuntimeError(f"TensorRT cannot take these sizes: {self._log.take()}")
        blob = builder.build_serialized_network(network, config)
        if blob is None:
            raise RuntimeError(f"TensorRT cannot build it: {self._log.take()}")
        return bytes(blob)

    def _parsed(self, builder: trt.Builder, part: ExportedProgram) -> trt.INetworkDefinition:
        """By way of files, since a protobuf message cannot hold weights of 2 GiB."""
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, self._log)  # the network keeps it, and it the weights
        self._log.take()
        with tempfile.TemporaryDirectory(prefix="tenure-") as folder:
            path = Path(folder, "part.onnx")
            with _quiet():
                torch.onnx.export(part, (), dynamo=True, verbose=False).save(path, external_data=True)
            if not parser.parse_from_file(str(path)):
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


def _why_tensorrt_cannot(node: Node) -> str | None:
    name = node.target._opname
    given = {tensor.dtype for operand in node.all_input_nodes for tensor in tensors_of(operand)}
    made = {tensor.dtype for tensor in tensors_of(node)}
    if torch.uint8 in given | made and name not in _OF_BYTES:
        return "TensorRT converts uint8 to other types, and does nothing else with it"
    if given == {torch.bool} and name in _NOT_OF_BOOLS:
        return "TensorRT does not do it with bool"
    if given & _INTEGERS and (name in _NOT_OF_INTEGERS or name.startswith(_FAMILIES_NOT_OF_INTEGERS)):
        return "TensorRT does not do it with integers"
    if torch.bfloat16 in given and name in _NOT_OF_BFLOAT16:
        return "TensorRT does not do it with bfloat16"
    if name in _SCATTER and isinstance(node.args[3], Node) and _sizes(node.args[2]) != _sizes(node.args[3]):
        return "TensorRT wants as many elements as indices"
    return None


def _sizes(node: Node) -> list[str]:
    return [str(size) for size in node.meta["val"].shape]


@contextmanager
def _quiet() -> Iterator[None]:
    """What torch.onnx and onnxscript tell their own users, in each part anew."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _narrow_outputs(network: trt.INetworkDefinition, nodes: list[Node]) -> None:
    """torch.onnx leaves sums of float16 and bfloat16 in the float32 that they are computed in, unless an operator reads them."""
    ports = [network.get_output(i) for i in range(network.num_outputs)]
    types = [_TYPES[node.meta["val"].dtype] for node in nodes]
    narrow = [
        port.dtype == trt.DataType.FLOAT and wanted in (trt.DataType.HALF, trt.DataType.BF16)
        for port, wanted in zip(ports, types, strict=True)
    ]
    if not any(narrow):
        return
    for port in ports:
        network.unmark_output(port)
    for port, wanted, needed in zip(ports, types, narrow, strict=True):  # all of them anew, which keeps their order
        network.mark_output(network.add_cast(port, wanted).get_output(0) if needed else port)


def _profile(builder, network, inputs: list[Node], part: ExportedProgram, max_size: int) -> trt.IOptimizationProfile:
    """One for all sizes: from the smallest to the largest, best at the sample's."""
    profile = builder.create_optimization_profile()
    for index, node in enumerate(inputs):
        profile.set_shape(network.get_input(index).name, *size_ranges(node, part, max_size))
    return profile
