"""Makes the blobs of the engine conformance suite: the same small parts, once for each engine.

Usage: make_engine_blobs.py OUTPUT_FOLDER ENGINE...   (engines: null, openvino, tensorrt)

For each part P and engine E it writes OUTPUT_FOLDER/E/P.blob; OUTPUT_FOLDER/E/manifest.json has the bindings of all parts, in the
form of a saved program's manifest. Weights are simple exact fractions, so that the suite can compute them again.
"""

import argparse
import io
import json
import pathlib
from dataclasses import dataclass

import sympy
import torch
from torch._export.serde.schema import ScalarType
from torch._export.serde.serialize import _TORCH_TO_SERIALIZE_DTYPE
from torch.export import Dim, ExportedProgram

WIDTH = 8


def weight(*sizes: int) -> torch.Tensor:
    """float32 of the given sizes: -0.5, -0.5 + 1/64, ... ; wraps around after 64 elements."""
    count = torch.Size(sizes).numel()
    return ((torch.arange(count) % 64 - 32) / 64.0).reshape(sizes)


class Relu(torch.nn.Module):
    def forward(self, x):
        return x.relu()


class Linear(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("weight", weight(4, WIDTH))
        self.register_buffer("bias", weight(4))

    def forward(self, x):
        return torch.nn.functional.linear(x, self.weight, self.bias)


class TwoOutputs(torch.nn.Module):
    def forward(self, x, y):
        return x + y, x * y


class DynamicConvolution(torch.nn.Module):
    """The plugin computes it in a blocked layout and reorders into the output."""

    def __init__(self):
        super().__init__()
        self.register_buffer("weight", weight(WIDTH, 3, 3, 3))

    def forward(self, x):
        return torch.nn.functional.conv2d(x, self.weight).relu()


class Embedding(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("table", weight(16, WIDTH))

    def forward(self, ids):
        return torch.nn.functional.embedding(ids, self.table), ids * 3


class IsPositive(torch.nn.Module):
    def forward(self, x):
        return x > 0


class Sum(torch.nn.Module):
    def forward(self, x):
        return x.sum()


class ScalarInput(torch.nn.Module):
    def forward(self, x, scale):
        return x * scale


class Identity(torch.nn.Module):
    def forward(self, x):
        return x, x + 1


class IdentityAlone(torch.nn.Module):
    def forward(self, x):
        return x


class Copy(torch.nn.Module):
    """Compilers drop the clone."""

    def forward(self, x):
        return x.clone(), x + 1


class Views(torch.nn.Module):
    """Outputs that would share memory if nobody told the engine where to write."""

    def forward(self, x):
        positive = x.relu()
        return positive, positive.reshape(-1), x.unsqueeze(0)


class Positives(torch.nn.Module):
    """How many rows the first output has depends on data. TensorRT-RTX 1.4 has no kernel for nonzero."""

    def forward(self, x):
        return torch.nonzero(x > 0), x * 2


class Casts(torch.nn.Module):
    """One input and one output of each small dtype."""

    def forward(self, byte, half, brain, flag):
        total = byte.float() + half.float() + brain.float() + flag.float()
        return total.to(torch.uint8), total.half(), total.bfloat16(), ~flag


@dataclass
class Part:
    module: torch.nn.Module
    inputs: tuple[torch.Tensor, ...]
    dynamic: tuple[tuple[int, ...], ...] = ()  # of each input, the dimensions that are dynamic
    output_sizes: tuple[tuple[str, ...], ...] | None = None  # expressions in i<k>_<d> and o<k>_<d>; None: as in the example
    not_for: tuple[str, ...] = ()  # engines whose compiler cannot take it


PARTS = {
    "relu": Part(Relu(), (torch.zeros(3, 4),)),
    "linear": Part(Linear(), (torch.zeros(2, WIDTH),)),
    "two_outputs": Part(TwoOutputs(), (torch.zeros(2, 3), torch.zeros(2, 3))),
    "dynamic_batch": Part(Linear(), (torch.zeros(5, WIDTH),), ((0,),), (("i0_0", "4"),)),
    "dynamic_convolution": Part(
        DynamicConvolution(),
        (torch.zeros(2, 3, 9, 11),),
        ((0, 2, 3),),
        (("i0_0", str(WIDTH), "i0_2 - 2", "i0_3 - 2"),),
    ),
    "int64_input": Part(Embedding(), (torch.zeros(5, dtype=torch.int64),), ((0,),), (("i0_0", str(WIDTH)), ("i0_0",))),
    "bool_output": Part(IsPositive(), (torch.zeros(3, 4),)),
    "scalar_output": Part(Sum(), (torch.zeros(3, 4),)),
    "dynamic_sum": Part(Sum(), (torch.zeros(5, WIDTH),), ((0,),), ((),)),
    "scalar_input": Part(ScalarInput(), (torch.zeros(3, 4), torch.zeros(()))),
    "identity": Part(Identity(), (torch.zeros(5, 4),), ((0,),), (("i0_0", "4"), ("i0_0", "4"))),
    "identity_alone": Part(IdentityAlone(), (torch.zeros(5, 4),), ((0,),), (("i0_0", "4"),)),
    "copy": Part(Copy(), (torch.zeros(5, 4),), ((0,),), (("i0_0", "4"), ("i0_0", "4"))),
    "views": Part(Views(), (torch.zeros(5, 4),), ((0,),), (("i0_0", "4"), ("4*i0_0",), ("1", "i0_0", "4"))),
    "positives": Part(Positives(), (torch.zeros(5, 4),), ((0,),), (("o0_0", "2"), ("i0_0", "4")), ("tensorrt",)),
    "casts": Part(
        Casts(),
        (
            torch.zeros(6, dtype=torch.uint8),
            torch.zeros(6, dtype=torch.float16),
            torch.zeros(6, dtype=torch.bfloat16),
            torch.zeros(6, dtype=torch.bool),
        ),
    ),
}


def export(part: Part) -> ExportedProgram:
    shapes = None
    if part.dynamic:
        shapes = tuple(dict.fromkeys(dims, Dim.AUTO) for dims in part.dynamic)
    return torch.export.export(part.module.eval(), part.inputs, dynamic_shapes=shapes, strict=False)


def to_null(program: ExportedProgram, part: Part) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def to_openvino(program: ExportedProgram, part: Part) -> bytes:
    import openvino

    model = openvino.convert_model(program)
    for index, (port, tensor) in enumerate(zip(model.inputs, part.inputs, strict=True)):
        dynamic = part.dynamic[index] if part.dynamic else ()  # convert_model forgets which dimensions are fixed
        sizes = [-1 if dim in dynamic else size for dim, size in enumerate(tensor.shape)]
        port.get_node().set_partial_shape(openvino.PartialShape(sizes))
    model.validate_nodes_and_infer_types()
    config = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    return openvino.Core().compile_model(model, "CPU", config).export_model().getvalue()


def to_tensorrt(program: ExportedProgram, part: Part) -> bytes:
    from tenure.backends.tensorrt_onnx import OnnxTensorRTBackend

    backend = OnnxTensorRTBackend()
    return backend.compile(program, backend.full_options({"max_size": "64"}))


MAKERS = {"null": to_null, "openvino": to_openvino, "tensorrt": to_tensorrt}


def srepr_size(text: str) -> str:
    size = sympy.parse_expr(text)
    return text if size.is_Integer else sympy.srepr(size)


def bindings(part: Part) -> dict[str, list[dict]]:
    inputs, outputs = [], []
    for index, tensor in enumerate(part.inputs):
        dynamic = part.dynamic[index] if part.dynamic else ()
        sizes = [f"i{index}_{dim}" if dim in dynamic else str(size) for dim, size in enumerate(tensor.shape)]
        inputs.append(binding(f"input_{index}", tensor.dtype, sizes))
    results = part.module(*part.inputs)
    for index, tensor in enumerate(results if isinstance(results, tuple) else (results,)):
        sizes = part.output_sizes[index] if part.output_sizes else [str(size) for size in tensor.shape]
        outputs.append(binding(f"output_{index}", tensor.dtype, sizes) | {"aliases_input": None})
    return {"inputs": inputs, "outputs": outputs}


def binding(name: str, dtype: torch.dtype, sizes) -> dict:
    scalar_type: ScalarType = _TORCH_TO_SERIALIZE_DTYPE[dtype]
    return {"name": name, "dtype": int(scalar_type), "sizes": [srepr_size(size) for size in sizes]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("engines", nargs="+", choices=sorted(MAKERS))
    arguments = parser.parse_args()
    programs = {name: export(part) for name, part in PARTS.items()}
    for engine in arguments.engines:
        folder = arguments.folder / engine
        folder.mkdir(parents=True, exist_ok=True)
        manifest = []
        for name, part in PARTS.items():
            if engine in part.not_for:
                continue
            (folder / f"{name}.blob").write_bytes(MAKERS[engine](programs[name], part))
            manifest.append({"name": name, "backend": engine, "options": {}, **bindings(part)})
        (folder / "manifest.json").write_text(json.dumps({"engines": manifest}, indent=1))


if __name__ == "__main__":
    main()
