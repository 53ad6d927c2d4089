"""Where a test runs: on a device, with somebody's engines. Places that are not here are skipped, with the reason."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch


@dataclass(frozen=True)
class Place:
    device: str
    backend: str

    def __str__(self) -> str:
        return f"{self.device}-{self.backend}"

    @property
    def arena(self) -> str:
        """The word of explain() for memory of the plan."""
        return "arena" if self.device == "cpu" else f"arena on {self.device}:0"

    @property
    def tolerance(self) -> dict[str, float]:
        """The null engine runs PyTorch's kernels. TensorRT-RTX multiplies float32 in TF32."""
        each = {"null": (0, 0), "openvino": (1e-4, 1e-5), "tensorrt": (1e-2, 1e-2)}
        return dict(zip(("rtol", "atol"), each[self.backend], strict=True))


NULL, OPENVINO = Place("cpu", "null"), Place("cpu", "openvino")
CUDA, TENSORRT = Place("cuda", "null"), Place("cuda", "tensorrt")


def why_not(place: Place) -> str | None:
    """By what is installed, not by trying: a backend that is broken is to fail."""
    if place.device == "cuda" and not torch.cuda.is_available():
        return "there is no CUDA device here"
    package = {"openvino": "openvino", "tensorrt": "torch_tensorrt"}.get(place.backend)
    if package is not None and importlib.util.find_spec(package) is None:
        return f"{package} is not installed"
    return None


def at(place: Place, *others: object):
    """A parameter set that begins with a place; those on a GPU have the mark `gpu`."""
    reason = why_not(place)
    marks = [pytest.mark.skipif(reason is not None, reason=reason or "")]
    if place.device == "cuda":
        marks.append(pytest.mark.gpu)
    return pytest.param(place, *others, marks=marks, id="-".join(getattr(each, "__name__", str(each)) for each in (place, *others)))


def at_each(*places: Place) -> Callable:
    return pytest.mark.parametrize("place", list(map(at, places)))
