"""Models and programs that several test files share."""

from __future__ import annotations

import functools
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import tenure

sys.path.append(str(Path(__file__).parent))  # for the modules that test files share
from places import OPENVINO, Place


def _layers(features: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, features))


class Hybrid(nn.Module):
    """Engine, PyTorch operators, engine. Returned: a view of an engine's output, an engine's output, an operator's output."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = _layers(8), _layers(4)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden = self.first(x)
        waves = torch.sin(hidden)
        return {"part": hidden[:, :4], "scores": self.second(waves), "sums": waves.sum(1)}


@pytest.fixture
def place() -> Place:
    """Where the program of `hybrid` runs; a test that is parametrised with places has them here."""
    return OPENVINO


@pytest.fixture
def hybrid_model(place) -> nn.Module:
    return Hybrid().eval().to(place.device)


@pytest.fixture(scope="session")
def hybrid_files(tmp_path_factory) -> Callable[[Place], Path]:
    """Of each place a saved program of two engines with operators between them, its batch 1 to 64."""

    @functools.cache
    def make(place: Place) -> Path:
        path = tmp_path_factory.mktemp("hybrid") / "hybrid.pt2"
        program = tenure.compile(
            Hybrid().eval().to(place.device),
            (torch.randn(3, 8, device=place.device),),
            dynamic_shapes={"x": {0: torch.export.Dim("batch", min=1, max=64)}},
            backend=place.backend,
            torch_executed_ops={"aten.sin"},
            min_block_size=2,
        )
        program.save(path)
        return path

    return make


@pytest.fixture
def hybrid_file(hybrid_files, place) -> Path:
    return hybrid_files(place)


@pytest.fixture
def hybrid(hybrid_file) -> tenure.Program:
    """A program of its own for each test, so that counters and switches are the test's."""
    return tenure.load(hybrid_file)


@pytest.fixture
def load_plain(tmp_path) -> Callable[..., tenure.Program]:
    """load_plain(model, args, **export options): the model through torch.export.save alone, then tenure.load."""

    def load(model, args, **options):
        path = tmp_path / "plain.pt2"
        torch.export.save(torch.export.export(model, args, **options), path)
        return tenure.load(path)

    return load


@pytest.fixture
def rewritten(tmp_path) -> Callable[..., Path]:
    """rewritten(path, {record: edit}): a copy of the archive where edit(bytes) replaces a record, or None removes it."""

    def rewrite(path, edits):
        target = tmp_path / "rewritten.pt2"
        done = set()
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
            for info in old.infolist():
                record = info.filename.split("/", 1)[1]
                data = old.read(info)
                if record in edits:
                    done.add(record)
                    if edits[record] is None:
                        continue
                    data = edits[record](data)
                new.writestr(info.filename, data)
        assert done == set(edits), "the archive lacks a record that the test edits"
        return target

    return rewrite


@pytest.fixture
def edit_manifest(rewritten) -> Callable[..., Path]:
    """edit_manifest(path, change): a copy whose manifest went through change(dict)."""

    def edit(path, change):
        def apply(data):
            manifest = json.loads(data)
            change(manifest)
            return json.dumps(manifest).encode()

        return rewritten(path, {"data/tenure/manifest.json": apply})

    return edit
