"""Where a test runs: on a device, with somebody's engines. Places that are not here are skipped, with the reason."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from tenure.backends import find_backends

import tenure


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


@functools.cache
def why_not(place: Place) -> str | None:
    if place.device == "cuda" and not torch.cuda.is_available():
        return "there is no CUDA device here"
    if place.backend == "openvino" and importlib.util.find_spec("openvino") is None:
        return "OpenVINO is not installed"
    try:
        find_backends(place.backend)
    except tenure.Error as error:
        return str(error)
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
