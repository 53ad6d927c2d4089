"""Parts become TensorRT engines by way of ONNX, without a GPU. Skips where TensorRT-RTX and ONNX are not installed."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from function_module import Function
from tenure.backends import find_backends
from tenure.compile import lower
from torch import nn

import tenure

installed = all(importlib.util.find_spec(name) for name in ("tensorrt_rtx", "onnx", "onnxscript"))
needs_tensorrt = pytest.mark.skipif(not installed, reason="TensorRT-RTX, onnx or onnxscript is not installed")


@pytest.mark.skipif(installed, reason="TensorRT-RTX and ONNX are installed")
def test_without_the_packages_the_error_says_what_to_install():
    with pytest.raises(tenure.Error, match="pip install tensorrt-rtx onnx onnxscript") as caught:
        find_backends("tensorrt")
    assert caught.value.code == "unsupported"


def model() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.ModuleDict({"first": nn.Linear(8, 16), "second": nn.Linear(16, 4)})
    return Function(lambda m, x: m.layers["second"](torch.sin(torch.relu(m.layers["first"](x)))), layers=layers).eval()


def lowered(module: nn.Module, *args, dynamic_shapes=None, **options):
    given = {"dynamic_shapes": dynamic_shapes, "torch_executed_ops": ["aten.sin"], "options": options}
    return lower(module, args, backend="tensorrt", min_block_size=1, **given)


@needs_tensorrt
def test_what_surrounds_a_pytorch_operator_becomes_engines():
    artifact = lowered(model(), torch.randn(3, 8))
    assert [part.engine for part in artifact.report.parts] == ["engine_0", "engine_1"], str(artifact.report)
    assert all(len(engine.blob) > 1000 for engine in artifact.engines)
    assert artifact.engines[0].spec.options == {"tf32": "0", "max_size": "32768"}


@needs_tensorrt
def test_sizes_may_vary_within_what_the_export_says():
    rows = torch.export.Dim("rows", min=3, max=100)
    artifact = lowered(model(), torch.randn(5, 8), dynamic_shapes=(({0: rows},),))
    assert len(artifact.engines) == 2, str(artifact.report)


@needs_tensorrt
@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (lambda m, x: x.double() * 2, "float64"),
        (lambda m, x: torch.rand_like(x) + x, "random"),
    ],
)
def test_what_tensorrt_does_not_take_stays_pytorch_operators_and_the_report_says_why(forward, reason):
    artifact = lower(Function(forward), (torch.randn(3, 8),), backend="tensorrt", min_block_size=1)
    assert reason in str(artifact.report)


@needs_tensorrt
@pytest.mark.parametrize("options", [{"banana": "1"}, {"tf32": "perhaps"}])
def test_an_option_that_is_wrong_is_named(options):
    with pytest.raises(tenure.Error, match=next(iter(options))):
        lowered(model(), torch.randn(3, 8), **options)
