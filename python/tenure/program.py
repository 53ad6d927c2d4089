"""A program, ready to run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, get_type_hints

import torch

from . import _tenure
from .compile import Report
from .errors import Error
from .report import Explanation, Stats, explanation_from
from .stored_file import MANIFEST_RECORD, StoredFile
from .structure import CallStructure, ValueSpec


class SessionOptions(TypedDict, total=False):
    """How a program runs: `session_options` of tenure.compile and tenure.load."""

    max_frames: int  # runs in flight at once, 4 unless told; a further caller waits. Each has its own memory.
    max_plan_bytes: int  # host memory for the plans of all input shapes, 64 MiB unless told; the least recently used goes first
    max_output_slots: int  # buffers that a frame keeps for one output, 64 unless told; beyond that results are plain allocations
    check_ownership: bool  # poison dead memory, check each call's reads and writes (Error "ownership"): slow, for tests


class Program:
    """A program that tenure.compile or tenure.load made. Thread-safe: calls in several threads run at once.

    A result never changes while anybody holds it, a view of it, or a NumPy or DLPack alias of it, whatever runs later; and no copy
    was made to achieve that. Results carry no gradients.
    """

    def __init__(self, native: _tenure.Program, file: StoredFile, path: str | None, session_options: SessionOptions | None = None):
        """Use tenure.compile or tenure.load. `path` is where the user's file is, if there is one."""
        self.path = path
        self.report: Report | None = None  # what was compiled and why the rest was not; None for a loaded program
        self._native = native
        self._file = file
        self._session = _tenure.Session(native, **_checked(session_options))
        self._run = self._session.run
        self.inputs = [ValueSpec(**each) for each in native.inputs]
        self.outputs = [ValueSpec(**each) for each in native.outputs]
        self._structure: CallStructure | None = None
        self._plain_args: int | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the program on the model's own arguments and returns the model's own result structure.

        Keywords may come in any order. Each tensor must have the exported dtype and device, and sizes within the exported range;
        see `inputs`. Raises Error: "invalid argument" for arguments that do not fit, and "operator", "engine" or "runtime
        assertion" with the node's name when a step fails. The program stays usable after any of them.
        """
        if len(args) == self._plain_args and not kwargs:
            return self._structure.unflatten(self._run(args))
        structure = self._structure or self._read_structure()
        return structure.unflatten(self._run(structure.flatten(args, kwargs)))

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        """Runs the program on its flat inputs, in the order of `inputs`, and returns its flat outputs.

        Each is a torch.Tensor, None, or a number, as `inputs` and `outputs` say. Raises Error as a call does.
        """
        return self._run(inputs)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the program as one file that tenure.load, torch.export.load and C++ open.

        The file appears whole or not at all: a temporary file in the same folder takes the path's place when it is on disk. Works
        for loaded programs too, even if their file is gone by now. Outputs of engines that were declared unowned stay so. Raises
        Error if the path cannot be written.
        """
        if not self.engines:
            return self._file.copy_to(path)
        manifest = json.loads(self._file.record(MANIFEST_RECORD))
        if not _declare_unowned(manifest["engines"], self.engines):
            return self._file.copy_to(path)
        return self._file.copy_with(path, MANIFEST_RECORD, json.dumps(manifest, indent=1).encode())

    def explain(self, sizes: Mapping[str, int] | None = None) -> Explanation:
        """Who owns each value's memory, how many bytes, where, how long and why. `print` it, or read `.values` or `.json()`.

        Bytes and places are those of the input shapes that ran last; before the first run, what follows from the file alone, where
        `sizes` ({"s77": 8}: names as in `inputs`) may give its symbols values. With `sizes` it is always the file alone. Raises
        Error for a symbol that the file does not have, or a value out of its range.
        """
        if sizes is not None:
            _check_mapping("sizes", sizes, 'the values of symbols, {"s77": 8}')
            for symbol, size in sizes.items():
                if type(size) is not int:
                    raise Error("invalid argument", f"the size {symbol} is {size!r}; it is an int")
        return explanation_from(self._session.explain(None if sizes is None else dict(sizes)))

    def stats(self) -> Stats:
        """Counters: runs, plans, slots, standing and leased bytes, allocations of the last run."""
        return Stats(**self._session.stats())

    def trim(self) -> int:
        """Gives memory back to the system: arenas, buffers and free slots that no run is using. Returns the bytes given back.

        Results that are held stay as they are. Plans are kept: the next runs take memory anew, and observe nothing.
        """
        return self._session.trim()

    def reset_state(self) -> None:
        """Puts the buffers that runs change (a KV cache, running statistics) back to what the file holds.

        Waits for a run in flight.
        """
        self._session.reset_state()

    def state_dict(self) -> dict[str, torch.Tensor]:
        """A copy of each buffer that runs change, by its name in the model. Waits for a run in flight."""
        return self._session.state_dict()

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Takes over the content of some or all of the buffers in `state_dict()`. Waits for a run in flight.

        Raises Error for another name, dtype, size or device, and changes nothing then.
        """
        _check_mapping("state", state, "a tensor for each name")
        for name, value in state.items():
            if not isinstance(value, torch.Tensor):
                raise Error("invalid argument", f"state {name} is a {type(value).__name__}; it is a torch.Tensor")
        self._session.load_state_dict(dict(state))

    @property
    def engines(self) -> Mapping[str, _tenure.Engine]:
        """The compiled engines by name, in an order of no meaning. Their ownership switches act from the next run on."""
        return self._native.engines

    @property
    def pre_allocated_outputs(self) -> bool:
        """Whether memory is reused from run to run; tenure.runtime.enable_pre_allocated_outputs changes it for a while."""
        return self._session.pre_allocated_outputs

    @pre_allocated_outputs.setter
    def pre_allocated_outputs(self, enabled: bool) -> None:
        if not isinstance(enabled, bool):
            raise Error("invalid argument", f"pre_allocated_outputs is {enabled!r}; it is True or False")
        self._session.pre_allocated_outputs = enabled

    def __repr__(self) -> str:
        native = self._native
        inputs = ", ".join(map(str, self.inputs))
        return (
            f"<tenure.Program {self.path or 'not saved'}: ({inputs}) -> {len(self.outputs)} outputs; "
            f"{native.engine_blocks} engine blocks, {native.aten_blocks} aten blocks>"
        )

    def _read_structure(self) -> CallStructure:
        """On the first call, not at load: types of the result may be registered after that, and `run` needs none of it."""
        structure = CallStructure(self._native.in_spec, self._native.out_spec, self.inputs)
        self._structure = structure
        self._plain_args = structure.plain_args
        return structure


def _declare_unowned(entries: Sequence[dict[str, Any]], engines: Mapping[str, _tenure.Engine]) -> bool:
    """Makes the manifest's entries say what is declared now. Whether they said something else."""
    changed = False
    for entry in entries:
        for output, row in enumerate(entry["outputs"]):
            declared = engines[entry["name"]].is_declared_unowned(output)
            changed |= declared != row.get("unowned", False)
            row["unowned"] = declared
    return changed


def _checked(options: SessionOptions | None) -> SessionOptions:
    known = get_type_hints(SessionOptions)
    _check_mapping("session_options", options or {}, ", ".join(known))
    for name, value in (options or {}).items():
        if name not in known:
            raise Error("invalid argument", f"session_options has no {name!r}; it takes {', '.join(known)}")
        if known[name] is bool and not isinstance(value, bool):
            raise Error("invalid argument", f"session_options: {name} is {value!r}; it is True or False")
        most = 2**63 - 1 if name == "max_plan_bytes" else 2**31 - 1
        if known[name] is int and (type(value) is not int or not 1 <= value <= most):
            raise Error("invalid argument", f"session_options: {name} is {value!r}; it is an int from 1 to {most}")
    return options or {}


def _check_mapping(name: str, given: object, what: str) -> None:
    if not isinstance(given, Mapping):
        raise Error("invalid argument", f"{name} is a {type(given).__name__}; it is a dict with {what}")
