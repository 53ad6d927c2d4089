"""The RFC's block-level API and torch.compile, with TensorRT engines on a GPU."""

from __future__ import annotations

import io

import pytest
import torch
from late_reads import read_late_elsewhere
from places import TENSORRT, why_not
from run_threads import run_threads
from torch import nn

import tenure

reason = why_not(TENSORRT)
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(reason is not None, reason=reason or "")]


def requests() -> int:
    """To PyTorch's allocator of device memory."""
    return torch.cuda.memory_stats()["allocation.all.allocated"]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16)).eval().cuda().requires_grad_(False)


@pytest.fixture(scope="module")
def program(model):
    rows = torch.export.Dim("rows", min=1, max=64)
    x = torch.randn(8, 64, device="cuda")
    return tenure.compile(model, (x,), dynamic_shapes=({0: rows},), backend="tensorrt", min_block_size=1)


@pytest.fixture(params=[False, True], ids=["owned", "unowned"])
def engine(request, program):
    engine = tenure.torch_api.engine_from(program, "engine_0")
    engine.set_output_tensors_as_unowned(request.param)
    return engine


def execute(engine, x: torch.Tensor) -> torch.Tensor:
    (result,) = torch.ops.tenure.execute_engine([x], engine)
    return result


@torch.no_grad()
def test_results_that_are_held_stay_and_buffers_that_nobody_holds_are_reused(engine, model):
    held = []
    for rows in (8, 3, 8, 8, 64, 1, 8):
        x = torch.randn(rows, 64, device="cuda")
        held.append((execute(engine, x), model(x)))
    for got, want in held:
        torch.testing.assert_close(got, want, **TENSORRT.tolerance)
    held.clear()
    x = torch.randn(8, 64, device="cuda")
    execute(engine, x)
    before = requests()
    for _ in range(10):
        execute(engine, x)
    assert requests() == before
    assert engine.stats()["last_call_allocations"] == 0


@torch.no_grad()
def test_inputs_that_are_not_dense_are_copied_into_a_standing_buffer(engine, model):
    wide = torch.randn(8, 128, device="cuda")
    for _ in range(3):
        torch.testing.assert_close(execute(engine, wide[:, ::2]), model(wide[:, ::2]), **TENSORRT.tolerance)
    before = requests()
    x = wide[:, ::2]
    execute(engine, x)
    assert requests() == before


@torch.no_grad()
def test_a_result_that_another_stream_still_reads_is_not_written(engine):
    x = torch.randn(8, 64, device="cuda")
    want, other = execute(engine, x).clone(), torch.cuda.Stream()
    for _ in range(5):
        copy = read_late_elsewhere(lambda: execute(engine, x), other)
        for _ in range(3):
            execute(engine, torch.zeros_like(x))
        torch.cuda.synchronize()
        assert torch.equal(copy, want)


@torch.no_grad()
def test_threads_with_streams_of_their_own_get_their_own_answers(engine, model):
    def work(which: int) -> None:
        generator = torch.Generator("cuda").manual_seed(which)
        with torch.no_grad(), torch.cuda.stream(torch.cuda.Stream()):
            for step in range(50):
                x = torch.randn(1 + (which + step) % 8, 64, device="cuda", generator=generator)
                torch.testing.assert_close(execute(engine, x), model(x), **TENSORRT.tolerance)

    run_threads(4, work)


@torch.no_grad()
def test_an_engine_is_a_part_of_what_torch_compile_export_and_torchscript_make(program, model):
    class Hybrid(nn.Module):
        def __init__(self):
            super().__init__()
            self.engine = tenure.torch_api.engine_from(program, "engine_0")

        def forward(self, x):
            return torch.sin(torch.ops.tenure.execute_engine([x * 2], self.engine)[0])

    hybrid, x = Hybrid(), torch.randn(8, 64, device="cuda")
    want = torch.sin(model(x * 2))
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(hybrid, (x,)), buffer)
    buffer.seek(0)
    compiled = torch.compile(hybrid, backend="aot_eager", fullgraph=True)
    for run in (hybrid, compiled, torch.export.export(hybrid, (x,)).module(), torch.jit.load(buffer)):
        got = run(x)
        assert got.device == x.device
        torch.testing.assert_close(got, want, **TENSORRT.tolerance)


@torch.no_grad()
def test_an_input_on_another_device_is_refused(engine):
    with pytest.raises(RuntimeError, match="cuda:0"):
        execute(engine, torch.randn(8, 64))


@pytest.mark.parametrize("backend", ["tensorrt", []], ids=["tensorrt", "pytorch"])
@torch.no_grad()
def test_torch_compile_makes_programs_that_run_on_the_gpu(backend, model):
    class Hybrid(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            return torch.sin(self.model(x)) + 1

    torch._dynamo.reset()
    eager = Hybrid()
    fast = torch.compile(eager, backend="tenure", options={"backend": backend, "min_block_size": 1})
    held = []
    for _ in range(5):
        x = torch.randn(8, 64, device="cuda")
        held.append((fast(x), eager(x)))
    for got, want in held:
        assert got.device.type == "cuda"
        torch.testing.assert_close(got, want, **TENSORRT.tolerance)
    del held, got, want
    fast(x)
    before = requests()
    for _ in range(5):
        fast(x)
    assert requests() == before
