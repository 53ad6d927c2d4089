"""Threads that begin together and are waited for, whose errors are the test's."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def run_threads(count: int, work: Callable[[int], object]) -> None:
    """work(0) to work(count - 1), each in a thread; raises what the first of them raised, after all have ended."""
    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(work, which) for which in range(count)]
    for future in futures:
        future.result()
