"""Parts become TensorRT engines by way of ONNX, without a GPU. Most skip where TensorRT-RTX and ONNX are not installed.

No engine is opened here: TensorRT reads one only where a GPU is. What it takes in and gives out is compared before it is built.
"""

from __future__ import annotations

import importlib.util
import sys

import pytest
import torch
from function_module import Function
from tenure.backends import find_backends
from tenure.compile import lower
from torch import nn

import tenure

installed = all(importlib.util.find_spec(name) for name in ("tensorrt_rtx", "onnx", "onnxscript"))
needs_tensorrt = pytest.mark.skipif(not installed, reason="TensorRT-RTX, onnx or onnxscript is not installed")


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "tensorrt"])
def test_without_a_package_the_error_says_what_to_install(monkeypatch, package):
    if package == "tensorrt":
        monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "tenure.backends.tensorrt_onnx", raising=False)
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


@pytest.fixture
def profiles(monkeypatch) -> list[list[tuple[int, ...]]]:
    """Of each input of what is compiled: the smallest, best and largest sizes."""
    from tenure.backends import tensorrt_onnx as tensorrt

    made, make = [], tensorrt._profile

    def noted(builder, network, *rest):
        profile = make(builder, network, *rest)
        made.extend(profile.get_shape(network.get_input(index).name) for index in range(network.num_inputs))
        return profile

    monkeypatch.setattr(tensorrt, "_profile", noted)
    return made


@needs_tensorrt
@pytest.mark.parametrize(
    ("rows", "options", "expected"),
    [
        (torch.export.Dim("rows", min=3, max=100), {}, [(3, 8), (5, 8), (100, 8)]),
        (torch.export.Dim("rows"), {}, [(0, 8), (5, 8), (32768, 8)]),
        (torch.export.Dim("rows"), {"max_size": "64"}, [(0, 8), (5, 8), (64, 8)]),
        (torch.export.Dim("rows"), {"max_size": "2"}, [(0, 8), (5, 8), (5, 8)]),  # what is compiled for the sample runs with it
    ],
)
def test_sizes_may_vary_within_what_the_export_and_the_options_say(profiles, rows, options, expected):
    forward = Function(lambda m, x: torch.relu(x) + 1)
    artifact = lowered(forward, torch.randn(5, 8), dynamic_shapes=(({0: rows},),), **options)
    assert len(artifact.engines) == 1, str(artifact.report)
    assert profiles == [expected]


@needs_tensorrt
def test_sizes_that_depend_on_one_another_do_so_in_the_profile(profiles):
    rows = torch.export.Dim("rows")
    sizes = (({0: rows}, {0: 2 * rows}),)
    artifact = lowered(
        Function(lambda m, x, y: torch.cat([x, x]) + y), torch.randn(5, 8), torch.randn(10, 8), dynamic_shapes=sizes, max_size="64"
    )
    assert len(artifact.engines) == 1, str(artifact.report)
    assert profiles == [[(0, 8), (5, 8), (64, 8)], [(0, 8), (10, 8), (128, 8)]]


def integers(*sizes: int, dtype: torch.dtype = torch.int64) -> torch.Tensor:
    return torch.ones(sizes, dtype=dtype)


@needs_tensorrt
@pytest.mark.parametrize(
    ("forward", "sample"),
    [
        (lambda m, x: (x + 1, x + 1), torch.randn(3)),
        (lambda m, x: x.sum() * 2, torch.randn(3, 4)),
        (lambda m, x: (x + 1, x > 1, x.float()), integers(3)),
        (lambda m, x: (~x, x.float()), integers(3, dtype=torch.bool)),
        (lambda m, x: x.float() * 2, integers(3, dtype=torch.uint8)),
        (lambda m, x: torch.softmax(x, -1) @ x.transpose(0, 1), torch.randn(3, 4, dtype=torch.bfloat16)),
        (lambda m, x: (x + 1, x.sum(0), x.amax(0), x * 2), torch.randn(3, 4, dtype=torch.float16)),
        (lambda m, x: (x.cumsum(0), x.sum(0) + x), torch.randn(3, 4, dtype=torch.bfloat16)),
        (lambda m, x: torch.cat([x, x]) + 1, torch.randn(0, 4)),
        (lambda m, x: (x.float() * 2)[torch.tensor([0, 2])] + 1, integers(3, dtype=torch.int32)),
    ],
    ids=["twice", "scalar", "int64", "bool", "uint8", "bfloat16", "float16 sum", "bfloat16 sum", "empty", "index"],
)
def test_each_kind_of_tensor_goes_in_and_out(forward, sample):
    artifact = lowered(Function(forward), sample)
    assert len(artifact.engines) == 1, str(artifact.report)
    assert not any(part.reason for part in artifact.report.parts), str(artifact.report)


@needs_tensorrt
@pytest.mark.parametrize(
    ("forward", "sample", "reason"),
    [
        (lambda m, x: x.double() * 2, torch.randn(3), "float64"),
        (lambda m, x: torch.rand_like(x) + x, torch.randn(3), "random"),
        (lambda m, x: x + x, integers(3, dtype=torch.int8), "int8"),
        (lambda m, x: x + x, integers(3, dtype=torch.uint8), "uint8"),
        (lambda m, x: x & 3, integers(3), "integers"),
        (lambda m, x: x @ x, integers(3, 3), "integers"),
        (lambda m, x: x + x, integers(3, dtype=torch.bool), "bool"),
        (lambda m, x: nn.functional.hardswish(x), torch.randn(3, dtype=torch.bfloat16), "bfloat16"),
        (lambda m, x: x.scatter(0, torch.zeros(1, 3, dtype=torch.int64), x), torch.randn(2, 3), "as many elements as indices"),
    ],
    ids=["float64", "random", "int8", "uint8", "bitwise", "product", "bool", "hardswish", "scatter"],
)
def test_what_tensorrt_does_not_take_stays_pytorch_operators_and_fails_no_other(forward, sample, reason):
    def surrounded(module, x):
        return forward(module, x), torch.relu(x.float()) + 1

    artifact = lowered(Function(surrounded), sample)
    assert reason in str(artifact.report)
    assert artifact.engines, str(artifact.report)
    assert not any("failed" in (part.reason or "") for part in artifact.report.parts), str(artifact.report)


@needs_tensorrt
@pytest.mark.parametrize("options", [{"banana": "1"}, {"tf32": "perhaps"}])
def test_an_option_that_is_wrong_is_named(options):
    with pytest.raises(tenure.Error, match=next(iter(options))):
        lowered(model(), torch.randn(3, 8), **options)
