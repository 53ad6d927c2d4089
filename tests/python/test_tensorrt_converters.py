"""backend="tensorrt" through Torch-TensorRT's converters, on a GPU. Needs both; without either the choice of the way is tested."""

from __future__ import annotations

import sys

import pytest
import torch
from function_module import Function
from places import TENSORRT, why_not
from run_threads import run_threads
from tenure.backends import find_backends
from torch import nn
from torch.nn import functional as F

import tenure

pytestmark = pytest.mark.gpu
needs_both = pytest.mark.skipif(why_not(TENSORRT) is not None, reason=why_not(TENSORRT) or "")


def test_without_torch_tensorrt_its_way_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_tensorrt", None)
    monkeypatch.delitem(sys.modules, "tenure.backends.tensorrt_converters", raising=False)
    with pytest.raises(tenure.Error, match="pip install torch-tensorrt-rtx") as caught:
        find_backends("tensorrt-converters")
    assert caught.value.code == "unsupported"
    assert "tensorrt-onnx" in str(caught.value)


@needs_both
def test_where_torch_tensorrt_and_a_gpu_are_its_converters_are_the_way():
    (chosen,) = find_backends("tensorrt")
    assert type(chosen).__name__ == "TorchTensorRTBackend"
    assert chosen.name == "tensorrt"


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.into, self.out, self.norm = nn.Embedding(50, 32), nn.Linear(32, 96), nn.Linear(32, 32), nn.LayerNorm(32)

    def forward(self, ids):
        x = self.words(ids)
        batch, length, width = x.shape
        query, key, value = self.into(x).view(batch, length, 3, 4, 8).permute(2, 0, 3, 1, 4).unbind(0)
        seen = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(batch, length, width)
        return self.norm(x + self.out(seen)), F.gelu(x).softmax(-1)


def convolutional() -> nn.Module:
    first = (nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2))
    return nn.Sequential(*first, nn.Conv2d(8, 8, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


BATCH, LENGTH = torch.export.Dim("batch", min=1, max=16), torch.export.Dim("length", min=2, max=32)
# A model, its inputs by batch, its dynamic dimensions, operators left to PyTorch, and how many engines that makes.
CASES = {
    "linear": (
        lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)),
        lambda n: torch.randn(n, 8),
        {0: BATCH},
        (),
        1,
    ),
    "convolution": (convolutional, lambda n: torch.randn(n, 3, 16, 16), {0: BATCH}, (), 1),
    "attention": (Attention, lambda n: torch.randint(0, 50, (n, n + 2)), {0: BATCH, 1: LENGTH}, (), 1),
    "split": (
        lambda: nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 4)),
        lambda n: torch.randn(n, 8),
        {0: BATCH},
        ("aten.tanh",),
        3,
    ),
    "outputs": (
        lambda: Function(lambda m, x: (x * 2, x > 0, x.argmax(1), (x * 3).to(torch.float16))),
        lambda n: torch.randn(n, 8),
        {0: BATCH},
        (),
        1,
    ),
}


@needs_both
@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_programs_agree_with_eager_and_what_is_held_stays(name):
    make, sample, dims, executed, engines = CASES[name]
    torch.manual_seed(0)
    model = make().eval().cuda()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    program = tenure.compile(
        model,
        (sample(3).cuda(),),
        dynamic_shapes=(dims,) if not isinstance(model, Function) else ((dims,),),
        backend="tensorrt",
        min_block_size=1,
        torch_executed_ops=executed,
    )
    assert len(program.engines) == engines, str(program.report)
    held = []
    for batch in (3, 1, 5, 3, 3, 5, 1, 3):
        x = sample(batch).cuda()
        held.append((program(x), model(x)))
    for got, want in held:
        torch.testing.assert_close(got, want, **TENSORRT.tolerance)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items()), "the model is the caller's"
    assert program.stats().last_run_allocations == 0


@needs_both
@torch.no_grad()
def test_what_torch_tensorrt_cannot_convert_stays_pytorch_and_the_report_says_why():
    model = Function(lambda m, x: torch.relu(torch.sort(torch.relu(x) * 2)[0]) + (x.double() * 2).float())
    x = torch.randn(3, 8, device="cuda")
    program = tenure.compile(model, (x,), backend="tensorrt", min_block_size=1)
    assert program.engines
    assert "aten.sort" in str(program.report)
    assert "float64" in str(program.report)
    for _ in range(3):
        torch.testing.assert_close(program(x), model(x), **TENSORRT.tolerance)


@needs_both
@torch.no_grad()
def test_a_file_keeps_its_engines(tmp_path):
    model, x = nn.Sequential(nn.Linear(8, 16), nn.ReLU()).eval().cuda(), torch.randn(3, 8, device="cuda")
    tenure.compile(model, (x,), backend="tensorrt", min_block_size=1).save(tmp_path / "model.pt2")
    loaded = tenure.load(tmp_path / "model.pt2")
    assert [engine.backend for engine in loaded.engines.values()] == ["tensorrt"]
    for _ in range(3):
        torch.testing.assert_close(loaded(x), model(x), **TENSORRT.tolerance)


@needs_both
@pytest.mark.parametrize(
    "options", [{"tf32": "1"}, {"workspace_bytes": str(64 << 20)}, {"weight_streaming_budget": "0"}, {}], ids=str
)
@torch.no_grad()
def test_engines_of_each_option_compute_the_same(options):
    model, x = convolutional().eval().cuda(), torch.randn(3, 3, 16, 16, device="cuda")
    program = tenure.compile(model, (x,), backend="tensorrt", min_block_size=1, options=options)
    assert len(program.engines) == 1, str(program.report)
    for _ in range(3):
        torch.testing.assert_close(program(x), model(x), **TENSORRT.tolerance)


@needs_both
@torch.no_grad()
def test_sizes_that_depend_on_one_another_may_be_all_that_the_export_takes():
    model = Function(lambda m, x, y: torch.cat([x, y]).relu() * 2 + y[: x.shape[0]].sum(0)).cuda()
    rows = torch.export.Dim("rows", min=1, max=64)
    program = tenure.compile(
        model,
        (torch.randn(4, 8, device="cuda"), torch.randn(8, 8, device="cuda")),
        dynamic_shapes=(({0: rows}, {0: 2 * rows}),),
        backend="tensorrt",
        min_block_size=1,
    )
    assert program.engines, str(program.report)
    for count in (1, 64, 4, 2, 1):
        x, y = torch.randn(count, 8, device="cuda"), torch.randn(2 * count, 8, device="cuda")
        torch.testing.assert_close(program(x, y), model(x, y), **TENSORRT.tolerance)


@needs_both
@torch.no_grad()
def test_a_trace_tells_the_layers_of_each_engine():
    make, sample, _, executed, _ = CASES["split"]
    model, x = make().eval().cuda(), sample(3).cuda()
    program = tenure.compile(model, (x,), backend="tensorrt", min_block_size=1, torch_executed_ops=executed)
    want = program(x)
    with tenure.runtime.trace(program) as trace:
        for _ in range(3):
            assert torch.equal(program(x), want)
    layers = [span for span in trace.spans if span.kind == "layer"]
    assert {layer.target for layer in layers} == set(program.engines)
    assert all(layer.clock == "device" and layer.duration_ns >= 0 for layer in layers)
    assert any(layer.duration_ns > 0 for layer in layers)
    before = torch.cuda.memory_stats()["allocation.all.allocated"]
    program(x)
    assert torch.cuda.memory_stats()["allocation.all.allocated"] == before


@needs_both
@torch.no_grad()
def test_a_thread_may_begin_its_life_on_the_gpu_with_a_program():
    """In which nothing has given it CUDA's context, and sizes are new to the engine."""
    make, sample, dims, _, _ = CASES["linear"]
    model = make().eval().cuda()
    inputs = [sample(batch).cuda() for batch in (1, 3, 5, 7, 2, 1)]
    program = tenure.compile(model, (inputs[1],), dynamic_shapes=(dims,), backend="tensorrt", min_block_size=1)
    wanted = [model(x) for x in inputs]
    torch.cuda.synchronize()
    results = []
    for x in inputs:
        run_threads(1, lambda _, x=x: results.append(program(x)))
    for got, want in zip(results, wanted, strict=True):
        torch.testing.assert_close(got, want, **TENSORRT.tolerance)


@needs_both
@pytest.mark.parametrize("cache", [False, True])
@torch.no_grad()
def test_the_first_size_that_an_engine_meets_decides_nothing(cache, tmp_path):
    """With kernels for single sizes TensorRT-RTX 1.4 went on computing one row."""
    make, sample, dims, _, _ = CASES["linear"]
    model = make().eval().cuda()
    path = tmp_path / "model.pt2"
    tenure.compile(model, (sample(3).cuda(),), dynamic_shapes=(dims,), backend="tensorrt", min_block_size=1).save(path)
    for first in (1, 2, 16):
        program = tenure.load(path, engine_cache=cache)
        for _ in range(20):  # kernels that are compiled meanwhile would be ready
            for batch in (first, 2, 1, 5, 16):
                x = sample(batch).cuda()
                torch.testing.assert_close(program(x), model(x), **TENSORRT.tolerance)
