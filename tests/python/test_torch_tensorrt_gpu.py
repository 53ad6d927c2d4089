"""Programs moved over from Torch-TensorRT itself, on a GPU. Needs both; see test_from_torch_tensorrt.py for what needs neither."""

from __future__ import annotations

import random

import pytest
import torch
from function_module import Function
from run_threads import run_threads
from torch import nn

import tenure

if not torch.cuda.is_available():
    pytest.skip("there is no CUDA device here", allow_module_level=True)
torch_tensorrt = pytest.importorskip("torch_tensorrt")
pytestmark = pytest.mark.gpu


def linear(inside: int = 64, outside: int = 64) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(inside, outside)


def two_returned(m, x):
    hidden = torch.relu(m.first(x))
    return hidden, hidden * 2


def one_kept_one_returned(m, x):
    hidden = torch.relu(m.first(x))
    return hidden * 2, m.last(torch.sin(hidden))


def view_returned(m, x):
    return torch.relu(m.first(x)).permute(1, 0)


def chain(m, x):
    for _ in range(3):
        x = torch.sin(torch.relu(m.first(x))) + 0.5
    return x


EXECUTED = {f"torch.ops.aten.{name}" for name in ("sin.default", "add.Tensor", "permute.default")}
FORWARDS = [two_returned, one_kept_one_returned, view_returned, chain]


def compiled(forward, batches: tuple[int, int, int] | None = None, **settings):
    """The model, and what Torch-TensorRT makes of it for a batch of 8, or for batches from the first to the last of three."""
    model = Function(forward, first=linear(), last=linear(64, 16)).eval().cuda()
    x, dynamic = torch.randn(8, 64, device="cuda"), None
    inputs = [x]
    if batches is not None:
        dynamic = (({0: torch.export.Dim("batch", min=batches[0], max=batches[2])},),)
        shapes = dict(zip(("min_shape", "opt_shape", "max_shape"), [(batch, 64) for batch in batches], strict=True))
        inputs = [torch_tensorrt.Input(**shapes)]
    exported = torch.export.export(model, (x,), dynamic_shapes=dynamic)
    with torch.no_grad():
        module = torch_tensorrt.dynamo.compile(exported, inputs, min_block_size=1, torch_executed_ops=EXECUTED, **settings)
    return model, module


def leaves(result) -> list[torch.Tensor]:
    return torch.utils._pytree.tree_leaves(result)


def check_same(program, module, batches=(8,)) -> None:
    for batch in batches:
        x = torch.randn(batch, 64, device="cuda")
        got, want = leaves(program(x)), leaves(module(x))
        assert [tensor.stride() for tensor in got] == [tensor.stride() for tensor in want]
        assert all(torch.allclose(*pair, atol=1e-5) for pair in zip(got, want, strict=True))


@torch.no_grad()
@pytest.mark.parametrize("forward", FORWARDS)
@pytest.mark.parametrize("python_runtime", [False, True])
def test_a_module_gives_the_same_answers_and_held_results_stay(forward, python_runtime):
    _, module = compiled(forward, use_python_runtime=python_runtime)
    program = tenure.from_torch_tensorrt(module)
    check_same(program, module)
    held = []
    for _ in range(6):
        x = torch.randn(8, 64, device="cuda")
        results = leaves(program(x))
        held.append((results, [tensor.clone() for tensor in results]))
    assert all(torch.equal(result, copy) for results, copies in held for result, copy in zip(results, copies, strict=True))
    held.clear()
    program(x)
    before = torch.cuda.memory_stats()["allocation.all.allocated"]
    for _ in range(5):
        program(x)
    assert torch.cuda.memory_stats()["allocation.all.allocated"] == before


@torch.no_grad()
@pytest.mark.parametrize("retrace", [False, True])
@pytest.mark.parametrize("forward", FORWARDS)
def test_a_saved_file_gives_the_same_answers(forward, retrace, tmp_path):
    _, module = compiled(forward)
    path = tmp_path / "model.ep"
    torch_tensorrt.save(module, str(path), retrace=retrace, arg_inputs=[torch.randn(8, 64, device="cuda")] if retrace else None)
    check_same(tenure.from_torch_tensorrt(path), module)
    check_same(tenure.from_torch_tensorrt(torch.export.load(path)), module)


@torch.no_grad()
@pytest.mark.parametrize("saved", [False, True])
def test_batches_of_any_size_that_the_engines_take(saved, tmp_path):
    _, module = compiled(chain, (1, 8, 64))
    if saved:
        torch_tensorrt.save(module, str(tmp_path / "model.ep"), retrace=False)
    program = tenure.from_torch_tensorrt(tmp_path / "model.ep" if saved else module)
    check_same(program, module, (8, 1, 64, 8, 8))
    with pytest.raises(tenure.Error, match="65"):
        program(torch.randn(65, 64, device="cuda"))


@torch.no_grad()
def test_nothing_that_is_held_is_overwritten_in_ten_thousand_runs_on_three_streams_by_two_threads():
    _, module = compiled(chain, (1, 8, 16))
    program = tenure.from_torch_tensorrt(module, session_options={"max_frames": 2})
    inputs = [torch.randn(batch, 64, device="cuda") for batch in (4, 8, 16) * 4]
    wanted = [program(x).clone() for x in inputs]
    streams = [torch.cuda.Stream() for _ in range(3)]
    torch.cuda.synchronize()
    wrong = torch.zeros(2, dtype=torch.int64, device="cuda")

    def work(which: int) -> None:
        draw, held = random.Random(which), []
        with torch.no_grad():
            for _ in range(5_000):
                stream, index = draw.choice(streams), draw.randrange(len(inputs))
                with torch.cuda.stream(stream):
                    held.append((program(inputs[index]), index, stream.record_event()))
                while len(held) > draw.randrange(12):
                    result, index, made = held.pop(draw.randrange(len(held)))
                    with torch.cuda.stream(draw.choice(streams)) as _:  # read there late, and dropped there without record_stream
                        torch.cuda.current_stream().wait_event(made)
                        wrong[which].add_((result != wanted[index]).any())
                    del result

    run_threads(2, work)
    torch.cuda.synchronize()
    assert wrong.tolist() == [0, 0]
