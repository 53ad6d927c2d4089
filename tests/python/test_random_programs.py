"""Random programs on random schedules do what eager PyTorch does, bit for bit; tests/soak runs the same by the thousand."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import hypothesis
import pytest
import torch
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from soak import faster_export, pool
from soak.building import build
from soak.cases import Build, Case, Input
from soak.check import DIFFERS, FAILED, PASSED, REFUSED, check
from soak.compare import EXACT
from soak.draws import Draws, draws_from_seed
from soak.generator import draw_case
from soak.maker import Refused
from soak.schedules import Drop, Run
from soak.worlds import Mismatch, Worlds

PROGRAMS = 500
SEED = 4


@st.composite
def cases(draw):
    try:
        return draw_case(Draws(lambda low, high: draw(st.integers(low, high))))
    except Refused:
        hypothesis.reject()


@pytest.fixture(scope="module", autouse=True)
def one_thread_and_a_faster_export():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with faster_export.installed():
        yield
    torch.set_num_threads(threads)


def test_random_programs_on_random_schedules_do_what_eager_pytorch_does(capsys):
    seen: Counter[str] = Counter()
    kinds: Counter[str] = Counter()

    @hypothesis.seed(SEED)
    @hypothesis.settings(
        max_examples=PROGRAMS,
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(cases())
    def every_one_does(case):
        verdict = check(case)
        hypothesis.assume(verdict.outcome != REFUSED)
        seen[verdict.outcome] += 1
        kinds.update({name: int(value) for name, value in verdict.facts.items()})
        assert verdict.outcome != FAILED, f"{verdict.reason}\n\n{case}"

    every_one_does()
    with capsys.disabled():
        print(f"\n{seen[PASSED] + seen[DIFFERS]} random programs, hypothesis seed {SEED}: {dict(seen + kinds)}")
    assert seen[PASSED] + seen[DIFFERS] >= PROGRAMS
    assert seen[DIFFERS] < PROGRAMS / 20, "as a rule eager PyTorch is the judge, not torch.export"
    assert all(count > PROGRAMS / 50 for count in kinds.values()), "every kind of program is among them"


def test_a_seed_and_a_number_name_one_program():
    drawn = [str(draw_case(draws_from_seed(f"7:{number}:0"))) for number in (1, 2, 1)]
    assert drawn[0] == drawn[2] != drawn[1]


SOURCE = """
class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(2))

    def forward(self, x):
        x.add_(1)
        self.count.add_(x)
        return x.view(-1), x * 2, self.count, x + x
"""
CASE = Case(
    source=SOURCE,
    inputs=(Input("x", torch.float32, (2,)),),
    signatures=({},),
    build=Build(plain=True),
    steps=(Run(0, 1, hold=((0, "numpy"), (1, "view"))), Run(0, 2, hold=((1, "tensor"),)), Drop(0), Run(0, 3)),
    writes_state=True,
    writes_inputs=True,
    data_dependent=False,
)


class Faulty:
    """A program with a fault, put on its results."""

    def __init__(self, program):
        self._program, self._runs, self._last = program, 0, None

    def __getattr__(self, name):
        return getattr(self._program, name)

    def __call__(self, x):
        self._runs += 1
        return self.spoil(x, *self._program(x))


class OverwritesAnEarlierResult(Faulty):
    def spoil(self, x, view, double, count, twice):
        if self._runs == 3:
            self._last.zero_()
        self._last = double
        return view, double, count, twice


class ReturnsACopyOfTheArgument(Faulty):
    def spoil(self, x, view, double, count, twice):
        return view.clone(), double, count, twice


class ReturnsOneMemoryTwice(Faulty):
    def spoil(self, x, view, double, count, twice):
        return view, double, count, double


class ChangesABit(Faulty):
    def spoil(self, x, view, double, count, twice):
        return view, double.nextafter(double + 1), count, twice


class ChangesTheStrides(Faulty):
    def spoil(self, x, view, double, count, twice):
        return view, double.repeat_interleave(2)[::2], count, twice


class ForgetsItsState(Faulty):
    def spoil(self, x, view, double, count, twice):
        if self._runs == 2:
            self._program.reset_state()
        return view, double, count, twice


class LeavesTheArgument(Faulty):
    def spoil(self, x, view, double, count, twice):
        x.sub_(1)
        return x.add(1), double, count, twice


class ReturnsItsStateItself(Faulty):
    def spoil(self, x, view, double, count, twice):
        self._last = count if self._last is None else self._last.copy_(count)
        return view, double, self._last, twice


class Allocates(Faulty):
    def stats(self):
        class Stats:
            last_run_allocations = 1

        return Stats()

    def spoil(self, x, *results):
        return results


FAULTS = {
    OverwritesAnEarlierResult: "held since",
    ReturnsACopyOfTheArgument: "shares memory with other arguments or results",
    ReturnsOneMemoryTwice: "shares memory with other arguments or results",
    ChangesABit: "result 1, the bits differ",
    ChangesTheStrides: "result 1, other strides",
    ForgetsItsState: "result 2, the bits differ",
    LeavesTheArgument: "argument 0 after the run",
    ReturnsItsStateItself: "held since",
    Allocates: "allocations in a steady run",
}


@pytest.mark.parametrize("faulty", FAULTS)
def test_the_check_finds(faulty):
    steps = (Run(0, 1, hold=((2, "tensor"),)), *CASE.steps) if faulty is ReturnsItsStateItself else CASE.steps
    case = Case(**{**vars(CASE), "steps": (*steps, Drop(None)) if faulty is Allocates else steps})
    Worlds(case, build(case).program, case.model, EXACT).run_all()
    with pytest.raises(Mismatch, match=FAULTS[faulty]):
        Worlds(case, faulty(build(case).program), case.model, EXACT).run_all()


def soak(*arguments):
    return subprocess.run([sys.executable, str(pool.SCRIPT), *arguments], capture_output=True, text=True, timeout=300)


def test_a_soak_tells_the_number_of_programs_and_the_seed():
    done = soak("--programs=4", "--seed=11", "--jobs=2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"4 programs run in \d+ s, seed 11; failed: 0", done.stdout)


def test_a_crash_is_a_failure_that_names_the_program_and_the_soak_goes_on(monkeypatch, capsys):
    script = """
import json, os, sys
for number in range(int(sys.argv[1]), 4):
    print(json.dumps({"begins": number}), flush=True)
    if number == 2:
        sys.stderr.write("last words")
        sys.stderr.flush()
        os.abort()
    print(json.dumps({"number": number, "outcome": "passed", "reason": "", "facts": {}}), flush=True)
"""
    monkeypatch.setattr(pool, "worker_command", lambda arguments, first: [sys.executable, "-c", script, str(first)])
    assert pool.run(pool.arguments_of(["--programs=4", "--seed=1", "--jobs=1"])) == 1
    told = capsys.readouterr().out
    assert "FAILED: program 2; again: soak.py --seed 1 --first 2 --programs 1" in told
    assert "last words" in told
    assert "4 programs run" in told
