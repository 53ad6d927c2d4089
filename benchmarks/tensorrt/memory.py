"""How much device memory somebody takes: through PyTorch's allocator, and beside it (what TensorRT asks the driver for itself)."""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch


def beside_pytorch() -> int:
    """Bytes in use on the device that PyTorch's allocator does not have: CUDA's, TensorRT's. No other process may use it."""
    gc.collect()
    torch.cuda.synchronize()
    free, total = torch.cuda.mem_get_info()
    return total - free - torch.cuda.memory_reserved()


def in_graph_pools() -> int:
    """Bytes that captured CUDA graphs keep: their tensors are freed after the capture, but nobody else gets that memory."""
    segments = torch.cuda.memory_snapshot()
    return sum(
        each["total_size"] - each["allocated_size"] for each in segments if tuple(each.get("segment_pool_id", (0, 0))) != (0, 0)
    )


def measured(enter: Callable, x: torch.Tensor, warm_up: int, runs: int) -> dict[str, int]:
    """`enter()` is a context that gives what to call, and that has not run yet: what it keeps between its runs counts as well.

    peak_bytes: the most that PyTorch's allocator had given out in a steady run, over what it had before the first one.
    first_run_bytes_beside: what the first runs took beside that allocator.
    """
    beside, pools = beside_pytorch(), in_graph_pools()
    before = torch.cuda.memory_allocated()
    with enter() as run:
        for _ in range(warm_up):
            run(x)
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        for _ in range(runs):
            run(x)
        torch.cuda.synchronize()
        peak = torch.cuda.max_memory_allocated() - before + in_graph_pools() - pools
        return {"peak_bytes": peak, "first_run_bytes_beside": beside_pytorch() - beside}
