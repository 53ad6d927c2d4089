"""The progress bar of a compilation."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Step = Callable[[str, int, int], None]


@contextmanager
def progress_bar(shown: bool | None = None) -> Iterator[Step]:
    """A bar on stderr, for `step(what, done, total)`; by default only where that is a terminal. It is gone when the block ends."""
    if not (sys.stderr.isatty() if shown is None else shown):
        yield lambda what, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("compile", total=None)
        yield lambda what, done, total: progress.update(task, description=what, completed=done, total=total)
