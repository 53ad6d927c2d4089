"""Writes a compiled program as one file: a standard PT2 archive, with a manifest and the engines' blobs as extra records.

    models/model.json, data/weights/, data/constants/    what torch.export.save writes, less the traces of the exporting machine
    data/tenure/manifest.json                            the engines: bindings, sizes, options
    data/tenure/engines/<name>.blob                      each engine in its backend's own format
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import sympy
import torch
from sympy.printing.repr import srepr
from torch._export.serde.serialize import _TORCH_TO_SERIALIZE_DTYPE
from torch.export.pt2_archive._package import PT2ArchiveWriter, _package_exported_programs

from .compile import Artifact, EngineArtifact
from .engine_spec import Binding, EngineSpec, Size
from .errors import Error

FORMAT_VERSION = 1
TENURE_VERSION = "0.1.0"
MANIFEST_RECORD = "data/tenure/manifest.json"
BLOB_RECORD = "data/tenure/engines/{}.blob"


def write_archive(artifact: Artifact, path: str | os.PathLike[str], progress: Callable[[str, int, int], None] | None = None) -> None:
    """Writes the file whole or not at all: a temporary file in the same folder takes the path's place when it is complete and on disk.

    `progress(what, done, total)` counts records. Raises Error if the folder does not exist or cannot be written.
    """
    path = Path(path)
    if path.is_dir():
        raise Error("invalid argument", "this is a folder; give the path of the file to write", [f"file {path}"])
    try:
        with _replacing(path) as file:
            _write_records(artifact, file, progress or (lambda what, done, total: None))
    except OSError as error:
        code = "not found" if isinstance(error, FileNotFoundError) else "invalid argument"
        raise Error(code, f"cannot write here: {error.strerror or error}", [f"file {path}"]) from error


class _replacing:
    """A binary file that becomes `path` when the block ends without an exception, and else never existed."""

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self) -> BinaryIO:
        self.file = tempfile.NamedTemporaryFile(dir=self.path.parent, prefix=f".{self.path.name}.", suffix=".part", delete=False)
        return self.file

    def __exit__(self, kind, value, traceback) -> None:
        try:
            if kind is None:
                self.file.flush()
                os.fchmod(self.file.fileno(), 0o666 & ~_umask())
                os.fsync(self.file.fileno())
                os.replace(self.file.name, self.path)
        finally:
            self.file.close()
            Path(self.file.name).unlink(missing_ok=True)
        if kind is None:
            _sync_folder(self.path.parent)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_records(artifact: Artifact, file: BinaryIO, progress: Callable[[str, int, int], None]) -> None:
    total = len(artifact.engines) + 2
    with PT2ArchiveWriter(file) as writer:
        progress("program", 0, total)
        _package_exported_programs(writer, artifact.exported_program)
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
            row | {"aliases_input": binding.aliases_input} for row, binding in zip(_bindings(spec.outputs), spec.outputs, strict=True)
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
