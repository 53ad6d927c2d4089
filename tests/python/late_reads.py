"""A stream that reads a result late and lets go of it there, without record_stream."""

from __future__ import annotations

from collections.abc import Callable

import torch

A_LITTLE_WHILE = 20_000_000  # clock cycles of the GPU, some 10 ms


def read_late_elsewhere(make: Callable[[], torch.Tensor], stream: torch.cuda.Stream) -> torch.Tensor:
    """The copy of a result of the current stream, which the other one makes a little while later. Nobody waits for it."""
    result = make()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(A_LITTLE_WHILE)
        copy = result.clone()
        del result
    return copy
