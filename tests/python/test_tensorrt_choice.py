"""Which way backend="tensorrt" goes, what its options and report are called, which TensorRT is refused; needs no TensorRT."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from function_module import Function
from tenure.backends.null import NullBackend
from tenure.backends.tensorrt_base import check_builds_for_this
from tenure.compile import lower

import tenure
from tenure import _tenure, backends

RTX = SimpleNamespace(__name__="tensorrt_rtx", __version__="1.4.0.76")


@pytest.mark.parametrize(
    ("runs", "builds", "fits"),
    [
        ("TensorRT-RTX 1.4.0", RTX, True),
        ("TensorRT-RTX 1.7.1", RTX, False),
        ("TensorRT 10.3.0", RTX, False),
        ("TensorRT 10.3.0", SimpleNamespace(__name__="tensorrt", __version__="10.3.0"), True),
        ("TensorRT-RTX 1.4.0", SimpleNamespace(__name__="tensorrt", __version__="10.3.0"), False),
        (None, RTX, True),
    ],
)
def test_a_tensorrt_whose_engines_this_build_cannot_run_is_refused_before_anything_is_compiled(monkeypatch, runs, builds, fits):
    monkeypatch.setattr(_tenure, "backend_runtimes", lambda: {"null": ""} | ({} if runs is None else {"tensorrt": runs}))
    if fits:
        check_builds_for_this(builds)
        return
    with pytest.raises(tenure.Error, match="TENSORRT_ROOT") as caught:
        check_builds_for_this(builds)
    assert runs in str(caught.value)
    assert builds.__version__ in str(caught.value)


class OneWay(NullBackend):
    def __init__(self, way: str, operator: str):
        self.way_of_this, self.operator, self.options = way, operator, {}

    @property
    def way(self):
        return self.way_of_this

    def why_not(self, node):
        return None if self.operator in str(node.target) else f"not with {self.way}"

    def full_options(self, options):
        self.options = dict(options)
        return {}


def test_two_ways_to_engines_of_one_name_have_options_and_reasons_of_their_own():
    first, second = OneWay("null-first", "aten.sin"), OneWay("null-second", "aten.cos")
    model = Function(lambda _, x: torch.cos(torch.sin(x)).exp())
    options = {"null": {"all": "1", "one": "1"}, "null-second": {"one": "2"}}
    artifact = lower(model, (torch.randn(3),), backend=[first, second], min_block_size=1, options=options)
    assert first.options == {"all": "1", "one": "1"}
    assert second.options == {"all": "1", "one": "2"}
    assert [part.backend for part in artifact.report.parts] == ["null-first", "null-second"]
    assert artifact.report.refused["null-first"]["aten.exp.default"] == "not with null-first"
    assert artifact.report.refused["null-second"]["aten.exp.default"] == "not with null-second"
    with pytest.raises(tenure.Error, match="null-third"):
        lower(model, (torch.randn(3),), backend=[first, second], options={"null-third": {"one": "1"}})


def refuse(text):
    def make():
        raise tenure.Error("unsupported", text)

    return make


@pytest.fixture
def torch_tensorrt_is_broken(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(backends, "find_spec", lambda name: object())
    monkeypatch.setattr(backends, "_torch_tensorrt", refuse("its library is missing"))


@pytest.mark.usefixtures("torch_tensorrt_is_broken")
def test_where_torch_tensorrt_cannot_be_imported_the_way_goes_through_onnx_and_says_so(monkeypatch):
    other = NullBackend()
    monkeypatch.setattr(backends, "_onnx_tensorrt", lambda: other)
    with pytest.warns(UserWarning, match="through ONNX.*its library is missing"):
        assert backends.find_backends("tensorrt") == [other]


@pytest.mark.usefixtures("torch_tensorrt_is_broken")
def test_where_neither_way_is_open_both_reasons_are_told(monkeypatch):
    monkeypatch.setattr(backends, "_onnx_tensorrt", refuse("onnx is not there"))
    with pytest.raises(tenure.Error, match=r"(?s)its library is missing.*onnx is not there"):
        backends.find_backends("tensorrt")
