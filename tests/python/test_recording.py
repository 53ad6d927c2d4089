"""Tracers and transforms would see the memory of one run, or none: a program refuses them by name, and goes on."""

from __future__ import annotations

import pytest
import torch
from function_module import Function
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

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


def test_a_mode_that_only_watches_operators_sees_them_and_changes_nothing(program):
    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(func)
            return func(*args, **(kwargs or {}))

    seen = []
    for _ in range(3):
        with Watch():
            result = program(X)
        assert torch.equal(result, torch.relu(X) + 1)
    assert program.engines or torch.ops.aten.relu.default in seen
