"""What Torch-TensorRT 2.11 returns and saves, made without it; its engines are null engines, which run on the CPU."""

from __future__ import annotations

import base64
import io
import json
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tenure.backends.null import NullBackend
from tenure.migrate import compiled
from torch import nn
from torch.fx import Graph, GraphModule
from torch.fx.graph import _PyTreeCodeGen, _PyTreeInfo


class EngineModule(nn.Module):
    """TorchTensorRTModule: an engine that computes `function`, for inputs of the sizes of `samples`."""

    def __init__(self, function: nn.Module, samples: Sequence[torch.Tensor], dynamic_shapes: Any = None):
        super().__init__()
        exported = torch.export.export(function, tuple(samples), dynamic_shapes=dynamic_shapes).run_decompositions({})
        self.serialized_engine = NullBackend().compile(exported, {})
        nodes = {node.name: node.meta.get("val") for node in exported.graph.nodes}
        given = exported.graph_signature.user_inputs
        results = exported.graph_signature.user_outputs
        self.input_binding_names = list(given)
        self.output_binding_names = [f"output{index}" for index in range(len(results))]
        self.symbolic_shape_expressions = {
            "inputs": [self.told(nodes[name]) | {"name": name} for name in given],
            "outputs": [self.told(nodes[name]) for name in results],
        }

    @staticmethod
    def told(tensor: torch.Tensor) -> dict[str, Any]:
        sizes = [size.node.expr if isinstance(size, torch.SymInt) else size for size in tensor.shape]
        return {"shape_exprs": sizes, "dtype": tensor.dtype}


def compiled_module(layers: Sequence[tuple[str, nn.Module]], exported: torch.export.ExportedProgram, graph: Graph) -> GraphModule:
    """A module of these submodules whose arguments and results are structured as those of `exported`."""
    root = nn.Module()
    for name, layer in layers:
        root.add_module(name, layer)
    signature = exported.module_call_graph[0].signature
    names = [node.name for node in graph.find_nodes(op="placeholder")]
    graph.set_codegen(_PyTreeCodeGen(_PyTreeInfo(names, signature.in_spec, signature.out_spec)))
    return GraphModule(root, graph)


def save(module: GraphModule, path: Path) -> None:
    """As torch_tensorrt.save does."""
    artifact = compiled.artifact_of_module(module, {})
    plain = io.BytesIO()
    torch.export.save(artifact.exported_program, plain)
    engines = {engine.spec.name: engine for engine in artifact.engines}
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w") as target:
        for record in source.namelist():
            content = source.read(record)
            if record.endswith("models/model.json"):
                content = json.dumps(_with_objects(json.loads(content), engines))
            elif record.endswith("model_constants_config.json"):
                config = json.loads(content)
                for index, name in enumerate(engines):
                    entry = {"path_name": f"custom_obj_{index}", "is_param": False, "use_pickle": True, "tensor_meta": None}
                    config["config"][f"_{name}_engine"] = entry
                content = json.dumps(config)
            target.writestr(record, content)
        folder = source.namelist()[0].partition("/")[0]
        for index, engine in enumerate(engines.values()):
            target.writestr(f"{folder}/data/constants/custom_obj_{index}", pickled_engine(engine))


def _with_objects(model: dict[str, Any], engines: dict[str, Any]) -> dict[str, Any]:
    graph, signature = model["graph_module"]["graph"], model["graph_module"]["signature"]
    described = {name: {"name": f"obj_{name}", "class_fqn": "__torch__.torch.classes.tensorrt.Engine"} for name in engines}
    for node in graph["nodes"]:
        if node["target"] == "torch.ops.tenure.call_engine.default":
            node["target"] = "torch.ops.tensorrt.execute_engine.default"
            tensors, name = (argument["arg"] for argument in node["inputs"])
            node["inputs"] = [
                {"name": "input_tensors", "arg": tensors, "kind": 1},
                {"name": "engine", "arg": {"as_custom_obj": described[name["as_string"]]}, "kind": 1},
            ]
    graph["custom_obj_values"] = {each["name"]: each for each in described.values()}
    graph["inputs"][:0] = [{"as_custom_obj": each} for each in described.values()]
    specs = [{"custom_obj": {"arg": each, "custom_obj_name": f"_{name}_engine"}} for name, each in described.items()]
    signature["input_specs"][:0] = specs
    return model


def pickled_engine(engine: Any, class_name: bytes = b"__torch__.torch.classes.tensorrt\nEngine") -> bytes:
    """As TorchScript pickles an object whose state is a list of strings."""
    names = ["%".join(binding.name for binding in bindings) for bindings in (engine.spec.inputs, engine.spec.outputs)]
    strings = ["8", f"_{engine.spec.name}_engine", "0%9%0%0%NVIDIA H100", base64.b64encode(engine.blob).decode(), *names]
    content = b"\x80\x02c" + class_name + b"\n)\x81ctorch.jit._pickle\nrestore_type_tag\n]("
    for text in (*strings, "0", "", "linux_x86_64", "0", "0"):
        content += b"X" + struct.pack("<I", len(text.encode())) + text.encode()
    content += b"eX\x09\x00\x00\x00List[str]\x86Rb."
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("archive/data.pkl", content)
    return buffer.getvalue()
