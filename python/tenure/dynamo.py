"""torch.compile(model, backend="tenure"): each graph that dynamo captures becomes a Tenure program.

    model = torch.compile(model.eval(), backend="tenure", options={"min_block_size": 3})
    with torch.no_grad():
        model(x)

`options` are tenure.compile's (backend, torch_executed_ops, min_block_size, options, custom_op_libraries, session_options) and
  fallback: what Tenure does not run (gradients, control flow, other devices) runs as eager PyTorch, and a warning tells why. False
    makes it an Error.
  freeze: parameters and buffers that the graph only reads become part of the program, which is compiled again when they change.
    False makes them inputs: slower, and right even if they are changed behind PyTorch's back (through `.data`).
"""

from __future__ import annotations

import atexit
import functools
import itertools
import logging
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch._guards import tracing
from torch.fx import GraphModule
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from .backends import Backend, find_backends
from .dynamo_trace import capture
from .entry import compile as compile_program
from .errors import Error
from .program import Program

log = logging.getLogger(__name__)

_OPTIONS = (
    "backend",
    "torch_executed_ops",
    "min_block_size",
    "options",
    "custom_op_libraries",
    "session_options",
    "fallback",
    "freeze",
)
_MAX_WEIGHT_SETS = 64  # programs of one graph, each with weights of its own frozen in: a model's layers may share a graph
_MAX_UPDATES = 3  # of frozen weights; weights that keep changing become inputs
_compiling = threading.RLock()  # neither torch.export nor a backend is thread-safe


def tenure_backend(
    module: GraphModule, inputs: Sequence[Any], *, mode: str | None = None, options: Mapping[str, Any] | None = None
) -> Callable[..., Sequence[Any]]:
    """What torch.compile calls for each graph. Raises Error for an option that is wrong."""
    settings = _checked(mode, options)
    fallback, freeze = settings.pop("fallback", True), settings.pop("freeze", True)
    try:
        _refuse_what_cannot_run(module, inputs)
        # A bound method: dynamo wraps what it gets and copies its attributes, so that an object's programs would never end.
        return CompiledGraph(module, inputs, settings, freeze).run
    except Exception as error:  # tracing and compiling raise many kinds
        if isinstance(error, Error) and error.code == "invalid argument":  # of the options: the graph is dynamo's
            raise
        reason = str(error) if isinstance(error, Error) else f"{type(error).__name__}: {error}"
        if not fallback:
            raise Error("unsupported", f"this graph cannot run in Tenure: {reason}") from error
        operators = sum(node.op.startswith("call_") for node in module.graph.nodes)
        log.warning('torch.compile(backend="tenure"): a graph of %d operators runs as eager PyTorch: %s', operators, reason)
        log.debug("why that graph runs as eager PyTorch", exc_info=True)
        return module.forward


def _checked(mode: str | None, options: Mapping[str, Any] | None) -> dict[str, Any]:
    if mode not in (None, "default"):
        raise Error("invalid argument", f"backend='tenure' has no mode {mode!r}; it takes options={{...}}, those of tenure.compile")
    settings = dict(options or {})
    if unknown := sorted(set(settings) - set(_OPTIONS)):
        raise Error("invalid argument", f"backend='tenure' has no option {', '.join(unknown)}; it has: {', '.join(_OPTIONS)}")
    chosen = settings.get("backend", "openvino")
    backends = [chosen] if isinstance(chosen, str | Backend) else list(chosen)
    return settings | {"backend": [_backend(each) if isinstance(each, str) else each for each in backends]}


@functools.cache
def _backend(name: str) -> Backend:
    """One for all graphs: what a backend learns about operators takes it seconds."""
    return find_backends(name)[0]


def _refuse_what_cannot_run(module: GraphModule, inputs: Sequence[Any]) -> None:
    tensors = []
    for node, value in zip(module.graph.find_nodes(op="placeholder"), inputs, strict=True):
        if isinstance(value, torch.ScriptObject):
            raise Error("unsupported", f"{node.name} is an object, {value._type().qualified_name()}")
        if not isinstance(value, torch.Tensor):
            continue
        if value.device.type not in ("cpu", "cuda") or value.layout != torch.strided or is_traceable_wrapper_subclass(value):
            raise Error("unsupported", f"{node.name} is a {type(value).__name__} on {value.device}, {value.layout}")
        tensors.append(value)
    if any(tensor.requires_grad for tensor in tensors) and _computes_with_grad(module):
        raise Error(
            "unsupported",
            "a parameter or input requires gradients, which Tenure does not compute: call the model under torch.no_grad() or "
            "torch.inference_mode(), or turn them off with model.requires_grad_(False)",
        )


def _computes_with_grad(module: GraphModule) -> bool:
    """Whether an operator of the graph runs with autograd on, if it is as it is now when the graph is entered."""
    enabled = torch.is_grad_enabled()
    inference = 0  # how many torch.inference_mode blocks are open
    for node in module.graph.nodes:
        if node.target is torch._C._set_grad_enabled:
            enabled = node.args[0]
        elif node.target is torch.autograd.grad_mode._enter_inference_mode:
            inference += bool(node.args[0])
        elif node.target is torch.autograd.grad_mode._exit_inference_mode:
            inference -= bool(node.args[0].args[0])
        elif enabled and not inference and node.op.startswith("call_"):
            return True
    return False


class CompiledGraph:
    """A graph of dynamo's as Tenure programs. Thread-safe.

    Parameters and buffers that the graph only reads are frozen into a program. Each call checks that they are the same tensors,
    unchanged, and compiles for others: layers that share dynamo's graph, a model that was updated. Only a change that PyTorch's
    version counter does not show (through `.data` or NumPy) goes unnoticed.
    """

    def __init__(self, module: GraphModule, inputs: Sequence[Any], settings: Mapping[str, Any], freeze: bool = True):
        self._module = module
        self._settings = settings
        self._captured = capture(module, inputs)
        self._weights = sorted(self._captured.freezable) if freeze else []
        self._frozen: dict[tuple[int, ...], _FrozenProgram] = {}  # by the weights' identities
        self._updates: Counter[tuple[int, ...]] = Counter()
        self._unfrozen: _FrozenProgram | None = None
        self._latest = self._find_or_compile(inputs)
        _in_use[next(_numbers)] = self

    @property
    def programs(self) -> list[Program]:
        """Those compiled so far."""
        with _compiling:
            made = [*self._frozen.values(), *filter(None, [self._unfrozen])]
        return [each.program for each in made]

    @property
    def latest(self) -> Program:
        """The one that ran last."""
        return self._latest.program

    def run(self, *inputs: Any) -> Sequence[Any]:
        """The results of dynamo's graph for these inputs."""
        if self._captured.written and self._is_written_memory_shared(inputs):
            log.warning('torch.compile(backend="tenure"): a call runs as eager PyTorch: it writes to memory that inputs share')
            return self._module(*inputs)
        chosen = self._latest
        if not chosen.fits(inputs):
            chosen = self._latest = self._find_or_compile(inputs)
        results = chosen.run(inputs)
        for index, view in self._captured.views.items():
            results.insert(index, view.of(inputs))
        return results

    def close(self) -> None:
        """Lets its programs go."""
        self._frozen, self._unfrozen, self._latest = {}, None, None

    def _find_or_compile(self, inputs: Sequence[Any]) -> _FrozenProgram:
        key = tuple(id(inputs[position]) for position in self._weights)
        with _compiling:
            found = self._frozen.get(key)
            if found is not None and found.fits(inputs):
                return found
            self._updates[key] += found is not None
            self._frozen = {ids: program for ids, program in self._frozen.items() if ids != key and program.is_alive()}
            if self._updates[key] <= _MAX_UPDATES and len(self._frozen) < _MAX_WEIGHT_SETS:
                self._frozen[key] = self._compile({position: inputs[position] for position in self._weights})
                return self._frozen[key]
            if self._unfrozen is None:
                self._unfrozen = self._compile({})
            return self._unfrozen

    def _compile(self, weights: Mapping[int, torch.Tensor]) -> _FrozenProgram:
        with tracing(None), torch.no_grad():
            program = compile_program(self._captured.frozen(weights), progress=False, **self._settings)
        return _FrozenProgram(program, weights, [position for position in self._captured.positions if position not in weights])

    def _is_written_memory_shared(self, inputs: Sequence[Any]) -> bool:
        storages = [each.untyped_storage()._cdata if isinstance(each, torch.Tensor) else None for each in inputs]
        written = {storages[position] for position in self._captured.written}
        return sum(storage in written for storage in storages) > len(written)


_numbers = itertools.count()
_in_use: weakref.WeakValueDictionary[int, CompiledGraph] = weakref.WeakValueDictionary()


def compiled_graphs() -> list[CompiledGraph]:
    """Those that dynamo holds now, oldest first: their programs tell who owns what, and what the last run allocated."""
    return [graph for _, graph in sorted(_in_use.items())]


@atexit.register
def _close_all() -> None:
    """Dynamo's caches live until the interpreter ends, which is too late for a program to end in order."""
    for graph in compiled_graphs():
        graph.close()


class _FrozenProgram:
    """A program for certain weights."""

    def __init__(self, program: Program, weights: Mapping[int, torch.Tensor], passed: Sequence[int]):
        self.program = program
        self._passed = passed  # positions of the inputs that are the program's
        self._weights = [(position, weakref.ref(t), t._version, t.data_ptr()) for position, t in weights.items()]

    def fits(self, inputs: Sequence[Any]) -> bool:
        """Whether the inputs that are frozen are what they were."""
        for position, reference, version, address in self._weights:
            weight = inputs[position]
            if weight is not reference() or weight._version != version or weight.data_ptr() != address:
                return False
        return True

    def is_alive(self) -> bool:
        return all(reference() is not None for _, reference, _, _ in self._weights)

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        return self.program.run([inputs[position] for position in self._passed])
