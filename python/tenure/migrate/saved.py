"""What torch_tensorrt.save wrote, read without Torch-TensorRT.

The file is torch.export.save's: a graph that calls `tensorrt::execute_engine`, with each engine as a pickled custom object. Here
the calls become `tenure::call_engine` before torch.export reads the graph, so that neither the operator nor the object's class is
needed, and the objects are read by an unpickler that knows nothing else. The layout of an engine's strings is that of
Torch-TensorRT's core/runtime/runtime.h, SerializedInfoIndex.
"""

from __future__ import annotations

import base64
import io
import json
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.export.pt2_archive._package import PT2ArchiveWriter, load_pt2

from .. import ops as _ops  # noqa: F401  # registers tenure::call_engine
from ..compile import Artifact, EngineArtifact
from ..errors import Error, error_context
from ..sizes import expressions
from .engines import Port, engine_artifact, finished

_EXECUTE = "torch.ops.tensorrt.execute_engine.default"
_CALL = "torch.ops.tenure.call_engine.default"
_CLASS = "__torch__.torch.classes.tensorrt.Engine"
_ENGINE, _INPUT_NAMES, _OUTPUT_NAMES = 3, 4, 5  # of an engine's strings
_SEPARATOR = "%"
_SAMPLES = "data/sample_inputs/model.pt"


@dataclass(frozen=True)
class _Engine:
    blob: bytes
    inputs: list[str]
    outputs: list[str]


def artifact_of_file(path: Path, options: Mapping[str, str]) -> Artifact:
    """Raises Error; see tenure.from_torch_tensorrt."""
    with error_context(f"file {path}"):
        try:
            with zipfile.ZipFile(path) as file:
                records = {name.partition("/")[2]: name for name in file.namelist()}
                if "models/model.json" not in records:
                    _refuse_other_formats(records)
                stored, program = _read(file, records)
        except Error:
            raise
        except FileNotFoundError as error:
            raise Error("not found", "there is no such file") from error
        except Exception as error:  # whatever zipfile, json and the look-ups below raise for other content than they expect
            raise Error("bad file", f"it is not what torch_tensorrt.save writes, or damaged: {error!r}") from error
        return finished(program, list(_described(program, stored, options).values()))


def _refuse_other_formats(records: Mapping[str, str]) -> NoReturn:
    if "constants.pkl" in records:
        raise Error("unsupported", 'it is TorchScript; save it again with output_format="exported_program", which is the default')
    if any(name.startswith("data/aotinductor/") for name in records):
        raise Error("unsupported", 'AOTInductor compiled its graph; save it again with output_format="exported_program"')
    raise Error("bad file", "it holds no exported program")


def _read(file: zipfile.ZipFile, records: Mapping[str, str]) -> tuple[dict[str, _Engine], ExportedProgram]:
    model = json.loads(file.read(records["models/model.json"]))
    constants = json.loads(file.read(records["data/constants/model_constants_config.json"]))
    names = _take_engines(model["graph_module"])
    if not names:
        raise Error("invalid argument", "no TensorRT engine is in it; tenure.load runs what torch.export.save wrote")
    for bounds in model["range_constraints"].values():
        if bounds["min_val"] == 2:  # torch.export's way to say "may differ": the engines' profiles tell what they take
            bounds["min_val"] = 0
    stored = {}
    for place, name in names.items():
        stored[name] = _engine(file.read(records[f"data/constants/{constants['config'].pop(place)['path_name']}"]), name)
    weights = json.loads(file.read(records["data/weights/model_weights_config.json"]))
    written = {
        "models/model.json": json.dumps(model),
        "data/constants/model_constants_config.json": json.dumps(constants),
        "data/weights/model_weights_config.json": json.dumps(weights),
    }
    for folder, config in (("data/constants/", constants["config"]), ("data/weights/", weights["config"])):
        _check_tensors(config)
        written |= {folder + entry["path_name"]: file.read(records[folder + entry["path_name"]]) for entry in config.values()}
    return stored, _load(written)


def _check_tensors(config: Mapping[str, Any]) -> None:
    pickled = [name for name, entry in config.items() if entry["use_pickle"] or entry["path_name"].startswith("custom_obj")]
    if pickled:
        raise Error("unsupported", f"it holds pickles of other things than engines: {', '.join(pickled)}")
    if not torch.cuda.is_available() and any(entry["tensor_meta"]["device"]["type"] == "cuda" for entry in config.values()):
        raise Error("unsupported", "its weights lie on a CUDA device, and PyTorch finds none here")


def _take_engines(module: dict[str, Any]) -> dict[str, str]:
    """Makes each engine's call name it, and forgets the objects. Returns attribute of the module -> name of the engine."""
    graph, signature = module["graph"], module["signature"]
    objects = {}
    for spec in signature["input_specs"]:
        if (custom := spec.get("custom_obj")) and custom["arg"]["class_fqn"] in (_CLASS, ""):
            objects[custom["arg"]["name"]] = custom["custom_obj_name"]
    names = {place: place.lstrip("_").replace(".", "_").removesuffix("_engine") for place in objects.values()}
    if len(set(names.values())) < len(names):
        raise Error("unsupported", f"two engines would have one name: {', '.join(names)}")
    for node in graph["nodes"]:
        if node["target"] == _EXECUTE:
            given, engine = (argument["arg"] for argument in node["inputs"])
            name = names[objects[engine["as_custom_obj"]["name"]]]
            if "as_tensors" not in given:
                raise Error("unsupported", "it takes numbers beside tensors", [f"engine {name}"])
            node["target"] = _CALL
            node["inputs"] = [
                {"name": "inputs", "arg": given, "kind": 1},
                {"name": "engine", "arg": {"as_string": name}, "kind": 1},
            ]
    for placeholder in objects:
        graph["custom_obj_values"].pop(placeholder, None)
    graph["inputs"] = [each for each in graph["inputs"] if each.get("as_custom_obj", {}).get("name") not in objects]
    signature["input_specs"] = [
        spec for spec in signature["input_specs"] if spec.get("custom_obj", {}).get("arg", {}).get("name") not in objects
    ]
    return names


def _load(records: Mapping[str, str | bytes]) -> ExportedProgram:
    """Of these records and no others: torch.export reads pickles from more places than it writes them to."""
    buffer = io.BytesIO()
    with PT2ArchiveWriter(buffer) as writer:
        for name, content in records.items():
            writer.write_bytes(name, content if isinstance(content, bytes) else content.encode())
        writer.write_bytes(_SAMPLES, b"")  # it must be there
    buffer.seek(0)
    try:
        program = load_pt2(buffer).exported_programs["model"]
    except Exception as error:  # torch.export raises many kinds
        raise Error("bad file", f"torch.export cannot read its graph: {error}") from error
    return _with_weights_as_they_are(program)


def _with_weights_as_they_are(program: ExportedProgram) -> ExportedProgram:
    """Torch-TensorRT's own exporter tells wrong strides and devices of weights."""
    nodes, weights = {node.name: node for node in program.graph.nodes}, {**program.constants, **program.state_dict}
    mode = next((value.fake_mode for node in nodes.values() if hasattr(value := node.meta.get("val"), "fake_mode")), None)
    for spec in program.graph_signature.input_specs:
        if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR) and mode is not None:
            nodes[spec.arg.name].meta["val"] = mode.from_tensor(weights[spec.target], static_shapes=True)
    return program


def _described(program: ExportedProgram, stored: Mapping[str, _Engine], options: Mapping[str, str]) -> dict[str, EngineArtifact]:
    described = {}
    for node in program.graph.find_nodes(op="call_function", target=torch.ops.tenure.call_engine.default):
        given, name = node.args
        engine, results = stored[name], node.meta["val"]
        if (len(engine.inputs), len(engine.outputs)) != (len(given), len(results)):
            raise Error("bad file", "its call has other inputs or outputs than it", [f"engine {name}"])
        ports = [
            [Port(port, tensor.dtype, expressions(tensor)) for port, tensor in zip(ports, tensors, strict=True)]
            for ports, tensors in ((engine.inputs, [arg.meta["val"] for arg in given]), (engine.outputs, results))
        ]
        described[name] = engine_artifact(name, engine.blob, *ports, options)
    return described


class _Strings:
    """Stands for Torch-TensorRT's class: what its pickle holds is a list of strings."""

    def __setstate__(self, strings: list[str]) -> None:
        self.strings = strings


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" == _CLASS:
            return _Strings
        if (module, name) == ("torch.jit._pickle", "restore_type_tag"):
            return lambda value, _: value
        raise pickle.UnpicklingError(f"{module}.{name} is no part of an engine")


def _engine(record: bytes, name: str) -> _Engine:
    try:
        with zipfile.ZipFile(io.BytesIO(record)) as file:
            content = file.read(next(entry for entry in file.namelist() if entry.endswith("/data.pkl")))
        strings = _Unpickler(io.BytesIO(content)).load().strings
        blob = base64.b64decode(strings[_ENGINE], validate=True)
        inputs, outputs = (strings[index].split(_SEPARATOR) if strings[index] else [] for index in (_INPUT_NAMES, _OUTPUT_NAMES))
    except (pickle.UnpicklingError, zipfile.BadZipFile, StopIteration, EOFError, AttributeError, LookupError, ValueError) as error:
        raise Error("bad file", f"its bytes are not as Torch-TensorRT writes them: {error!r}", [f"engine {name}"]) from error
    return _Engine(blob, inputs, outputs)
