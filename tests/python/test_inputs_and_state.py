"""What callers do with inputs and state: share their memory, lay it out otherwise, keep it for autograd, load parameters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from function_module import Function
from places import CUDA, NULL, TENSORRT, at, at_each
from torch import nn

import tenure


def compiled(model: nn.Module, *args, backend="null") -> tenure.Program:
    return tenure.compile(model, args, backend=backend, min_block_size=1)


on_each_device = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=at(CUDA).marks)])


def changing(m, x, y):
    x.mul_(2)
    y.add_(x)
    return x + y


@on_each_device
def test_a_program_without_engines_sees_a_shared_input_change_as_eager_does(device):
    program = compiled(Function(changing), torch.ones(3, device=device), torch.ones(3, device=device), backend=())
    both = torch.ones(3, device=device)
    assert program(both, both).tolist() == [8, 8, 8]
    assert both.tolist() == [4, 4, 4]


def shared_twice(device: str) -> tuple[torch.Tensor, torch.Tensor]:
    tensor = torch.ones(3, device=device)
    return tensor, tensor


def shared_in_part(device: str) -> tuple[torch.Tensor, torch.Tensor]:
    tensor = torch.ones(4, device=device)
    return tensor[:3], tensor[1:]


def shared_through_numpy(device: str) -> tuple[torch.Tensor, torch.Tensor]:
    array = np.ones(4, np.float32)
    return torch.from_numpy(array)[:3], torch.from_numpy(array)[1:]


SHARED = (shared_twice, shared_in_part)


@pytest.mark.parametrize(
    ("place", "shared"),
    # NumPy holds memory of the host only.
    [at(NULL, shared_twice), at(NULL, shared_through_numpy), *(at(place, each) for place in (CUDA, TENSORRT) for each in SHARED)],
)
def test_a_functional_program_refuses_inputs_that_overlap_what_it_changes(place, shared):
    def ones():
        return torch.ones(3, device=place.device)

    program = compiled(Function(changing), ones(), ones(), backend=place.backend)
    for _ in range(3):
        x, y = shared(place.device)
        with pytest.raises(tenure.Error, match="input args_0, which the program changes, shares memory with input args_1"):
            program(x, y)
        assert x.tolist() == y.tolist() == [1, 1, 1], "nothing is lost"
        assert program(ones(), ones()).tolist() == [5, 5, 5]


@on_each_device
@pytest.mark.parametrize("backend", [(), "null"])
def test_inputs_may_have_other_strides_than_the_sample(backend, device):
    model = Function(lambda m, x: (x.reshape(24), (torch.nonzero(x) * 2).flatten(), x.flatten().cos()))
    program = compiled(model, torch.randn(4, 6, device=device), backend=backend)
    numbers = torch.randn(48, device=device)
    for x in (numbers[:24].view(6, 4).t(), numbers.view(4, 12)[:, ::2], numbers[:24].view(4, 6), numbers[:6].expand(4, 6)):
        for _ in range(2):
            for got, want in zip(program(x), model(x), strict=True):
                assert torch.equal(got, want)


@on_each_device
@pytest.mark.parametrize("backend", [(), "null"])
def test_autograd_knows_that_a_run_has_changed_what_it_keeps(backend, device):
    program = compiled(Function(lambda m, x: x.view(3).add_(1) * 2), torch.randn(3, device=device), backend=backend)
    for _ in range(3):
        kept = torch.randn(3, device=device)
        weight = torch.randn(3, device=device, requires_grad=True)
        loss = (kept * weight).sum()
        program(kept)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


def accumulating(device: str = "cpu") -> nn.Module:
    def forward(m, x):
        m.total.add_(x)
        m.count.add_(1)
        return m.total * 1

    return Function(forward, total=torch.zeros(3), count=torch.zeros(())).to(device)


@at_each(NULL, CUDA, TENSORRT)
def test_state_takes_the_content_of_parameters_and_not_their_history(place):
    ones = torch.ones(3, device=place.device)
    program = compiled(accumulating(place.device), ones, backend=place.backend)
    program.load_state_dict({"total": nn.Parameter(5 * ones)})
    assert program(ones).tolist() == [6, 6, 6]
    assert program.state_dict()["total"].grad_fn is None
    assert not program.state_dict()["total"].requires_grad


@at_each(CUDA, TENSORRT)
def test_results_that_follow_from_state_stay_while_later_runs_change_it(place):
    ones = torch.ones(3, device=place.device)
    program = compiled(accumulating(place.device), ones, backend=place.backend)
    assert program.engines
    held = [program(ones) for _ in range(6)]
    program.reset_state()
    held += [program(ones) for _ in range(6)]
    assert [result[0].item() for result in held] == [1, 2, 3, 4, 5, 6] * 2
    assert program.state_dict()["total"].tolist() == [6, 6, 6]


@at_each(NULL, CUDA)
def test_state_that_cannot_be_loaded_changes_nothing(place):
    program = compiled(accumulating(place.device), torch.ones(3, device=place.device))
    with pytest.raises(tenure.Error, match=rf"state total: expected a dense tensor on {place.device}.*, got .* meta"):
        program.load_state_dict({"count": torch.tensor(7.0, device=place.device), "total": torch.zeros(3, device="meta")})
    assert program.state_dict()["count"].item() == 0


@on_each_device
def test_random_numbers_are_drawn_in_the_order_of_the_model(device):
    """The first draw waits for an engine that could run behind the second."""

    def forward(m, x):
        first = torch.bernoulli(x.sin().abs())
        second = torch.rand_like(x)
        return first, second, torch.randn_like((x * second).cos())

    model, x = Function(forward), torch.rand(16, device=device)
    program = compiled(model, x)
    for seed in range(4):
        torch.manual_seed(seed)
        got = program(x)
        torch.manual_seed(seed)
        assert all(map(torch.equal, got, model(x)))


def test_a_buffer_that_a_run_unsqueezes_has_another_dimension_in_the_next_as_in_eager(load_plain):
    def forward(m, x):
        places = m.seen.contiguous()  # the buffer itself
        places.unsqueeze_(0)
        return torch.where(places)[0] + x

    def model() -> nn.Module:
        model = Function(forward)
        model.register_buffer("seen", torch.ones(2, 3, dtype=torch.bool))
        return model

    program, eager, x = load_plain(model(), (torch.ones(()),)), model(), torch.ones(())
    for _ in range(4):
        assert torch.equal(program(x), eager(x))
