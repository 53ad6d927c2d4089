"""Writes the .pt2 files that the archive tests read: `make_archives.py FOLDER`.

Each file shows some argument kinds, signatures or records of torch.export; the tests say which. Seeded, so that two runs write the
same weights.
"""

import argparse
import json
import pathlib
import warnings

import torch
import torchvision
from torch.export import Dim, ExportedProgram, export
from torch.export.pt2_archive import PT2ArchiveWriter
from torch.export.pt2_archive._package import _package_exported_programs


@torch.library.custom_op("tenure::call_engine", mutates_args=())
def call_engine(inputs: list[torch.Tensor], engine: str) -> list[torch.Tensor]:
    """Stands for the operator of that name in Tenure's Python package, which the tests of the reader do not need."""
    raise NotImplementedError(engine)


@call_engine.register_fake
def _(inputs: list[torch.Tensor], engine: str) -> list[torch.Tensor]:
    return [inputs[0].new_empty(inputs[0].shape), inputs[0].new_empty([inputs[0].shape[0] + 1, 2])]


class Small(torch.nn.Module):
    """The smallest program with a parameter, a buffer and a constant."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3))
        self.register_buffer("scale", torch.tensor([2.0]))
        self.shift = torch.tensor([1, 2, 3])

    def forward(self, x):
        return x @ self.weight * self.scale + self.shift


class Dynamic(torch.nn.Module):
    """Sizes that are arithmetic on symbols."""

    def forward(self, x, y):
        n = x.shape[0]
        padded = torch.nn.functional.pad(x, (0, 0, 1, n // 2))
        joined = torch.cat([padded, y], dim=0)
        return joined.reshape(-1), joined.new_zeros([n * 2 + 1, torch.sym_max(n, 4)]), n % 3


class DataDependent(torch.nn.Module):
    """Sizes that only a run tells."""

    def forward(self, x):
        where = torch.nonzero(x > 0)
        count = x.sum().to(torch.int64).item()
        torch._check(count >= 0)
        torch._check(count <= 100)
        return where, torch.ones(count), x.max().item()


class Lists(torch.nn.Module):
    """Lists of tensors as arguments and as results, several results, indexing with None."""

    def forward(self, x, index):
        first, _, last = torch.split(x, [1, 2, 1])
        values, _ = x.max(dim=1)
        return torch.cat([first, last]), values, x[:, index], x.unbind(0)


class Constants(torch.nn.Module):
    """dtypes, devices, memory formats, layouts, strings, floats, bools and complex numbers as arguments."""

    def forward(self, x):
        y = x.to(torch.float64).contiguous(memory_format=torch.channels_last)
        z = torch.zeros([2, 3], dtype=torch.bfloat16, device="cpu", layout=torch.strided)
        w = torch.einsum("bchw,bchw->bc", y, y)
        u = torch.nn.functional.interpolate(x, scale_factor=[2.0, 1.5], mode="bilinear", align_corners=False)
        return y, z, w, u, torch.full([2], 1 + 2j), torch.clone(x, memory_format=torch.preserve_format)


class Resized(torch.nn.Module):
    """A size that goes through floating point, and a number that is not an integer."""

    def forward(self, x):
        return torch.nn.functional.interpolate(x, scale_factor=1.5), torch.full((2,), x.shape[2] / 3)


class Shared(torch.nn.Module):
    """Names that share storage: tied parameters, a view, a transposed buffer that is not persistent."""

    def __init__(self):
        super().__init__()
        self.a = torch.nn.Linear(4, 4, bias=False)
        self.b = torch.nn.Linear(4, 4, bias=False)
        self.b.weight = self.a.weight
        whole = torch.arange(12.0)
        self.register_buffer("whole", whole)
        self.register_buffer("part", whole[4:8])
        self.register_buffer("turned", torch.arange(6, dtype=torch.int16).reshape(2, 3).t(), persistent=False)

    def forward(self, x):
        return self.b(self.a(x)) + self.part + self.whole.sum() + self.turned.sum()


class Counter(torch.nn.Module):
    """A buffer and an input that are changed."""

    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(1, dtype=torch.int64))

    def forward(self, x):
        self.count.add_(1)
        x.mul_(2)
        return x + self.count


class Nested(torch.nn.Module):
    """A nested result with None and an integer, and inputs that must stay as they were."""

    def forward(self, x, flag=None, times=3, mode="add", *, scale=1.5):
        y = x + times if mode == "add" else x - times
        return {"y": y * scale, "pair": (None, 5, [y, "text"])}


class Detect(torch.nn.Module):
    """A custom operator of another library."""

    def forward(self, boxes, scores):
        return torchvision.ops.nms(boxes, scores, 0.5)


class Branch(torch.nn.Module):
    """A higher-order operator."""

    def forward(self, x):
        return torch.cond(x.sum() > 0, lambda x: x.sin(), lambda x: x.cos(), (x,))


class Engines(torch.nn.Module):
    """An engine call with two results between two operators; one engine result is unused."""

    def forward(self, x):
        outputs = torch.ops.tenure.call_engine([x + 1, x], "engine_0")
        return outputs[0] * 2


class Many(torch.nn.Module):
    """Every dtype that torch.export writes, as a buffer."""

    def __init__(self):
        super().__init__()
        for dtype in torch._export.serde.serialize._TORCH_TO_SERIALIZE_DTYPE:
            self.register_buffer("of_" + str(dtype).removeprefix("torch."), torch.arange(3).to(dtype))

    def forward(self, x):
        return x + self.of_int32


def engine_records(blob: bytes, **changes) -> dict[str, bytes]:
    """A manifest of one engine, and its blob; `changes` replace members of the manifest."""
    blob_name = "data/tenure/engines/engine_0.blob"
    dynamic = "Symbol('i0_0', positive=True, integer=True)"
    engine = {
        "name": "engine_0",
        "backend": "null",
        "blob": blob_name,
        "blob_bytes": len(blob),
        "inputs": [
            {"name": "a", "dtype": 7, "sizes": [dynamic, "3"]},
            {"name": "b", "dtype": 7, "sizes": ["Symbol('i1_0', integer=True)", "Integer(3)"]},
        ],
        "outputs": [
            {"name": "c", "dtype": 7, "sizes": [dynamic, "3"], "aliases_input": 1},
            {"name": "d", "dtype": 13, "sizes": [f"Add({dynamic}, Integer(1))", "2"], "aliases_input": None},
        ],
        "options": {"precision": "f32"},
    }
    manifest = {"format_version": 1, "tenure_version": "0.1.0", "custom_op_libraries": ["torchvision"], "engines": [engine]}
    manifest.update(changes)
    return {"data/tenure/manifest.json": json.dumps(manifest).encode(), blob_name: blob}


def write(path: pathlib.Path, programs: ExportedProgram | dict[str, ExportedProgram], records: dict[str, bytes] | None = None):
    """Writes an archive as torch.export.save does, with further records."""
    with PT2ArchiveWriter(str(path)) as writer:
        _package_exported_programs(writer, programs)
        for name, content in (records or {}).items():
            writer.write_bytes(name, content)


def programs() -> dict[str, ExportedProgram]:
    """The programs without engines, by file name."""
    x = torch.randn(4, 3)
    rows = Dim("rows", min=3, max=50)
    counter = export(Counter(), (x.clone(),))
    return {
        "small": export(Small(), (torch.randn(5, 2),)),
        "dynamic": export(Dynamic(), (x, torch.randn(2, 3)), dynamic_shapes={"x": {0: rows}, "y": {0: Dim.AUTO}}),
        "data_dependent": export(DataDependent(), (torch.ones(6),)),
        "lists": export(Lists(), (x, torch.tensor([0, 2]))),
        "constants": export(Constants(), (torch.randn(1, 2, 8, 8),), dynamic_shapes={"x": {2: Dim.AUTO}}),
        "resized": export(Resized(), (torch.randn(1, 1, 8, 8),), dynamic_shapes={"x": {2: Dim.AUTO}}),
        "shared": export(Shared(), (torch.randn(2, 4),)),
        "in_place": counter,
        "mutations": counter.run_decompositions({}),
        "nested": export(Nested(), (x,), {"scale": 1.5}),
        "number_input": export(Nested(), (x, None, 7), dynamic_shapes={"x": None, "flag": None, "times": Dim.DYNAMIC}),
        "nms": export(Detect(), (torch.rand(5, 4), torch.rand(5))),
        "cond": export(Branch(), (x,)),
        "dtypes": export(Many(), (x,)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    with torch.no_grad():
        made = programs()
        for name, program in made.items():
            torch.export.save(program, folder / f"{name}.pt2")
        engines = export(Engines(), (torch.randn(4, 3),), dynamic_shapes={"x": {0: Dim.AUTO}})
        small, blob = made["small"], bytes(range(200))
        write(folder / "engines.pt2", engines, engine_records(blob))
        write(folder / "newer_manifest.pt2", engines, engine_records(blob, format_version=2, tenure_version="9.0"))
        write(folder / "no_manifest.pt2", engines)
        missing = engine_records(blob)
        del missing["data/tenure/engines/engine_0.blob"]
        write(folder / "missing_blob.pt2", engines, missing)
        write(folder / "other_engines.pt2", engines, engine_records(blob, engines=[]))
        write(folder / "wrong_type.pt2", engines, engine_records(blob, engines="engine_0"))
        write(folder / "two_models.pt2", {"model": small, "other": made["lists"]})
        write(folder / "unnamed_models.pt2", {"first": small, "second": made["lists"]})
        torch.save({"not": "an archive"}, folder / "pickle.pt")


if __name__ == "__main__":
    main()
