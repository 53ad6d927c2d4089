"""explain() and the command line: what a program tells of its memory before it ever ran."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from torch import nn

import tenure


class Cached(nn.Module):
    """An engine between operators, and a buffer of which one row is written."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 8)
        self.register_buffer("rows", torch.zeros(3, 8))

    def forward(self, x):
        hidden = self.first(x).relu()
        self.rows[1] = x[0]
        waves = torch.sin(self.second(hidden))
        return waves[:, :4], hidden.sum(1), self.rows


@pytest.fixture(scope="module")
def cached_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("cached") / "cached.pt2"
    batch = torch.export.Dim("batch", min=2, max=64)
    program = tenure.compile(
        Cached(),
        (torch.randn(3, 8),),
        dynamic_shapes={"x": {0: batch}},
        backend="null",
        torch_executed_ops={"aten.sin"},
        min_block_size=1,
    )
    program.save(path)
    return path


@pytest.fixture
def cached(cached_file):
    return tenure.load(cached_file)


def command(*args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "tenure", *map(str, args)], capture_output=True, text=True, check=False)


def by_name(explanation) -> dict:
    return {value.value: value for value in explanation.values}


def symbol(program) -> str:
    return next(size for size in program.inputs[0].sizes if isinstance(size, str))


def test_a_size_that_is_given_makes_the_layout_known_without_a_run(cached):
    before = cached.explain()
    assert before.arena_bytes is None
    assert before.signature == ""
    known = cached.explain({symbol(cached): 5})
    standing = [value for value in known.values if value.ownership == "standing"]
    assert standing
    assert all(value.bytes is not None and value.arena_offset is not None for value in standing)
    assert known.arena_bytes >= max(value.arena_offset + value.bytes for value in standing)
    assert f"{symbol(cached)} = 5" in known.basis
    assert cached.stats().runs == 0


def test_a_run_shows_what_the_file_only_promised(cached):
    for _ in range(2):
        cached(torch.randn(5, 8))
    explanation = cached.explain()
    values = by_name(explanation)
    assert explanation.basis == "as observed for f32[5, 8]"
    assert explanation.arena_bytes <= cached.stats().standing_bytes
    first, second, state = (spec.name for spec in cached.outputs)
    assert values[first].where.startswith("view of")
    base = values[values[first].where.removeprefix("view of ")]
    assert base.ownership == "leased"
    assert base.slot is not None
    assert base.where == f"slot {base.slot}"
    assert base.reason == f"returned to the caller as output 0 through {first}"
    assert values[second].ownership == "leased"
    assert values[second].slot != base.slot
    assert "as a copy in a slot" in values[state].reason
    assert all(value.first_node <= value.last_node for value in explanation.values)


def test_the_json_holds_the_same_records(cached):
    cached(torch.randn(2, 8))
    explanation = cached.explain()
    told = json.loads(explanation.json())
    assert told["signature"] == explanation.signature
    assert told["arena_bytes"] == explanation.arena_bytes
    fields = ("value", "node", "target", "ownership", "bytes", "arena_offset", "slot", "where", "first_node", "last_node", "reason")
    assert told["values"] == [{name: getattr(value, name) for name in fields} for value in explanation.values]


def test_sizes_that_the_program_does_not_have_are_refused(cached):
    with pytest.raises(tenure.Error, match=f"no size named q; it has {symbol(cached)}"):
        cached.explain({"q": 5})
    with pytest.raises(tenure.Error, match="exported for 2 to 64"):
        cached.explain({symbol(cached): 65})


def test_inspect_prints_the_table_and_runs_nothing(cached_file, cached):
    done = command("inspect", cached_file, "--size", f"{symbol(cached)}=5")
    assert done.returncode == 0, done.stderr
    assert f"{symbol(cached)}, 8]" in done.stdout, "sizes in brackets are no markup"
    for word in ("engine_0", "null", "standing", "leased", "borrowed", "arena", "state of the session: rows"):
        assert word in done.stdout
    assert done.stderr == ""


def test_inspect_gives_json_and_nothing_else(cached_file):
    done = command("inspect", cached_file, "--json")
    assert done.returncode == 0, done.stderr
    assert {value["ownership"] for value in json.loads(done.stdout)["values"]} >= {"borrowed", "view", "leased"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["nowhere.pt2"], "nowhere.pt2"), (["FILE", "--size", "5"], "NAME=N"), (["FILE", "--size", "q=5"], "no size named q")],
)
def test_inspect_says_in_one_line_what_is_wrong(cached_file, arguments, message):
    done = command("inspect", *[cached_file if each == "FILE" else each for each in arguments])
    assert done.returncode == 1
    assert done.stderr.startswith("tenure: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_state_is_reset_read_and_loaded_by_the_buffers_name(cached):
    x = torch.randn(3, 8)
    assert list(cached.state_dict()) == ["rows"]
    cached(x)
    saved = cached.state_dict()
    assert torch.equal(saved["rows"][1], x[0])
    cached.reset_state()
    assert torch.equal(cached.state_dict()["rows"], torch.zeros(3, 8))
    cached.load_state_dict(saved)
    assert torch.equal(cached.state_dict()["rows"], saved["rows"])
    with pytest.raises(tenure.Error, match="no state named columns; it has rows"):
        cached.load_state_dict({"columns": torch.zeros(3, 8)})


def test_trim_gives_memory_back_and_results_stay(cached):
    for _ in range(2):
        kept = cached(torch.randn(4, 8))
    copies = [tensor.clone() for tensor in kept]
    assert cached.trim() > 0
    assert cached.stats().standing_bytes == 0
    cached(torch.randn(4, 8))
    assert all(torch.equal(a, b) for a, b in zip(kept, copies, strict=True))
    assert cached.stats().observing_runs == 1
