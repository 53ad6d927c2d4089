"""From a case to a Tenure program, and to the module that torch.export makes of it."""

from __future__ import annotations

import copy
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import torch
from tenure.backends.null import NullBackend
from tenure.program import SessionOptions
from torch.fx import Node

import tenure

from .cases import Case


class RefusedByExport(Exception):
    """torch.export does not take the module."""


class SplittingBackend(NullBackend):
    """Refuses some operators at random, so that engines and PyTorch operators alternate."""

    def __init__(self, seed: int):
        """The same seed refuses the same."""
        self.seed = seed

    def why_not(self, node: Node) -> str | None:
        """A third of the operators are refused."""
        lots = zlib.crc32(f"{self.seed} {node.name}".encode())
        return "by lot" if lots % 3 == 0 else super().why_not(node)


@dataclass(frozen=True)
class Built:
    """A program, with what it was made of."""

    program: tenure.Program
    exported: torch.export.ExportedProgram

    def module(self) -> torch.nn.Module:
        """What torch.export itself makes of the same model; its state as at first, and its own."""
        return copy.deepcopy(self.exported).module(check_guards=False)


def build(case: Case) -> Built:
    """Raises RefusedByExport; whatever else it raises is a failure of Tenure."""
    options = SessionOptions(**dict(case.build.options))
    exported = _export(case)
    chosen = case.build
    if chosen.plain:
        with tempfile.TemporaryDirectory(prefix="tenure-soak-") as folder:
            path = Path(folder) / "model.pt2"
            _save(exported, path)
            return Built(tenure.load(path, session_options=options), exported)
    backend = [] if not chosen.backend else NullBackend() if chosen.split_seed is None else SplittingBackend(chosen.split_seed)
    try:
        program = tenure.compile(
            exported,
            backend=backend,
            min_block_size=chosen.min_block_size,
            torch_executed_ops=chosen.torch_executed_ops,
            session_options=options,
            progress=False,
        )
    except Exception:
        _refuse_if_export_does(exported)
        raise
    if chosen.unowned:
        for engine in list(program.engines.values())[:1]:
            engine.set_output_tensors_as_unowned(True)
    return Built(program, exported)


def _export(case: Case) -> torch.export.ExportedProgram:
    try:
        with torch.no_grad():
            arguments = tuple(case.arguments(0, 0))
            return torch.export.export(case.model(), arguments, dynamic_shapes=case.dynamic_shapes(), strict=False)
    except Exception as error:  # torch.export raises many kinds
        raise RefusedByExport(f"{type(error).__name__}: {error}") from error


def _save(exported: torch.export.ExportedProgram, path: Path) -> None:
    try:
        torch.export.save(exported, path)
    except Exception as error:  # and so does its serializer
        raise RefusedByExport(f"{type(error).__name__}: {error}") from error


def _refuse_if_export_does(exported: torch.export.ExportedProgram) -> None:
    try:
        with torch.no_grad():
            again = exported.run_decompositions({})
        with tempfile.TemporaryDirectory(prefix="tenure-soak-") as folder:
            torch.export.save(again, Path(folder) / "model.pt2")
    except Exception as error:
        raise RefusedByExport(f"{type(error).__name__}: {error}") from error
