"""Programs that another runtime compiled, with the engines they have: nothing is built again."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch

from ..archive import write_archive
from ..compile import Artifact
from ..entry import load
from ..errors import Error
from ..program import Program, SessionOptions
from .compiled import artifact_of_module
from .saved import artifact_of_file


def from_torch_tensorrt(
    compiled: torch.nn.Module | torch.export.ExportedProgram | str | os.PathLike[str],
    *,
    device: str | torch.device | None = None,
    options: Mapping[str, str] | None = None,
    session_options: SessionOptions | None = None,
) -> Program:
    """A program of the same engines and operators as one that Torch-TensorRT compiled; results are never overwritten.

    Args:
      compiled: the module that torch_tensorrt.dynamo.compile (or torch_tensorrt.compile with ir="dynamo") returned, in either of
        its runtimes, also within enable_cudagraphs; or the file that torch_tensorrt.save wrote from it, for which Torch-TensorRT
        need not be installed; or that file as torch.export.load reads it. It stays as it is, and its engines with it.
      device: where to run, as for tenure.load.
      options: of the engines, text to text: "weight_streaming_budget", the bytes of weights that stay on the GPU, for engines
        that were built for it; "runtime_cache", a file for the kernels that TensorRT-RTX compiles there, "" for none. The program
        that is returned has none without it; of a saved one they lie beside the file (tenure.load).
      session_options: how the program runs; see tenure.program.SessionOptions.

    Which engine owns its outputs' memory follows from the graph, whatever set_output_tensors_as_unowned said; every result is the
    caller's. `Program.save` writes a file for tenure.load and for C++. Nothing pickled in a file is run, but torch.export, which
    reads its graph, evaluates expressions in it: move over only files that you trust. What tenure.load opens needs no such trust.

    Raises Error: "bad file", or "invalid argument" for what Torch-TensorRT did not compile; "unsupported" for TorchScript and
    AOTInductor files, and for engines whose output sizes depend on data; "engine" where TensorRT refuses an engine, with what it
    says. Not thread-safe; the program is.
    """
    with tempfile.TemporaryDirectory(prefix="tenure-") as folder:
        path = Path(folder) / "model.pt2"
        try:
            artifact = _artifact(compiled, options or {}, Path(folder))
            write_archive(artifact, path)
            program = load(path, device, session_options=session_options, engine_cache=False)  # the folder does not last
        except Error as error:  # the caller knows of no file
            error.context = [where for where in error.context if folder not in where]
            raise
        program.path, program.report = None, artifact.report
        return program


def _artifact(compiled: object, options: Mapping[str, str], folder: Path) -> Artifact:
    if isinstance(compiled, torch.export.ExportedProgram):
        torch.export.save(compiled, folder / "saved.pt2")
        return artifact_of_file(folder / "saved.pt2", options)
    if isinstance(compiled, torch.nn.Module):
        return artifact_of_module(compiled, options)
    if isinstance(compiled, str | os.PathLike):
        return artifact_of_file(Path(compiled), options)
    message = f"{compiled!r} is neither a module, nor an exported program, nor the path of a file"
    raise Error("invalid argument", message)
