"""Tracers and transforms would see the memory of one run, or none: a program refuses them by name, and goes on."""

from __future__ import annotations

import gc

import pytest
import torch
from function_module import Function
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import tenure

X = torch.randn(3, 4)


@pytest.fixture(scope="module", params=[[], "null"], ids=["pytorch", "null"])
def program(request):
    return tenure.compile(Function(lambda m, x: torch.relu(x) + 1), (X,), backend=request.param, min_block_size=1)


def exported(program):
    return torch.export.export(Function(lambda m, x: program(x)), (X,))


def faked(program):
    with FakeTensorMode() as mode:
        return program(mode.from_tensor(X))


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize(
    ("record", "name"),
    [
        (lambda program: torch.jit.trace(lambda x: program(x), (X,)), "torch.jit.trace"),
        (lambda program: make_fx(lambda x: program(x))(X), "make_fx or torch.export"),
        (exported, "torch.export"),
        (lambda program: torch.vmap(program)(X.expand(2, 3, 4)), "vmap"),
        (lambda program: torch.func.grad(lambda x: program(x).sum())(X), "grad"),
        (faked, "FakeTensorMode"),
    ],
    ids=["jit.trace", "make_fx", "export", "vmap", "grad", "fake"],
)
def test_what_records_or_transforms_operators_is_refused_by_name(program, record, name, warm):
    for _ in range(3 * warm):
        program(X)
    with pytest.raises(tenure.Error, match=name) as caught:
        record(program)
    assert caught.value.code == "unsupported"
    assert torch.equal(program(X), torch.relu(X) + 1)


def test_a_tensor_without_memory_of_its_own_is_refused_also_after_a_run_of_the_same_sizes(program):
    with FakeTensorMode() as mode:
        fake = mode.from_tensor(X)
    for _ in range(3):
        program(X)
    with pytest.raises(tenure.Error, match="wrapper"):
        program(fake)
    assert torch.equal(program(X), torch.relu(X) + 1)


def test_zeros_without_memory_are_refused_by_name(program):
    for _ in range(3):
        program(X)
    with pytest.raises(tenure.Error, match="zeros without memory"):
        program(torch._efficientzerotensor((3, 4)))
    assert torch.equal(program(X), torch.relu(X) + 1)


class Watch(TorchDispatchMode):
    """Keeps each operator that it sees, with its tensors."""

    def __init__(self):
        super().__init__()
        self.seen, self.kept = [], []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        tensors = [each for each in (*args, result) if isinstance(each, torch.Tensor)]
        self.seen.append(func)
        self.kept += [(tensor, tensor.clone()) for tensor in tensors]
        return result


@pytest.mark.parametrize("warm", [False, True])
def test_a_mode_that_watches_operators_may_keep_what_it_sees(warm):
    program = tenure.compile(Function(lambda m, x: torch.relu(torch.sin(torch.cos(x * 2))) + 1), (X,), backend=[])
    for _ in range(3 * warm):
        program(X)
    watch = Watch()
    with watch:
        result = program(X)
    assert torch.equal(result, torch.relu(torch.sin(torch.cos(X * 2))) + 1)
    assert torch.ops.aten.relu.default in watch.seen
    for _ in range(3):
        program(torch.randn(3, 4))
    assert all(torch.equal(tensor, seen) for tensor, seen in watch.kept)
    del program
    gc.collect()
    assert all(torch.equal(tensor, seen) for tensor, seen in watch.kept)


def test_after_a_mode_that_watched_a_program_goes_on_as_before():
    program = tenure.compile(Function(lambda m, x: torch.relu(torch.sin(x)) + 1), (X,), backend=[])
    for _ in range(5):
        for _ in range(3):
            program(X)
        assert program.stats().last_run_allocations == 0
        with FlopCounterMode(display=False):
            program(X)
    stats = program.stats()
    assert (stats.deviations, stats.observing_runs) == (0, 1)
