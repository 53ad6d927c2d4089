"""Writes 200 tokens after each of two prompts with eager PyTorch, torch.compile and Tenure, and compares.

Prints one table: tokens a second, bytes allocated per token, how far the logits are from eager's. Writes no file. Exits with 1 and
a reason if Tenure's tokens are not eager's, or if Tenure allocated anything for a token.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from decoder import Decoder, Size, Step, decode
from rich.console import Console
from rich.table import Table

import tenure

PROMPTS = ([1, 2, 3, 4], [400, 7, 80])
COUNT = 200  # tokens after each prompt
EAGER = "PyTorch eager"
EXACT = "Tenure, no engines"  # PyTorch's own operators
console = Console(width=None if sys.stdout.isatty() else 120)


class DemoError(Exception):
    """The demo did not show what it is there to show; the text says why."""


@dataclass
class Way:
    """One way to run the decoder, with what was measured of it."""

    name: str
    step: Step
    clear: Callable[[], None]  # empties the cache, for the next prompt
    program: tenure.Program | None = None
    written: list[list[int]] = field(default_factory=list)  # for each prompt
    logits: list[torch.Tensor] = field(default_factory=list)  # for each prompt: [COUNT, vocabulary]
    speeds: list[float] = field(default_factory=list)  # tokens a second, for each round
    allocated: float = 0.0  # bytes for a token, as PyTorch's profiler counts them
    failure: str = ""

    def write(self) -> None:
        for prompt in PROMPTS:
            logits = []
            self.clear()
            self.written.append(decode(self.step, prompt, COUNT, lambda each, kept=logits: kept.append(each.clone())))
            self.logits.append(torch.stack(logits))

    def time(self) -> None:
        self.clear()
        start = time.perf_counter()
        decode(self.step, PROMPTS[0], COUNT)
        self.speeds.append((len(PROMPTS[0]) + COUNT - 1) / (time.perf_counter() - start))

    def count_allocations(self) -> None:
        positions = torch.arange(60).split(1)
        self.clear()
        before = self.step(torch.tensor([1]), positions[0])
        for position in positions[1:10]:
            before = self.step(before[0], position)
        token = before[0]
        with torch.autograd.profiler.profile(profile_memory=True) as profile:
            for position in positions[10:]:
                token, _ = self.step(token, position)
        events = profile.kineto_results.events()
        self.allocated = sum(max(0, event.nbytes()) for event in events if event.name() == "[memory]") / len(positions[10:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help=f"timed rounds of {COUNT} tokens for each way")
    options = parser.parse_args()
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # else the profiler complains of a machine without a GPU
    try:
        with torch.no_grad():
            demonstrate(options.rounds)
    except (DemoError, tenure.Error) as error:
        sys.exit(f"demo: {error}")


def demonstrate(rounds: int) -> None:
    say("torch.compile and Tenure compile")
    eager = Decoder().eval()
    ways = [
        Way(EAGER, eager, eager.clear),
        compiled_by_torch("inductor"),
        compiled_by_torch("openvino"),
        compiled_by_tenure(EXACT, []),
        compiled_by_tenure("Tenure, OpenVINO", "openvino"),
    ]
    able = [way for way in ways if not way.failure]
    say(f"Each writes {COUNT} tokens after each of {len(PROMPTS)} prompts, then {rounds} timed rounds")
    for way in able:
        way.write()
    for _ in range(rounds):
        for way in able:
            way.time()
    for way in able:
        way.count_allocations()
    console.print(comparison(ways))
    judge(ways[0], [way for way in ways if way.program is not None])


def say(text: str) -> None:
    console.print(f"[bold green]·[/] {text}")


def compiled_by_torch(backend: str) -> Way:
    torch._logging.set_logs(all=logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)
    model = Decoder().eval()
    way = Way(f'torch.compile(backend="{backend}")', model, model.clear)
    try:
        silent: list[str] = []
        if backend == "openvino":
            silent = silent_failures_of_openvino()
        way.step = torch.compile(model, backend=backend, options={"aot_autograd": True} if backend == "openvino" else None)
        way.step(torch.tensor([1]), torch.tensor([0]))
        way.failure = "".join(silent[:1])
    except Exception as error:  # whatever the peer's compiler raises belongs in the table, not in a traceback
        way.failure = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"
    return way


def silent_failures_of_openvino() -> list[str]:
    """A list that fills when its torch.compile backend gives up: it only tells the debug log, and goes on with inductor."""
    import openvino.torch  # noqa: F401  registers the backend

    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage()) if "Failed" in record.getMessage() else None
    logger = logging.getLogger("openvino.frontend.pytorch.torchdynamo.backend")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(handler)
    return messages


def compiled_by_tenure(name: str, backend: str | list[str]) -> Way:
    program = tenure.compile(Decoder().eval(), (torch.tensor([1]), torch.tensor([0])), backend=backend)
    return Way(name, program, program.reset_state, program)


def comparison(ways: list[Way]) -> Table:
    """One column a way, one row a measure."""
    eager = ways[0]
    size = Size()
    failures = "".join(f"\n{way.name}: {way.failure}" for way in ways if way.failure)
    table = Table(
        title=f"Greedy decoding, {size.layers} layers of width {size.width}, room for {size.context} tokens, "
        f"{torch.get_num_threads()} threads",
        caption="allocated: by PyTorch's allocator, as its profiler counts; OpenVINO's own is not seen; a dash: does not apply"
        + failures,
    )
    table.add_column("")
    for way in ways:
        table.add_column(way.name.replace("(", "\n(").replace(", ", ",\n"), justify="right")

    def row(label: str, cell: Callable[[Way], str]) -> None:
        table.add_row(label, *("n/a" if way.failure else cell(way) for way in ways))

    def of_program(cell: Callable[[tenure.program.Stats], int]) -> Callable[[Way], str]:
        return lambda way: "-" if way.program is None else f"{cell(way.program.stats()):,}"

    row("tokens a second, median", lambda way: f"{statistics.median(way.speeds):,.0f}")
    row("bytes allocated per token", lambda way: f"{way.allocated:,.0f}")
    row("tokens other than eager's", lambda way: "-" if way is eager else str(different(way, eager)))
    row("logits off eager, at most", lambda way: "-" if way is eager else f"{off(way, eager):.1e}")
    row("engine blocks", of_program(lambda stats: stats.engine_blocks))
    row("bytes standing", of_program(lambda stats: stats.standing_bytes))
    row("bytes leased", of_program(lambda stats: stats.leased_bytes))
    row("allocations, last token", of_program(lambda stats: stats.last_run_allocations))
    return table


def different(way: Way, eager: Way) -> int:
    return sum(a != b for got, want in zip(way.written, eager.written, strict=True) for a, b in zip(got, want, strict=True))


def off(way: Way, eager: Way) -> float:
    return max((got - want).abs().max().item() for got, want in zip(way.logits, eager.logits, strict=True))


def judge(eager: Way, ways: list[Way]) -> None:
    """Raises DemoError unless each way wrote eager's tokens and allocated nothing for a token."""
    if eager.written[0] == eager.written[1]:
        raise DemoError("the two prompts are continued alike, so that equal tokens would prove nothing")
    for way in ways:
        stats = way.program.stats()
        if count := different(way, eager):
            raise DemoError(f"{way.name}: {count} tokens are not eager PyTorch's")
        if way.allocated or stats.last_run_allocations or stats.fresh_bytes:
            raise DemoError(f"{way.name} allocated {way.allocated} bytes a token, {stats.fresh_bytes} of them fresh")
        if way.name == EXACT and off(way, eager):
            raise DemoError(f"{way.name}: the logits are not eager PyTorch's bit for bit")


if __name__ == "__main__":
    main()
