"""Custom operators, of which a schema tells less than of PyTorch's own: replays leave nothing of them out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import tenure

library = torch.library.Library("tenure_custom", "DEF")
library.define("tick(Tensor(a) x) -> Tensor(a)")
library.define("window(Tensor(a) x, Tensor start, int length) -> Tensor(a)")
ticks = []


def tick(x: torch.Tensor) -> torch.Tensor:
    ticks.append(len(ticks))
    return x.view(x.shape)


def window(x: torch.Tensor, start: torch.Tensor, length: int) -> torch.Tensor:
    return x[int(start) : int(start) + length]


library.impl("tick", tick, "CPU")
library.impl("window", window, "CPU")
torch.library.register_fake("tenure_custom::tick", lambda x: x.view(x.shape), lib=library)
torch.library.register_fake("tenure_custom::window", lambda x, start, length: x[:length], lib=library)


def plain(model: nn.Module, *args: torch.Tensor, path) -> tenure.Program:
    torch.export.save(torch.export.export(model, args), path)
    return tenure.load(path)


class Ticking(nn.Module):
    def forward(self, x):
        return torch.ops.tenure_custom.tick(x * 2) + 1


class Windowed(nn.Module):
    def forward(self, x, start):
        return torch.ops.tenure_custom.window(x * 2, start * 1, 3) + 1


def test_an_operator_with_a_side_effect_is_called_in_every_run_even_if_its_result_is_a_view(tmp_path):
    program = plain(Ticking(), torch.randn(4), path=tmp_path / "m.pt2")
    before = len(ticks)
    for _ in range(5):
        program(torch.randn(4))
    assert len(ticks) == before + 5


def test_a_view_whose_place_depends_on_another_tensors_content_moves_with_it(tmp_path):
    program = plain(Windowed(), torch.arange(8.0), torch.tensor(0), path=tmp_path / "m.pt2")
    x = torch.arange(8.0)
    for start in (0, 3, 1, 5, 0, 2):
        assert torch.equal(program(x, torch.tensor(start)), x[start : start + 3] * 2 + 1)
    assert program.stats().replays > 0
    assert program.stats().deviations == 0


@torch.library.custom_op("tenure_custom::add_to", mutates_args=("x",))
def add_to(x: torch.Tensor, y: torch.Tensor) -> None:
    x.add_(y)


class Mutating(nn.Module):
    """A custom operator writes into a value, a view of it, a buffer and an input, with readers before and after."""

    def __init__(self):
        super().__init__()
        self.register_buffer("total", torch.zeros(3))

    def forward(self, x, y):
        z = x.cos()
        before = z * 3
        add_to(z, y)
        add_to(self.total, y)
        add_to(z[1:], y[1:])
        result = z.sin() + before
        add_to(x, result)
        return result.tanh(), x * 2


@pytest.mark.parametrize("backend", [[], "null"])
def test_a_custom_operator_that_writes_into_its_argument_compiles_and_its_readers_see_what_they_should(backend):
    model, program = Mutating(), tenure.compile(Mutating(), (torch.randn(3), torch.randn(3)), backend=backend, min_block_size=1)
    held = []
    for _ in range(5):
        x, y = torch.randn(3), torch.randn(3)
        mine = x.clone()
        held.append((program(mine, y), model(x, y)))
        assert torch.equal(mine, x)
        assert torch.equal(program.state_dict()["total"], model.total)
    assert all(torch.equal(a, b) for got, wanted in held for a, b in zip(got, wanted, strict=True))
    assert program.stats().deviations == 0


raised: list[BaseException] = []
library.define("raise_it(Tensor x) -> Tensor")
torch.library.register_fake("tenure_custom::raise_it", torch.empty_like, lib=library)


def raise_it(x: torch.Tensor) -> torch.Tensor:
    if raised:
        raise raised[0]
    return x * 2


library.impl("raise_it", raise_it, "CPU")


class Raising(nn.Module):
    def forward(self, x):
        return torch.ops.tenure_custom.raise_it(x)


def test_what_a_python_operator_raises_is_the_cause_and_an_interrupt_stays_one(tmp_path):
    program = plain(Raising(), torch.ones(3), path=tmp_path / "m.pt2")
    try:
        for _ in range(3):
            raised[:] = [ValueError("out of cheese")]
            with pytest.raises(tenure.Error, match="out of cheese") as caught:
                program(torch.ones(3))
            assert caught.value.__cause__ is raised[0]
            raised[:] = [KeyboardInterrupt()]
            with pytest.raises(KeyboardInterrupt):
                program(torch.ones(3))
            raised.clear()
            assert torch.equal(program(torch.ones(3)), torch.full((3,), 2.0))
    finally:
        raised.clear()
