"""Cases in processes of their own: one that dies or hangs is that case's outcome, and the run goes on."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import sys
import time
import warnings
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait

import torch
from op_cases import Subject, cases_of
from op_trial import Outcome, Route, Verdict, root_cause, try_case

CASE_SECONDS = 180.0
SUBJECTS_A_WORKER = 150  # torch keeps something of each export


@dataclass(frozen=True)
class Tried:
    """A case and its verdict."""

    subject: Subject
    case: str
    verdict: Verdict
    seconds: float = 0.0


@dataclass(frozen=True)
class _Work:
    """A subject, of which the first cases may be behind us."""

    subject: Subject
    route: Route
    first: int = 0


class _Worker:
    """A process that takes one subject at a time, and what it is at."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self.subjects_left = SUBJECTS_A_WORKER
        self.work: _Work | None = None
        self.case = ""
        self._case_number = 0
        self._since = time.monotonic()

    def give(self, work: _Work) -> None:
        self.subjects_left -= 1
        self.work, self.case, self._case_number = work, "", work.first - 1
        self._since = time.monotonic()
        with contextlib.suppress(ConnectionError):  # it died; reading from it will tell
            self.pipe.send(work)

    def take(self) -> Tried | None:
        """What it says next. Raises EOFError if it died."""
        message = self.pipe.recv()
        self._since = time.monotonic()
        if isinstance(message, Tried):
            self.case = ""
            return message
        if message is None:
            self.work = None
        else:
            self.case = message
            self._case_number += 1
        return None

    def is_late(self) -> bool:
        return time.monotonic() - self._since > CASE_SECONDS

    def rest(self) -> _Work | None:
        """The work without the cases that were begun; None if none was."""
        first = self._case_number + 1
        return replace(self.work, first=first) if first > self.work.first else None

    def stop(self, seconds: float = 0) -> int | None:
        """The exit status if it ends by itself within that time."""
        self._process.join(seconds)
        status = self._process.exitcode
        self.pipe.close()
        self._process.kill()
        self._process.join()
        return status


def try_all(subjects: list[Subject], jobs: int, route: Route) -> Iterator[Tried]:
    """The verdict of each case as it comes."""
    waiting = deque(_Work(subject, route) for subject in subjects)
    workers: list[_Worker] = []
    try:
        while waiting or workers:
            while waiting and len(workers) < jobs:
                workers.append(_Worker())
                workers[-1].give(waiting.popleft())
            speaking = wait([worker.pipe for worker in workers], timeout=1)
            for worker in [worker for worker in workers if worker.pipe in speaking or worker.is_late()]:
                try:
                    if worker.pipe not in speaking:
                        raise TimeoutError
                    if tried := worker.take():
                        yield tried
                except (EOFError, ConnectionError, TimeoutError) as error:
                    workers.remove(worker)
                    yield _crash(worker, late=isinstance(error, TimeoutError))
                    if rest := worker.rest():
                        waiting.appendleft(rest)
                    continue
                if worker.work is None:
                    if waiting and worker.subjects_left:
                        worker.give(waiting.popleft())
                    else:
                        workers.remove(worker)
                        worker.stop()
    finally:
        for worker in workers:
            worker.stop()


def _crash(worker: _Worker, late: bool) -> Tried:
    status = worker.stop(seconds=0 if late else 5)
    if late:
        reason = f"no verdict after {CASE_SECONDS:.0f} s"
    elif status is not None and status < 0:
        reason = f"died of signal {-status}"
    else:
        reason = f"ended with exit status {status}"
    return Tried(worker.work.subject, worker.case or f"{worker.work.subject}: its samples", Verdict(Outcome.CRASHED, reason))


def _serve(pipe: Connection) -> None:
    """The worker's side: of each case its name, then its verdict; None after each subject."""
    quieten()
    torch.set_num_threads(1)
    while True:
        try:
            work = pipe.recv()
        except EOFError:
            return
        try:
            for case in cases_of(work.subject):
                if case.number >= work.first:
                    pipe.send(str(case))
                    start = time.monotonic()
                    verdict = try_case(case, work.route)
                    pipe.send(Tried(case.subject, str(case), verdict, time.monotonic() - start))
        except Exception as error:  # of the samples or of eager PyTorch; Tenure's are verdicts
            pipe.send(Tried(work.subject, f"{work.subject}: its samples", Verdict(Outcome.CRASHED, root_cause(error))))
        pipe.send(None)


def quieten() -> None:
    """torch warns and logs a great deal about what it does not export; operators may print."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.dup2(null, sys.stderr.fileno())
    os.close(null)
