"""Custom operators, of which a schema tells less than of PyTorch's own: replays leave nothing of them out."""

from __future__ import annotations

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
