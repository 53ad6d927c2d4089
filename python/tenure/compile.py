"""Ahead of time: a PyTorch model to an Artifact, a program of engine calls and PyTorch operators with a blob per engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from .backends import Backend, find_backends
from .custom_ops import libraries_of
from .engine_free import why_no_engines, writes_that_overlap
from .engine_spec import EngineSpec
from .errors import Error
from .mutations import restore_mutating_operators
from .node_facts import is_compute, operator_names
from .part import Part
from .partition import Partitioning, normalize_operators, partition
from .prepare import as_exported, decompose, export, higher_order_operators, refuse_higher_order_operators
from .rewrite import drop_unused_weights, relax_views, replace_by_engines
from .sizes import UnknownSize, input_bindings, output_bindings

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class EngineArtifact:
    """A compiled part: what the file says about it, and the backend's own bytes."""

    spec: EngineSpec
    blob: bytes = field(repr=False)


@dataclass(frozen=True)
class PartReport:
    """What became of one part that a backend could take: `engine` is its name, or None, and then `reason` says why not."""

    backend: str  # of several ways to one, the way: "tensorrt-onnx"
    operators: Sequence[str]  # names of the compute operators in it, in order
    engine: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Report:
    """What was compiled and why the rest was not."""

    parts: Sequence[PartReport]
    refused: Mapping[str, Mapping[str, str]]  # backend -> operator -> why it does not take (all of) them
    notes: Sequence[str] = ()

    def __str__(self) -> str:
        """A line a part, a refused operator, a note."""
        lines = [
            f"{part.backend}: {len(part.operators)} operators: {part.engine or 'PyTorch, because ' + str(part.reason)}"
            for part in self.parts
        ]
        lines += [f"{backend}: {name}: {reason}" for backend, refused in self.refused.items() for name, reason in refused.items()]
        return "\n".join([*lines, *self.notes])


@dataclass(frozen=True)
class Artifact:
    """A compiled program, ready to be written by `tenure.archive.write_archive`.

    Engine calls in `exported_program` are nodes of `tenure::call_engine`; weights that only engines use are not in it.
    """

    exported_program: ExportedProgram
    engines: Sequence[EngineArtifact]
    custom_op_libraries: Sequence[str]
    report: Report


def lower(
    model: torch.nn.Module | ExportedProgram,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    dynamic_shapes: Any = None,
    backend: str | Backend | Iterable[str | Backend] = "openvino",
    torch_executed_ops: Iterable[object] = (),
    min_block_size: int = 5,
    options: Mapping[str, Any] | None = None,
    custom_op_libraries: Iterable[str] = (),
    progress: Progress | None = None,
) -> Artifact:
    """Compiles the parts of a model that a backend can take; the rest stays PyTorch operators.

    Without any engine the program is the exported one as it is, in-place operators and all; with engines it is functional.
    The arguments are those of `tenure.compile`, which goes on to load the artifact; `progress` is called as
    progress(what, done, total). A part that the backend fails to compile stays PyTorch operators, and `Artifact.report` says why.
    Raises Error for a model that cannot be exported, control flow in the graph, an unknown backend, option or operator. Not
    thread-safe (torch.export is not).
    """
    backends = find_backends(backend)
    chosen = [(one, one.full_options(_options_for(one, backends, options))) for one in backends]
    executed = normalize_operators([torch_executed_ops] if isinstance(torch_executed_ops, str) else torch_executed_ops)
    if type(min_block_size) is not int or min_block_size < 1:
        raise Error("invalid argument", f"min_block_size is {min_block_size!r}; it counts operators, so it is an int of at least 1")
    tell = progress or (lambda what, done, total: None)
    tell("export", 0, 3)
    exported = model if isinstance(model, ExportedProgram) else export(model, args, kwargs, dynamic_shapes)
    tell("decompose", 1, 3)
    program, reason = _functional(exported, observe=bool(chosen))
    unmatched = executed - {name for node in program.graph.nodes for name in _names(node)}
    tell("partition", 2, 3)
    lowering = _Lowering(program, executed, min_block_size, tell)
    notes = [f"torch_executed_ops: {name} is not an operator of this graph" for name in sorted(unmatched)]
    if reason and chosen:
        notes.append(f"no engines: {reason}")
    else:
        for one, full in chosen:
            lowering.compile_parts_with(one, full)
    functional = lowering.engines or higher_order_operators(exported)
    program = lowering.finished() if functional else drop_unused_weights(as_exported(exported))
    libraries = libraries_of(program, custom_op_libraries)
    tell("done", 3, 3)
    return Artifact(program, lowering.engines, libraries, Report(lowering.parts, lowering.refused, notes))


def _functional(exported: ExportedProgram, observe: bool) -> tuple[ExportedProgram, str | None]:
    """The functional form, in which parts for engines are found, and why there can be no engines, if so.

    Where there is no such form it is the program as it was exported. Raises Error for control flow.
    """
    refuse_higher_order_operators(exported)
    reason = why_no_engines(exported)
    try:
        program = decompose(exported, observe=observe and reason is None)
    except Error as error:
        if higher_order_operators(exported):
            raise
        return as_exported(exported), reason or error.message
    if overlapping := writes_that_overlap(program.graph):
        reason = reason or f"it writes through as_strided into memory that overlaps itself ({overlapping[0].name})"
    return program, reason


def _options_for(backend: Backend, backends: Sequence[Backend], options: Mapping[str, Any] | None) -> dict[str, str]:
    if not isinstance(options or {}, Mapping):
        raise Error("invalid argument", f"options is {options!r}; it is a dict")
    nested = {name: value for name, value in (options or {}).items() if isinstance(value, Mapping)}
    if unknown := sorted(set(nested) - {name for one in backends for name in (one.name, one.way)}):
        raise Error("invalid argument", f"options are given for {', '.join(unknown)}, which is not among the backends chosen")
    flat = {name: str(value) for name, value in (options or {}).items() if name not in nested}
    if flat and len(backends) > 1:
        raise Error("invalid argument", 'with several backends, options are given by backend: {"openvino": {"NUM_STREAMS": "1"}}')
    own = {**nested.get(backend.name, {}), **nested.get(backend.way, {})}
    return flat | {name: str(value) for name, value in own.items()}


def _names(node: Node) -> tuple[str, ...]:
    return operator_names(node.target) if isinstance(node.target, torch._ops.OpOverload) else ()


class _Lowering:
    """The program while parts of it become engine calls, backend after backend."""

    def __init__(self, program: ExportedProgram, executed: frozenset[str], min_block_size: int, tell: Progress):
        self.program, self.executed, self.min_block_size, self.tell = program, executed, min_block_size, tell
        self.engines: list[EngineArtifact] = []
        self.parts: list[PartReport] = []
        self.refused: dict[str, Mapping[str, str]] = {}

    def compile_parts_with(self, backend: Backend, options: Mapping[str, str]) -> None:
        found = self.partition_for(backend)
        self.refused[backend.way] = found.refused
        self.parts += [
            PartReport(backend.way, _computing(rejection.nodes), reason=rejection.reason) for rejection in found.rejections
        ]
        compiled: list[tuple[Part, EngineSpec]] = []
        for done, part in enumerate(found.parts):
            self.tell(f"compile {backend.way}", done, len(found.parts))
            outcome = self.compile_part(backend, options, part)
            if isinstance(outcome, EngineArtifact):
                compiled.append((part, outcome.spec))
                self.engines.append(outcome)
                self.parts.append(PartReport(backend.way, _computing(part.nodes), engine=outcome.spec.name))
            else:
                self.parts.append(PartReport(backend.way, _computing(part.nodes), reason=outcome))
        replace_by_engines(self.program.graph, compiled, found.in_order)

    def finished(self) -> ExportedProgram:
        relax_views(self.program.graph)
        return drop_unused_weights(restore_mutating_operators(self.program))

    def partition_for(self, backend: Backend) -> Partitioning:
        def why_not(node: Node) -> str | None:
            owner = node if isinstance(node.target, torch._ops.OpOverload) else node.args[0]
            if not self.executed.isdisjoint(_names(owner)):
                return "torch_executed_ops names it"
            return backend.why_not(node)

        return partition(self.program, why_not, self.min_block_size)

    def compile_part(self, backend: Backend, options: Mapping[str, str], part: Part) -> EngineArtifact | str:
        """The engine, or why there is none."""
        try:
            spec = EngineSpec(
                f"engine_{len(self.engines)}", backend.name, input_bindings(part), output_bindings(part), dict(options)
            )
            return EngineArtifact(spec, backend.compile(part.program, options))
        except UnknownSize as error:
            return str(error)
        except Exception as error:  # the backend's own, of any kind; the report gives it
            return f"{backend.name} failed: {type(error).__name__}: {error}"


def _computing(nodes: Sequence[Node]) -> list[str]:
    return [operator_names(node.target)[1] for node in nodes if is_compute(node)]
