"""Writes a compiled program as one file: a standard PT2 archive, with a manifest and the engines' blobs as extra records.

models/model.json, data/weights/, data/constants/    what torch.export.save writes, less the traces of the exporting machine
data/tenure/manifest.json                            the engines: bindings, sizes, options
data/tenure/engines/<name>.blob                      each engine in its backend's own format
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import BinaryIO

import sympy
import torch
from sympy.printing.repr import srepr
from torch._export.serde.serialize import _TORCH_TO_SERIALIZE_DTYPE
from torch.export.pt2_archive._package import PT2ArchiveWriter, _package_exported_programs

from ._tenure import VERSION as TENURE_VERSION
from .atomic_file import replacing
from .compile import Artifact, EngineArtifact
from .engine_spec import Binding, EngineSpec, Size
from .errors import Error, error_context
from .stored_file import MANIFEST_RECORD

FORMAT_VERSION = 1
BLOB_RECORD = "data/tenure/engines/{}.blob"


def write_archive(
    artifact: Artifact, path: str | os.PathLike[str], progress: Callable[[str, int, int], None] | None = None
) -> None:
    """Writes the file whole or not at all (see atomic_file.replacing).

    `progress(what, done, total)` counts records. Raises Error if the folder does not exist or cannot be written, and for what
    torch.export's serializer does not take.
    """
    with replacing(path) as file, error_context(f"file {os.fspath(path)}"):
        _write_records(artifact, file, progress or (lambda what, done, total: None))


def _write_records(artifact: Artifact, file: BinaryIO, progress: Callable[[str, int, int], None]) -> None:
    total = len(artifact.engines) + 2
    with PT2ArchiveWriter(file) as writer:
        progress("program", 0, total)
        try:
            _package_exported_programs(writer, artifact.exported_program)
        except OSError:
            raise
        except Exception as error:  # its serializer raises many kinds
            raise Error("unsupported", f"torch.export cannot write the program: {error}") from error
        progress("manifest", 1, total)
        writer.write_string(MANIFEST_RECORD, json.dumps(manifest(artifact), indent=1))
        for done, engine in enumerate(artifact.engines, start=2):
            progress(engine.spec.name, done, total)
            writer.write_bytes(BLOB_RECORD.format(engine.spec.name), engine.blob)
    progress("written", total, total)


def manifest(artifact: Artifact) -> dict:
    """What manifest.json says."""
    return {
        "format_version": FORMAT_VERSION,
        "tenure_version": TENURE_VERSION,
        "custom_op_libraries": list(artifact.custom_op_libraries),
        "engines": [_engine(engine) for engine in artifact.engines],
    }


def _engine(engine: EngineArtifact) -> dict:
    spec: EngineSpec = engine.spec
    return {
        "name": spec.name,
        "backend": spec.backend,
        "blob": BLOB_RECORD.format(spec.name),
        "blob_bytes": len(engine.blob),
        "inputs": _bindings(spec.inputs),
        "outputs": [
            row | {"aliases_input": binding.aliases_input}
            for row, binding in zip(_bindings(spec.outputs), spec.outputs, strict=True)
        ],
        "options": dict(spec.options),
    }


def _bindings(bindings: Sequence[Binding]) -> list[dict]:
    return [
        {"name": binding.name, "dtype": int(_dtype(binding.dtype)), "sizes": [_size(size) for size in binding.sizes]}
        for binding in bindings
    ]


def _dtype(dtype: torch.dtype) -> int:
    return _TORCH_TO_SERIALIZE_DTYPE[dtype]


def _size(size: Size) -> str:
    return srepr(size) if isinstance(size, sympy.Expr) else str(size)
