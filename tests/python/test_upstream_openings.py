"""Where pre-allocated outputs elsewhere hand a caller memory that a later run overwrites, or lose what they know: not here.

Every run has an input of its own and every result is held to the end, so that an overwrite cannot hide. The null engine's answers
are PyTorch's bit for bit (no kernel here depends on strides); other engines' are close.
"""

from __future__ import annotations

import inspect
import json
import random
import subprocess
import sys
import threading
from collections.abc import Sequence

import pytest
import torch
from places import CUDA, NULL, OPENVINO, TENSORRT, Place, at_each
from run_threads import run_threads
from torch import nn
from torch.utils import _pytree as pytree

import tenure

at_each_place = at_each(NULL, OPENVINO, CUDA, TENSORRT)
at_null_places = at_each(NULL, CUDA)
BATCH = {"x": {0: torch.export.Dim("batch", min=1, max=64)}}


class Net(nn.Module):
    """forward(self, x) is the function given; `a`, `b` and `c` are layers from 8 to 8."""

    def __init__(self, forward):
        super().__init__()
        torch.manual_seed(0)
        self.function = forward
        self.a, self.b, self.c = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        return self.function(self, x)


def compiled(forward, place: Place, **options) -> tuple[nn.Module, tenure.Program]:
    """sin stays a PyTorch operator, whatever else the backend takes is in engines; the batch is 1 to 64."""
    model = Net(forward).eval().to(place.device)
    program = tenure.compile(
        model,
        (torch.randn(3, 8, device=place.device),),
        dynamic_shapes=BATCH,
        backend=place.backend,
        torch_executed_ops={"aten.sin"},
        min_block_size=1,
        **options,
    )
    assert program.engines
    return model, program


def inputs(place: Place, count: int, rows: int = 3, seed: int = 1) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(rows, 8, generator=generator).to(place.device) for _ in range(count)]


def assert_answers(place: Place, model: nn.Module, xs: Sequence[torch.Tensor], results: Sequence) -> None:
    for x, result in zip(xs, results, strict=True):
        with torch.no_grad():
            expected = pytree.tree_leaves(model(x))
        for got, want in zip(pytree.tree_leaves(result), expected, strict=True):
            torch.testing.assert_close(got, want, **place.tolerance)


def storages(result) -> list[int]:
    return [tensor.untyped_storage().data_ptr() for tensor in pytree.tree_leaves(result)]


def owner_of(program: tenure.Program, engine: str, output: int):
    """What explain() says of an engine's output; outputs are made in their bindings' order."""
    made = [value for value in program.explain().values if value.target == engine]
    assert len(made) == len(program.engines[engine].outputs)
    return made[output]


def three_heads(m, x):
    hidden = m.a(x).relu()
    return m.b(hidden), m.c(hidden).tanh(), hidden


@at_each_place
def test_several_outputs_of_one_engine_are_all_the_callers(place):
    model, program = compiled(three_heads, place)
    ((name, engine),) = program.engines.items()
    assert len(engine.outputs) == 3
    assert engine.are_output_tensors_unowned()
    xs = inputs(place, 8)
    results = [program(x) for x in xs]
    assert_answers(place, model, xs, results)
    held = [storage for result in results for storage in storages(result)]
    assert len(set(held)) == len(held), "each held result has memory of its own"
    assert {owner_of(program, name, output).ownership for output in range(3)} == {"leased"}


@at_each_place
@pytest.mark.parametrize("view", [lambda t: t[:, 1:], lambda t: t.t()[1:], lambda t: t[:, 2:].t().diagonal()])
def test_a_view_of_an_engine_output_that_a_pytorch_block_returns_is_the_callers(view, place):
    def forward(m, x):
        hidden = m.a(x).relu()
        return view(hidden), hidden.sin()

    model, program = compiled(forward, place)
    ((name, engine),) = program.engines.items()
    assert engine.are_output_tensors_unowned(), "the node that is returned is a view, but the memory is the engine's output"
    xs = inputs(place, 8)
    results = [program(x) for x in xs]
    assert_answers(place, model, xs, results)
    assert len({storages(result)[0] for result in results}) == len(results)
    owner = owner_of(program, name, 0)
    assert owner.ownership == "leased"
    made = [value.value for value in program.explain().values if value.node]
    last = made[-2]  # before the sine
    assert f"returned to the caller as output 0 through {last}" in owner.reason


def returned_and_kept(m, x):
    hidden = m.a(x).relu()
    returned, kept = m.b(hidden), m.c(hidden).tanh()
    return returned, m.a(kept.sin()).relu()


@at_each_place
def test_an_engine_with_a_returned_and_a_kept_output_leases_one_and_keeps_the_other(place):
    model, program = compiled(returned_and_kept, place)
    (name,) = (name for name, engine in program.engines.items() if len(engine.outputs) == 2)
    unowned = [program.engines[name].are_output_tensors_unowned(output=k) for k in range(2)]
    assert sorted(unowned) == [False, True]
    returned, kept = unowned.index(True), unowned.index(False)
    xs = inputs(place, 8)
    results = [program(x) for x in xs]
    assert_answers(place, model, xs, results)
    assert owner_of(program, name, returned).ownership == "leased"
    assert owner_of(program, name, kept).ownership == "standing"
    assert owner_of(program, name, kept).where == place.arena
    assert "last used by sin" in owner_of(program, name, kept).reason
    standing = program.stats().standing_bytes
    program(xs[0])
    assert program.stats().standing_bytes == standing, "the kept output's memory serves every run"


@at_each_place
@pytest.mark.parametrize("forward", [three_heads, returned_and_kept])
def test_no_later_run_shows_in_a_result_whatever_is_held_and_dropped(forward, place):
    model, program = compiled(forward, place)
    choose = random.Random(5)
    held: list[tuple[torch.Tensor, object]] = []
    for step in range(150):
        x = inputs(place, 1, rows=choose.choice((1, 3, 7)), seed=step)[0]
        held.append((x, program(x)))
        while len(held) > 12 or (held and choose.random() < 0.4):
            x, result = held.pop(choose.randrange(len(held)))
            assert_answers(place, model, [x], [result])
    assert held
    assert_answers(place, model, *zip(*held, strict=True))


@at_each_place
@pytest.mark.parametrize("max_frames", [4, 2])
def test_concurrent_callers_never_read_one_anothers_buffers(place, max_frames):
    """The PyTorch block behind the first engine reads its output while other callers run that engine."""

    def forward(m, x):
        hidden = m.a(x).relu()
        waves = hidden.sin()
        for _ in range(5):
            waves = waves.sin()
        return m.b(waves).tanh(), hidden[:, 1:]

    model, program = compiled(forward, place, session_options={"max_frames": max_frames})
    callers, runs = 4, 60
    xs = [inputs(place, runs, rows=64, seed=caller) for caller in range(callers)]
    together = threading.Barrier(callers)

    def call(caller, results):
        for step, x in enumerate(xs[caller]):
            if step % 10 == 0:
                together.wait(timeout=60)
            results.append(program(x))

    for _ in range(20):  # as a rule the first time does it
        results = [[] for _ in range(callers)]
        run_threads(callers, lambda caller, results=results: call(caller, results[caller]))
        for caller in range(callers):
            assert_answers(place, model, xs[caller], results[caller])
        if program.stats().frames > 1:
            break
    assert 1 < program.stats().frames <= max_frames


@at_each_place
def test_alternating_shapes_allocate_nothing_after_the_first_run_of_each(place):
    model, program = compiled(returned_and_kept, place)
    shapes = (3, 17, 5)
    for rows in shapes:
        program(*inputs(place, 1, rows))
    for rows in shapes:  # the first replay of each takes the memory that its plan wants
        program(*inputs(place, 1, rows))
        assert program.stats().last_run_allocations == 0
    before = program.stats()
    addresses = set()
    for step in range(30):
        (x,) = inputs(place, 1, shapes[step % 3], seed=step)
        result = program(x)
        assert_answers(place, model, [x], [result])
        addresses.update(storages(result))
        del result
        now = program.stats()
        assert (now.last_run_allocations, now.fresh_bytes) == (0, 0)
        assert (now.standing_bytes, now.leased_bytes, now.slots) == (before.standing_bytes, before.leased_bytes, before.slots)
    assert program.stats().observing_runs == len(shapes)
    assert len(addresses) == before.slots, "one slot an output serves all shapes"


@at_each_place
def test_held_results_of_alternating_shapes_keep_their_values(place):
    model, program = compiled(returned_and_kept, place)
    xs = [inputs(place, 1, (2, 33)[step % 2], seed=step)[0] for step in range(20)]
    results = [program(x) for x in xs]
    assert_answers(place, model, xs, results)


def owners(program):
    flags = {
        name: [engine.are_output_tensors_unowned(output=k) for k in range(len(engine.outputs))]
        for name, engine in program.engines.items()
    }
    return [flags, [[value.value, value.ownership, value.where, value.reason] for value in program.explain().values]]


@at_each_place
def test_a_file_keeps_who_owns_each_engine_output_also_for_a_fresh_process(place, tmp_path):
    model, program = compiled(returned_and_kept, place)
    path = tmp_path / "model.pt2"
    program.save(path)
    expected = owners(program)
    assert sorted(flag for outputs in expected[0].values() for flag in outputs) == [False, True, True]
    loaded = tenure.load(path)
    assert owners(loaded) == expected
    script = f"{inspect.getsource(owners)}\nimport json, sys, tenure\nprint(json.dumps(owners(tenure.load(sys.argv[1]))))"
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == expected
    xs = inputs(place, 6)
    results = [loaded(x) for x in xs]
    assert_answers(place, model, xs, results)


def drops(program, xs):
    for x in xs:
        program(x)


def keeps_the_last(program, xs):
    result = None
    for x in xs:
        result = program(x)
    return result


def keeps_everything(program, xs):
    return [program(x) for x in xs]


@at_null_places
@pytest.mark.parametrize(
    ("caller", "held", "most"),
    [(drops, 0, 1), (keeps_the_last, 1, 2), (keeps_everything, 19, 20)],  # the observing run's result has no slot
)
def test_the_footprint_of_allocate_ahead_is_bounded_and_counted(place, caller, held, most):
    rows, outputs = 16, 3
    _, program = compiled(three_heads, place)
    results = caller(program, inputs(place, 20, rows))
    stats = program.stats()
    each = rows * 8 * 4
    assert stats.held_slots == outputs * held
    assert outputs * max(held, 1) <= stats.slots <= outputs * most, "at most one slot ahead of what the caller holds"
    assert stats.slots * each <= stats.leased_bytes <= stats.slots * (each + 64)
    del results
    assert program.stats().held_slots == 0


@at_null_places
def test_slots_that_came_back_serve_the_next_results(place):
    _, program = compiled(three_heads, place)
    keeps_everything(program, inputs(place, 20))
    before = program.stats()
    keeps_everything(program, inputs(place, 19))
    assert (program.stats().slots, program.stats().leased_bytes) == (before.slots, before.leased_bytes)


@at_null_places
def test_a_caller_that_keeps_everything_pins_no_more_than_max_output_slots(place):
    model, program = compiled(three_heads, place, session_options={"max_output_slots": 4})
    xs = inputs(place, 20)
    results = [program(x) for x in xs]
    stats = program.stats()
    assert stats.slots == stats.held_slots == 3 * 4
    assert stats.last_run_allocations == 3, "further results are plain allocations, and are counted"
    assert stats.fresh_bytes >= 3 * xs[0].nbytes
    assert_answers(place, model, xs, results)
    del results
    drops(program, xs[:2])
    assert program.stats().last_run_allocations == 0


def positive_rows(m, x):
    hidden = m.a(x).relu()
    return hidden[torch.nonzero(hidden.sum(1) > 3).squeeze(1)]


# The function, and the copies that its operators make themselves.
DATA_DEPENDENT = {
    "nonzero": (lambda m, x: torch.nonzero(m.a(x).relu()), 0),
    "masked_select": (lambda m, x: torch.masked_select(m.a(x), x > 0), 1),
    "rows picked by nonzero": (positive_rows, 0),
    "a view of nonzero": (lambda m, x: torch.nonzero(m.a(x).relu()).t(), 0),
}


def profiled(program, x) -> tuple[int, int, int]:
    """Allocations, copies and clones of one run, as PyTorch's own profiler sees them."""
    with torch.autograd.profiler.profile(profile_memory=True) as profile:
        program(x)
    events = profile.kineto_results.events()
    names = [event.name() for event in events]
    allocations = sum(event.name() == "[memory]" and event.nbytes() > 0 for event in events)
    return allocations, names.count("aten::copy_"), names.count("aten::clone")


@at_each(CUDA)
@pytest.mark.parametrize("name", DATA_DEPENDENT)
def test_a_data_dependent_result_on_a_device_stays_whatever_runs_later(name, place):
    model, program = compiled(DATA_DEPENDENT[name][0], place)
    xs = inputs(place, 30, rows=11)
    assert_answers(place, model, xs, [program(x) for x in xs])


@at_each(NULL, OPENVINO)  # on CUDA the kernels of nonzero and its kind themselves allocate and copy
@pytest.mark.parametrize("name", DATA_DEPENDENT)
def test_a_data_dependent_output_is_returned_without_a_clone(name, place, monkeypatch):
    monkeypatch.setenv("KINETO_LOG_LEVEL", "5")
    forward, own_copies = DATA_DEPENDENT[name]
    model, program = compiled(forward, place)
    xs = inputs(place, 30, rows=11)
    results = [program(x) for x in xs]
    assert len({result.numel() for result in results}) > 3, "the sizes do depend on data"
    assert program.stats().held_slots >= len(xs) - 1, "the results lie in slots"
    assert_answers(place, model, xs, results)
    del results
    for x in xs:
        program(x)
    for x in xs[:5]:
        allocations, copies, clones = profiled(program, x)
        assert (allocations, clones, program.stats().last_run_allocations) == (0, 0, 0)
        assert copies == own_copies or place.backend == "null", "the null engine copies into its outputs"
    assert program.stats().deviations == 0
