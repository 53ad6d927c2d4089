"""Programs on a CUDA device, from Python. Needs one; engines are null engines, which run there too."""

from __future__ import annotations

import itertools

import pytest
import torch
from function_module import Function
from late_reads import A_LITTLE_WHILE, read_late_elsewhere
from run_threads import run_threads
from torch import nn

import tenure

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")]


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = [layer for _ in range(4) for layer in (nn.Linear(64, 64), nn.ReLU())]
    return Function(lambda m, x: torch.sin(m.net(x)) + 1, net=nn.Sequential(*layers)).eval().cuda()


@pytest.fixture(params=[[], "null"], ids=["pytorch", "null"])
def backend(request):
    return request.param


def compiled(model: nn.Module, *args, backend) -> tenure.Program:
    executed = ["aten.sin"] if backend else []
    return tenure.compile(model, args, backend=backend, min_block_size=1, torch_executed_ops=executed)


@torch.no_grad()
def test_a_program_gives_the_bits_of_eager_pytorch_and_allocates_nothing_in_a_steady_run(backend):
    model, x = network(), torch.randn(8, 64, device="cuda")
    program = compiled(model, x, backend=backend)
    for _ in range(4):
        assert torch.equal(program(x), model(x))
    if backend == []:  # the null engine computes into memory of its own
        before = torch.cuda.memory_stats()["allocation.all.allocated"]
        for _ in range(10):
            program(x)
        assert torch.cuda.memory_stats()["allocation.all.allocated"] == before
        assert program.stats().last_run_allocations == 0
    assert "arena on cuda:0" in str(program.explain())


@torch.no_grad()
def test_a_file_from_the_cpu_runs_on_the_gpu_and_back(tmp_path):
    model, x = network().cpu(), torch.randn(8, 64)
    path = tmp_path / "model.pt2"
    compiled(model, x, backend=[]).save(path)
    on_gpu = tenure.load(path, device="cuda")
    for _ in range(3):
        assert torch.equal(on_gpu(x.cuda()), model.cuda()(x.cuda()))
    on_gpu.save(tmp_path / "copy.pt2")
    assert torch.equal(tenure.load(path, device="cpu")(x), model.cpu()(x))
    with pytest.raises(tenure.Error, match="cuda:0"):
        on_gpu(x)


@torch.no_grad()
def test_held_results_stay_whatever_runs_later_on_whichever_stream(backend):
    model = network()
    program = compiled(model, torch.randn(8, 64, device="cuda"), backend=backend)
    streams = [torch.cuda.current_stream(), torch.cuda.Stream(), torch.cuda.Stream()]
    held = []
    for run in range(60):
        stream = streams[run % 3]
        with torch.cuda.stream(stream):
            x = torch.randn(8, 64, device="cuda")
            result = program(x)
            if run % 4 != 3:
                held.append((stream, x, result, result[1:3].t()))
        if len(held) > 9:
            held.pop(run % len(held))
    torch.cuda.synchronize()
    for _, x, result, view in held:
        want = model(x)
        assert torch.equal(result, want)
        assert torch.equal(view, want[1:3].t())


@torch.no_grad()
def test_a_result_that_another_stream_still_reads_is_not_written(backend):
    """Dropped without record_stream."""
    model, x = network(), torch.randn(8, 64, device="cuda")
    program = compiled(model, x, backend=backend)
    want = model(x)
    other = torch.cuda.Stream()
    for _ in range(5):
        copy = read_late_elsewhere(lambda: program(x), other)
        for _ in range(3):
            program(torch.zeros_like(x))
        torch.cuda.synchronize()
        assert torch.equal(copy, want)


@torch.no_grad()
def test_threads_with_streams_of_their_own_get_their_own_answers(backend):
    model = network()
    program = compiled(model, torch.randn(8, 64, device="cuda"), backend=backend)
    wrong = []

    def work(seed: int) -> None:
        generator = torch.Generator("cuda").manual_seed(seed)
        with torch.no_grad(), torch.cuda.stream(torch.cuda.Stream()):
            for _ in range(50):
                x = torch.randn(8, 64, device="cuda", generator=generator)
                if not torch.equal(program(x), model(x)):
                    wrong.append(seed)

    run_threads(3, work)
    assert wrong == []


@torch.no_grad()
def test_state_lives_on_the_device_and_is_written_where_it_lies(backend):
    def forward(m, x, position):
        m.cache.index_copy_(0, position, x)
        return m.cache.sum(0)

    def module():
        return Function(forward, cache=torch.zeros(16, 8)).cuda()

    model, x = module(), torch.randn(1, 8, device="cuda")
    program = compiled(module(), x, torch.zeros(1, dtype=torch.int64, device="cuda"), backend=backend)
    for step in range(6):
        position = torch.tensor([step], device="cuda")
        assert torch.equal(program(x * step, position), model(x * step, position))
    assert torch.equal(program.state_dict()["cache"], model.cache)
    assert program.state_dict()["cache"].device.type == "cuda"


@torch.no_grad()
def test_a_trace_has_the_devices_time_of_each_node_beside_the_hosts(backend):
    model, x = network(), torch.randn(8, 64, device="cuda")
    program = compiled(model, x, backend=backend)
    for _ in range(2):
        program(x)
    with tenure.runtime.trace(program) as trace:
        torch.cuda._sleep(A_LITTLE_WHILE)  # what was enqueued before is no node's
        for _ in range(3):
            assert torch.equal(program(x), model(x))
    (names,) = {tuple(span.name for span in of_run(trace, run, "device")) for run in (1, 2, 3)}
    assert names == tuple(span.name for span in of_run(trace, 1, "host") if span.kind != "run")
    for run in (1, 2, 3):
        device, whole = of_run(trace, run, "device"), next(span for span in of_run(trace, run, "host") if span.kind == "run")
        assert all(span.duration_ns > 0 for span in device)
        assert all(one.begin_ns + one.duration_ns <= other.begin_ns + 1000 for one, other in itertools.pairwise(device))
        assert device[0].begin_ns > whole.begin_ns
    assert sum(span.duration_ns for span in of_run(trace, 1, "device")) < 5_000_000


def of_run(trace, run: int, clock: str):
    return [span for span in trace.spans if (span.run, span.clock) == (run, clock)]
