"""A module of one function, which most tests need."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


class Function(nn.Module):
    """forward(*args) is function(module, *args). `members` are its layers and, of tensors, its buffers."""

    def __init__(self, function: Callable, **members: nn.Module | torch.Tensor):
        super().__init__()
        self.function = function
        for name, member in members.items():
            if isinstance(member, torch.Tensor):
                self.register_buffer(name, member)
            else:
                setattr(self, name, member)

    def forward(self, *args):
        return self.function(self, *args)
