"""The two ways to a program: compile a model, load a file."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from . import _tenure
from .archive import write_archive
from .compile import lower
from .errors import Error
from .program import Program, SessionOptions
from .progress import progress_bar
from .stored_file import StoredFile

if TYPE_CHECKING:
    from .backends import Backend


def compile(
    model: torch.nn.Module | torch.export.ExportedProgram,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    dynamic_shapes: Any = None,
    backend: str | Backend | Iterable[str | Backend] = "openvino",
    torch_executed_ops: Iterable[object] = (),
    min_block_size: int = 5,
    options: Mapping[str, Any] | None = None,
    custom_op_libraries: Iterable[str] = (),
    session_options: SessionOptions | None = None,
    progress: bool | None = None,
) -> Program:
    """Compiles the parts of a model that a backend can take into engines; the rest stays PyTorch operators.

    Args:
      model: a module, in the mode (train or eval) it should run in, or a program that torch.export made; neither is changed.
      args, kwargs: example inputs, as for torch.export.export; unused for an ExportedProgram, which has its own. Where there are
        backends the operators run once on them, to learn strides; neither they nor the model's state change.
      dynamic_shapes: which dimensions may vary, as for torch.export.export.
      backend: "openvino", "null", a Backend, or several: the first that can take a part gets it. An empty list compiles nothing.
      torch_executed_ops: operators that stay PyTorch operators: "aten.sin", "aten.sin.default", torch.ops.aten.sin.
      min_block_size: the fewest operators, views not counted, that are worth an engine.
      options: the backend's own, text to text; with several backends a mapping for each: {"openvino": {"NUM_STREAMS": "1"}}.
        What is given for "tensorrt" goes to both ways to it; "tensorrt-converters" and "tensorrt-onnx" name one.
      custom_op_libraries: shared libraries or Python packages that register custom operators, added to those found by themselves.
      session_options: how the program runs; see tenure.program.SessionOptions.
      progress: show a progress bar on stderr; by default only where that is a terminal.

    `Program.report` says what became an engine and why the rest did not: a part that a backend fails to compile is no error.
    Raises Error for a model that cannot be exported, control flow in the graph, an unknown backend, option or operator name. Not
    thread-safe (torch.export is not); the program is.
    """
    with progress_bar(progress) as step, tempfile.TemporaryDirectory(prefix="tenure-") as folder:
        artifact = lower(
            model,
            args,
            kwargs,
            dynamic_shapes=dynamic_shapes,
            backend=backend,
            torch_executed_ops=torch_executed_ops,
            min_block_size=min_block_size,
            options=options,
            custom_op_libraries=custom_op_libraries,
            progress=step,
        )
        path = Path(folder) / "model.pt2"
        try:
            write_archive(artifact, path, progress=step)
            report = artifact.report
            del artifact  # the blobs are in the file
            step("load", 0, 1)
            program = _open(path, None, session_options, [], engine_cache=False)  # the folder does not last
        except Error as error:  # the caller knows of no file
            error.context = [where for where in error.context if folder not in where]
            raise
        program.report = report
        return program


def load(
    path: str | os.PathLike[str],
    device: str | torch.device | None = None,
    trust_native_code: bool = False,
    *,
    custom_op_libraries: Iterable[str | os.PathLike[str]] = (),
    session_options: SessionOptions | None = None,
    engine_cache: bool = True,
) -> Program:
    """Loads a program that Program.save, or torch.export.save, wrote.

    Args:
      path: the file. It is read whole; nothing pickled in it is ever read.
      device: where to run; None means as exported. The file's CUDA device, or the CPU if all of it lies there, becomes this one:
        weights, and what operators are told, as torch.export.passes.move_to_device_pass does. Engines cannot be moved, but
        TensorRT's run on a GPU wherever the model was compiled.
      trust_native_code: allow engines that are native code, and the import of whatever Python package the file names. Such a file
        can do anything that its user can, so pass it only for files that you made or trust. The engines of this build are data
        and need no trust.
      custom_op_libraries: shared libraries that register custom operators, loaded first. A Python package that the file names is
        imported if it is torchvision or torchaudio or was imported before; it may be missing if shared libraries are given here.
      session_options: how the program runs; see tenure.program.SessionOptions.
      engine_cache: keep beside the file what engines cost at their first run on this machine, for the next process. TensorRT-RTX's
        do: the kernels that they compile for this GPU, in "<file>.<GPU>.rtx-<version>.cache", written when the program is gone.
        Whatever is wrong with that file, or the folder, is no error; the kernels are compiled again then.

    Raises Error, with the file in its context: "not found" for a missing file, operator or custom-operator library, "bad file" for
    one that is damaged, "unsupported" for a newer format, a backend that this build lacks or a device that is not here, "engine".
    """
    libraries = [os.fspath(each) for each in custom_op_libraries]
    return _open(path, os.fspath(path), session_options, libraries, trust_native_code, _device_name(device), engine_cache)


def _device_name(device: str | torch.device | None) -> str | None:
    try:
        return None if device is None else str(torch.device(device))
    except RuntimeError as error:
        raise Error("invalid argument", f"{device!r} is no device: {str(error).splitlines()[0]}") from error


_KNOWN_PACKAGES = {"torchvision", "torchaudio"}


def _open(
    path: str | os.PathLike[str],
    shown: str | None,
    session_options: SessionOptions | None,
    libraries: list[str],
    trusted: bool = False,
    device: str | None = None,
    engine_cache: bool = True,
) -> Program:
    file = StoredFile(path)
    for library in libraries:
        _load_shared_library(library)
    for name in file.custom_op_libraries():
        if name.replace(".", "_").isidentifier():
            _import_operators(name, file.name, may_be_missing=bool(libraries), trusted=trusted)
    native = _tenure.Program.load(path, device=device, engine_cache=engine_cache)
    file.check_unchanged()
    return Program(native, file, shown, session_options)


def _load_shared_library(path: str) -> None:
    try:
        torch.ops.load_library(path)
    except OSError as error:
        raise Error("not found", f"the custom operators in {path} cannot be loaded: {error}") from error


def _import_operators(name: str, file: str, may_be_missing: bool, trusted: bool) -> None:
    # Importing runs code: a file may ask for what every installation means by that name, or what the caller imported or trusts.
    package = name.partition(".")[0]
    known = package in _KNOWN_PACKAGES or name in sys.modules
    if not (trusted or known) and importlib.util.find_spec(package) is not None:
        raise Error(
            "unsupported",
            f"the file asks to import the Python package {name}, which registers custom operators; import it before loading the "
            "file, or pass trust_native_code=True if you trust the file",
            [f"file {file}"],
        )
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if may_be_missing:  # the caller's shared libraries may stand for it; an operator that is not there is an error of its own
            return
        raise Error(
            "not found",
            f"the file needs the Python package {name}, which registers custom operators, and {error.name} is not installed; "
            "install it (pip install) or pass shared libraries as custom_op_libraries",
            [f"file {file}"],
        ) from error
    except Exception as error:
        raise Error(
            "not found", f"the Python package {name}, which registers custom operators, fails to import: {error}"
        ) from error
