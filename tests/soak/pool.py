"""The processes of a soak: starts them, follows their programs, restarts one that crashed or hangs, reports."""

from __future__ import annotations

import argparse
import json
import os
import queue
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

SILENCE = 300  # seconds without a word from a worker that mean it hangs
BETWEEN_REPORTS = 15  # seconds
LAST_WORDS = 3000  # characters of a crashed worker's standard error that are shown
SCRIPT = Path(__file__).with_name("soak.py")


def main(words: Sequence[str]) -> int:
    """The command line. 0 if nothing failed."""
    arguments = arguments_of(words)
    if arguments.worker:
        from . import worker  # and with it torch, which only workers need

        return worker.run(arguments)
    return run(arguments)


def arguments_of(words: Sequence[str]) -> argparse.Namespace:
    """The command line, parsed."""
    parser = argparse.ArgumentParser(prog=SCRIPT.name, description="Random programs, compared with eager PyTorch bit for bit.")
    parser.add_argument("--programs", type=int, default=20_000, help="how many; 20,000 unless given")
    parser.add_argument(
        "--first", type=int, default=0, metavar="N", help="number of the first one; with --programs 1, just that one"
    )
    parser.add_argument("--seed", type=int, help="of all programs; a new one unless given, and printed")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes; as many as cores unless given")
    parser.add_argument("--check-ownership", action="store_true", help="check stale reads and writes in every program, not some")
    parser.add_argument("--no-shrink", action="store_true", help="print failures as they are, not the smallest that still fail")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--step", type=int, default=1, help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    if arguments.seed is None:
        arguments.seed = random.SystemRandom().randrange(2**32)
    arguments.end = arguments.first + arguments.programs
    arguments.jobs = max(1, min(arguments.jobs, arguments.programs))
    return arguments


def worker_command(arguments: argparse.Namespace, first: int) -> list[str]:
    """A process for the programs first, first + jobs, ..."""
    command = [sys.executable, str(SCRIPT), "--worker", f"--seed={arguments.seed}", f"--first={first}"]
    command += [f"--programs={arguments.end - first}", f"--step={arguments.jobs}"]
    return command + ["--check-ownership"] * arguments.check_ownership + ["--no-shrink"] * arguments.no_shrink


class Worker:
    """One process, and what it does now."""

    def __init__(self, arguments: argparse.Namespace, first: int, told: queue.Queue):
        self.arguments, self.told = arguments, told
        self.start(first)

    def start(self, first: int) -> None:
        """From this program on."""
        self.number: int | None = None  # of the program that it checks
        self.shrinking: dict[str, Any] | None = None  # the failure that it is making smaller
        self.errors: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115  # open as long as the process
        command = worker_command(self.arguments, first)
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.errors, text=True)
        self.heard = time.monotonic()
        threading.Thread(target=self._listen, args=(self.process,), daemon=True).start()

    def _listen(self, process: subprocess.Popen) -> None:
        for line in process.stdout:
            self.told.put((self, json.loads(line)))
        process.wait()
        self.told.put((self, None))

    def last_words(self) -> str:
        """The end of its standard error."""
        self.errors.seek(0)
        return self.errors.read()[-LAST_WORDS:]

    def stop_if_silent(self) -> None:
        """A hang becomes a crash."""
        if self.process.poll() is None and time.monotonic() - self.heard > SILENCE:
            self.process.kill()


def run(arguments: argparse.Namespace) -> int:
    """The whole soak. 0 if nothing failed."""
    return _Soak(arguments).run()


class _Soak:
    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        self.outcomes: Counter[str] = Counter()
        self.facts: Counter[str] = Counter()
        self.failed: list[int] = []
        self.began = self.reported = time.monotonic()

    def run(self) -> int:
        arguments = self.arguments
        what = f"{arguments.programs:,} programs from number {arguments.first}"
        print(f"soak: {what}, seed {arguments.seed}, {arguments.jobs} processes", flush=True)
        told: queue.Queue = queue.Queue()
        workers = [Worker(arguments, arguments.first + k, told) for k in range(arguments.jobs)]
        running = len(workers)
        try:
            while running:
                try:
                    worker, message = told.get(timeout=5)
                except queue.Empty:
                    pass
                else:
                    worker.heard = time.monotonic()
                    if message is None:
                        running -= not self.goes_on(worker)
                    else:
                        self.take(worker, message)
                for each in workers:
                    each.stop_if_silent()
                self.progress()
        except KeyboardInterrupt:
            print("soak: interrupted", flush=True)
        finally:
            for each in workers:
                each.process.kill()
        return self.summary()

    def take(self, worker: Worker, message: dict[str, Any]) -> None:
        if "begins" in message:
            worker.number, worker.shrinking = message["begins"], None
        elif "shrinks" in message:
            worker.shrinking = message
        else:
            worker.number = worker.shrinking = None
            self.outcomes[message["outcome"]] += 1
            self.facts.update({name: int(value) for name, value in message["facts"].items()})
            if message["outcome"] == "FAILED":
                self.report(message)

    def goes_on(self, worker: Worker) -> bool:
        """Whether a worker that ended was started again, behind the program at which it crashed."""
        code = worker.process.returncode
        if code == 0:
            return False
        if worker.number is None:
            self.report({"number": -1, "reason": f"a worker ended with {code} between programs\n{worker.last_words()}"})
            return False
        self.outcomes["FAILED"] += 1
        self.report(worker.shrinking or {"number": worker.number, "reason": f"a crash or a hang: {code}\n{worker.last_words()}"})
        following = worker.number + self.arguments.jobs
        if following >= self.arguments.end:
            return False
        worker.start(following)
        return True

    def report(self, message: dict[str, Any]) -> None:
        self.failed.append(message["number"])
        again = f"{SCRIPT.name} --seed {self.arguments.seed} --first {message['number']} --programs 1"
        again += " --check-ownership" if self.arguments.check_ownership else ""
        rule = "=" * 100
        text = f"FAILED: program {message['number']}; again: {again}\n{message['reason']}\n\n{message.get('text', '')}"
        print(f"\n{rule}\n{text}{rule}\n", flush=True)

    def progress(self) -> None:
        now = time.monotonic()
        if now - self.reported > BETWEEN_REPORTS:
            self.reported = now
            done = self.outcomes.total()
            speed = done / (now - self.began)
            print(f"soak: {done:,} programs, {len(self.failed)} failed, {speed:.1f} a second", flush=True)

    def summary(self) -> int:
        done, seconds = self.outcomes.total(), time.monotonic() - self.began
        numbers = f" {sorted(self.failed)}" if self.failed else ""
        print(f"\nsoak: {done:,} programs run in {seconds:.0f} s, seed {self.arguments.seed}; failed: {len(self.failed)}{numbers}")
        for name, count in [*self.outcomes.most_common(), *self.facts.most_common()]:
            print(f"  {count:>8,} {name}")
        return 1 if self.failed or done < self.arguments.programs else 0
