"""The processes of a soak: starts them, follows their programs, restarts one that crashed or hangs, reports."""

from __future__ import annotations

import argparse
import json
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import IO, Any

SILENCE = 300  # seconds without a word from a worker that mean it hangs
BETWEEN_REPORTS = 15  # seconds
WORDS_OF_A_CRASH = 3000  # characters of its standard error that are shown


class Worker:
    """One process, and what it was told to do."""

    def __init__(self, arguments: argparse.Namespace, first: int, told: queue.Queue):
        self.arguments, self.told = arguments, told
        self.number: int | None = None  # of the program that it checks now
        self.shrinking: dict[str, Any] | None = None  # a failure that it was making smaller
        self.start(first)

    def start(self, first: int) -> None:
        """From this program on."""
        self.errors: IO[str] = tempfile.TemporaryFile("w+")
        command = [sys.executable, str(Path(__file__).with_name("soak.py")), "--worker", f"--first={first}"]
        command += [f"--programs={self.arguments.first + self.arguments.programs}", f"--step={self.arguments.jobs}"]
        command += [f"--seed={self.arguments.seed}"]
        command += ["--check-ownership"] * self.arguments.check_ownership + ["--no-shrink"] * self.arguments.no_shrink
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.errors, text=True)
        self.heard = time.monotonic()
        threading.Thread(target=self._listen, args=(self.process,), daemon=True).start()

    def _listen(self, process: subprocess.Popen) -> None:
        for line in process.stdout:
            self.told.put((self, process, json.loads(line)))
        process.wait()
        self.told.put((self, process, None))

    def last_words(self) -> str:
        """The end of its standard error."""
        self.errors.seek(0)
        return self.errors.read()[-WORDS_OF_A_CRASH:]


def run(arguments: argparse.Namespace) -> int:
    """The whole soak. 0 if nothing failed."""
    jobs = arguments.jobs = max(1, min(arguments.jobs, arguments.programs))
    seed = f"seed {arguments.seed}"
    print(f"soak: {arguments.programs:,} programs from number {arguments.first}, {seed}, {jobs} processes", flush=True)
    told: queue.Queue = queue.Queue()
    workers = [Worker(arguments, arguments.first + k, told) for k in range(jobs)]
    outcomes: Counter[str] = Counter()
    facts: Counter[str] = Counter()
    failed: list[int] = []
    running = jobs
    began = reported = time.monotonic()
    try:
        while running:
            try:
                worker, process, message = told.get(timeout=5)
            except queue.Empty:
                worker = None
            now = time.monotonic()
            if worker is not None and process is worker.process:
                worker.heard = now
                if message is None:
                    running -= not _ended(worker, arguments, outcomes, failed)
                else:
                    _take(worker, message, arguments, outcomes, facts, failed)
            for each in workers:
                if each.process.poll() is None and now - each.heard > SILENCE:
                    each.process.kill()
            if now - reported > BETWEEN_REPORTS:
                reported = now
                done = sum(outcomes.values())
                print(f"soak: {done:,} programs, {len(failed)} failed, {done / (now - began):.1f} a second, {seed}", flush=True)
    finally:
        for each in workers:
            each.process.kill()
    done = sum(outcomes.values())
    print(
        f"\nsoak: {done:,} programs run in {time.monotonic() - began:.0f} s, {seed}; failed: {len(failed)} {sorted(failed) or ''}"
    )
    for name, count in [*outcomes.most_common(), *facts.most_common()]:
        print(f"  {count:>8,} {name}")
    return 1 if failed or done < arguments.programs else 0


def _take(
    worker: Worker, message: dict[str, Any], arguments: argparse.Namespace, outcomes: Counter, facts: Counter, failed: list[int]
) -> None:
    if "begins" in message:
        worker.number, worker.shrinking = message["begins"], None
    elif message.get("shrinks"):
        worker.shrinking = message
    else:
        worker.shrinking = None
        outcomes[message["outcome"]] += 1
        facts.update({name: int(value) for name, value in message["facts"].items()})
        if message["outcome"] == "FAILED":
            _report(message, arguments, failed)


def _ended(worker: Worker, arguments: argparse.Namespace, outcomes: Counter, failed: list[int]) -> bool:
    """Whether it was started again, since it did not end by itself."""
    code = worker.process.returncode
    if code == 0:
        return False
    number = worker.number
    if number is None:
        print(f"soak: a worker ended with {code} before its first program\n{worker.last_words()}", flush=True)
        failed.append(-1)
        return False
    message = worker.shrinking or {
        "number": number,
        "text": "(the process ended; run it alone)",
        "reason": f"a crash or a hang: {code}\n{worker.last_words()}",
    }
    outcomes["FAILED"] += 1
    _report(message, arguments, failed)
    following = number + arguments.jobs
    if following >= arguments.first + arguments.programs:
        return False
    worker.number = worker.shrinking = None
    worker.start(following)
    return True


def _report(message: dict[str, Any], arguments: argparse.Namespace, failed: list[int]) -> None:
    failed.append(message["number"])
    again = f"soak.py --seed {arguments.seed} --first {message['number']} --programs 1"
    again += " --check-ownership" if arguments.check_ownership else ""
    rule = "=" * 100
    print(
        f"\n{rule}\nFAILED: program {message['number']}; again: {again}\n{message['reason']}\n\n{message['text']}{rule}\n",
        flush=True,
    )
