"""What callers do with inputs and state: share their memory, lay it out otherwise, keep it for autograd, load parameters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from function_module import Function
from torch import nn

import tenure


def compiled(model: nn.Module, *args, backend="null") -> tenure.Program:
    return tenure.compile(model, args, backend=backend, min_block_size=1)


def changing(m, x, y):
    x.mul_(2)
    y.add_(x)
    return x + y


def test_a_program_without_engines_sees_a_shared_input_change_as_eager_does():
    program = compiled(Function(changing), torch.ones(3), torch.ones(3), backend=())
    both = torch.ones(3)
    assert program(both, both).tolist() == [8, 8, 8]
    assert both.tolist() == [4, 4, 4]


def shared_twice() -> tuple[torch.Tensor, torch.Tensor]:
    tensor = torch.ones(3)
    return tensor, tensor


def shared_through_numpy() -> tuple[torch.Tensor, torch.Tensor]:
    array = np.ones(4, np.float32)
    return torch.from_numpy(array)[:3], torch.from_numpy(array)[1:]


@pytest.mark.parametrize("shared", [shared_twice, shared_through_numpy])
def test_a_functional_program_refuses_inputs_that_overlap_what_it_changes(shared):
    program = compiled(Function(changing), torch.ones(3), torch.ones(3))
    for _ in range(3):
        x, y = shared()
        with pytest.raises(tenure.Error, match="input args_0, which the program changes, shares memory with input args_1"):
            program(x, y)
        assert x.tolist() == y.tolist() == [1, 1, 1], "nothing is lost"
        assert program(torch.ones(3), torch.ones(3)).tolist() == [5, 5, 5]


@pytest.mark.parametrize("backend", [(), "null"])
def test_inputs_may_have_other_strides_than_the_sample(backend):
    model = Function(lambda m, x: (x.reshape(24), (torch.nonzero(x) * 2).flatten(), x.flatten().cos()))
    program = compiled(model, torch.randn(4, 6), backend=backend)
    for x in (torch.randn(6, 4).t(), torch.randn(4, 12)[:, ::2], torch.randn(4, 6), torch.randn(1, 6).expand(4, 6)):
        for _ in range(2):
            for got, want in zip(program(x), model(x), strict=True):
                assert torch.equal(got, want)


@pytest.mark.parametrize("backend", [(), "null"])
def test_autograd_knows_that_a_run_has_changed_what_it_keeps(backend):
    program = compiled(Function(lambda m, x: x.view(3).add_(1) * 2), torch.randn(3), backend=backend)
    for _ in range(3):
        kept = torch.randn(3)
        weight = torch.randn(3, requires_grad=True)
        loss = (kept * weight).sum()
        program(kept)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


def accumulating() -> nn.Module:
    def forward(m, x):
        m.total.add_(x)
        m.count.add_(1)
        return m.total * 1

    return Function(forward, total=torch.zeros(3), count=torch.zeros(()))


def test_state_takes_the_content_of_parameters_and_not_their_history():
    program = compiled(accumulating(), torch.ones(3))
    program.load_state_dict({"total": nn.Parameter(torch.full((3,), 5.0))})
    assert program(torch.ones(3)).tolist() == [6, 6, 6]
    assert program.state_dict()["total"].grad_fn is None
    assert not program.state_dict()["total"].requires_grad


def test_state_that_cannot_be_loaded_changes_nothing():
    program = compiled(accumulating(), torch.ones(3))
    with pytest.raises(tenure.Error, match=r"state total: expected a dense tensor on cpu, got .* meta"):
        program.load_state_dict({"count": torch.tensor(7.0), "total": torch.zeros(3, device="meta")})
    assert program.state_dict()["count"].item() == 0


def test_random_numbers_are_drawn_in_the_order_of_the_model():
    """The first draw waits for an engine that could run behind the second."""

    def forward(m, x):
        first = torch.bernoulli(x.sin().abs())
        second = torch.rand_like(x)
        return first, second, torch.randn_like((x * second).cos())

    model, x = Function(forward), torch.rand(16)
    program = compiled(model, x)
    for seed in range(4):
        torch.manual_seed(seed)
        got = program(x)
        torch.manual_seed(seed)
        assert all(map(torch.equal, got, model(x)))
