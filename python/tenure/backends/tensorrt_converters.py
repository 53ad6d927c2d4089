"""The way to TensorRT through Torch-TensorRT's list of operators, lowering and converters, for which it needs a GPU."""

from __future__ import annotations

import logging
import operator
import warnings
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch_tensorrt
from torch.export import ExportedProgram
from torch.fx import Node
from torch_tensorrt.dynamo import CompilationSettings, convert_exported_program_to_serialized_trt_engine
from torch_tensorrt.dynamo.conversion import DYNAMO_CONVERTERS
from torch_tensorrt.dynamo.lowering import get_decompositions

from ..prepare import as_exported
from ..rewrite import relax_views
from .expansions import call_key, expanded
from .tensorrt_base import TensorRTBackend, check_builds_for_this, check_ports, inputs_of, outputs_of, size_ranges

import tensorrt as trt  # isort: skip  # which of TensorRT and TensorRT-RTX it is, Torch-TensorRT has decided

_TYPED = {"enabled_precisions": {torch_tensorrt.dtype.f32}, "use_explicit_typing": True}  # each tensor as the part has it
_WORKSPACE = 0  # Torch-TensorRT's word for "as TensorRT likes"


class TorchTensorRTBackend(TensorRTBackend):
    """Takes what Torch-TensorRT has converters for, by itself or after its decompositions, in float32, float16, bfloat16, bool,
    int32 and int64. Weights may lie on any device. A size may be 1 or more: Torch-TensorRT builds no engine for empty inputs."""

    way = "tensorrt-converters"

    def __init__(self):
        check_builds_for_this(trt)
        self._settings = CompilationSettings(**_TYPED)
        self._table = get_decompositions(decompose_attention=True)
        self._reasons: dict[Hashable, str | None] = {}

    def why_not_converted(self, node: Node) -> str | None:
        key = call_key(node)
        if key not in self._reasons:
            DYNAMO_CONVERTERS.set_compilation_settings(self._settings)  # one for the process, which others may have changed
            self._reasons[key] = self._reason(node)
        return self._reasons[key]

    def _reason(self, node: Node) -> str | None:
        tensors = [each.meta["val"] for each in (node, *node.all_input_nodes) if isinstance(each.meta["val"], torch.Tensor)]
        if any(tensor.dtype == torch.uint8 for tensor in tensors):
            return "Torch-TensorRT converts uint8 to other types, if anything"
        if _converts(node):
            return None
        try:
            expansion = expanded(node, self._table)
        except Exception as error:  # whatever a decomposition raises
            return f"Torch-TensorRT has no converter for it, and it does not decompose: {error}"
        inner = (each for each in expansion.graph.nodes if each.op == "call_function")
        foreign = sorted({str(each.target) for each in inner if not _converts(each)})
        return f"Torch-TensorRT has no converter for {', '.join(foreign)}" if foreign else None

    def compile(self, part: ExportedProgram, options: Mapping[str, str]) -> bytes:
        with _told() as errors:
            try:
                blob = convert_exported_program_to_serialized_trt_engine(
                    _with_any_strides(part),
                    arg_inputs=[_input(node, part, int(options["max_size"])) for node in inputs_of(part)],
                    **_TYPED,
                    disable_tf32=options["tf32"] == "0",
                    workspace_size=int(options.get("workspace_bytes", _WORKSPACE)),
                    enable_weight_streaming="weight_streaming_budget" in options,
                    require_full_compilation=True,
                    decompose_attention=True,  # else it is what the device of the sample computes it by
                )
            except Exception as error:  # it logs the reason, and fails over what it then lacks
                raise RuntimeError(f"Torch-TensorRT cannot convert it: {'; '.join(errors) or error}") from error
        _check(bytes(blob), part)
        return bytes(blob)


def _converts(node: Node) -> bool:
    try:
        return node.target is operator.getitem or node in DYNAMO_CONVERTERS
    except Exception:  # a validator that looks for arguments which were left to their defaults, say
        return False


def _with_any_strides(part: ExportedProgram) -> ExportedProgram:
    """A copy whose views hold for other strides than the part's, which Torch-TensorRT's decompositions give some operators."""
    copied = as_exported(part)
    relax_views(copied.graph)
    return copied


def _input(node: Node, part: ExportedProgram, max_size: int) -> torch_tensorrt.Input:
    tensor = node.meta["val"]
    low, best, high = size_ranges(node, part, max_size)
    if low == high:
        return torch_tensorrt.Input(shape=low, dtype=tensor.dtype)
    smallest = tuple(max(size, 1) for size in low)
    return torch_tensorrt.Input(min_shape=smallest, opt_shape=tuple(map(max, best, smallest)), max_shape=high, dtype=tensor.dtype)


@dataclass(frozen=True)
class _Port:
    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]


def _check(blob: bytes, part: ExportedProgram) -> None:
    engine = trt.Runtime(trt.Logger(trt.Logger.ERROR)).deserialize_cuda_engine(blob)
    if engine is None:
        raise RuntimeError("TensorRT cannot read the engine that it built")
    ports = {trt.TensorIOMode.INPUT: [], trt.TensorIOMode.OUTPUT: []}
    for name in (engine.get_tensor_name(index) for index in range(engine.num_io_tensors)):
        dtype = torch_tensorrt.dtype._from(engine.get_tensor_dtype(name)).to(torch.dtype)
        ports[engine.get_tensor_mode(name)].append(_Port(name, dtype, tuple(engine.get_tensor_shape(name))))
    for mode, nodes in ((trt.TensorIOMode.INPUT, inputs_of(part)), (trt.TensorIOMode.OUTPUT, outputs_of(part))):
        check_ports(ports[mode], nodes, lambda dtype: dtype)


class _Collector(logging.Handler):
    def __init__(self, messages: list[str]):
        super().__init__(logging.ERROR)
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        text = str(error) if error else record.getMessage()
        self._messages.append(text.strip().splitlines()[0] if text.strip() else type(error).__name__)


@contextmanager
def _told() -> Iterator[list[str]]:
    """What Torch-TensorRT and TensorRT log as errors; within the block their logs go nowhere else."""
    messages = list[str]()
    loggers = [logging.getLogger(name) for name in ("torch_tensorrt", "torch_tensorrt [TensorRT Conversion Context]")]
    before = [(logger.handlers, logger.propagate, logger.level) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [_Collector(messages)], False
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield messages
    finally:
        for logger, (handlers, propagates, level) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagates
            logger.setLevel(level)
