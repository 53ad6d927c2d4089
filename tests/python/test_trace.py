"""tenure.runtime.trace and `tenure trace`: what runs did and where the time went."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from torch import nn

import tenure


class Hybrid(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        return self.second(torch.sin(self.first(x)))


@pytest.fixture(scope="module")
def program():
    return compiled(backend="null")


def compiled(**options):
    batch = torch.export.Dim("batch", min=2, max=64)
    return tenure.compile(
        Hybrid(),
        (torch.randn(3, 8),),
        dynamic_shapes={"x": {0: batch}},
        torch_executed_ops={"aten.sin"},
        min_block_size=1,
        **options,
    )


def traced(program, runs=3):
    with tenure.runtime.trace(program) as trace:
        for _ in range(runs):
            program(torch.randn(3, 8))
    return trace


def test_a_trace_has_each_run_with_its_engines_and_operators(program):
    program(torch.randn(3, 8))
    spans = traced(program).spans
    assert [span.name for span in spans if span.kind == "run"] == ["replay"] * 3
    of_a_run = [(span.target, span.kind) for span in spans if span.run == spans[0].run and span.kind != "run"]
    assert of_a_run == [("engine_0", "engine"), ("aten::sin", "operator"), ("engine_1", "engine")]
    assert all(span.clock == "host" and span.duration_ns >= 0 for span in spans)


def test_only_runs_within_the_block_are_noted(program):
    trace = traced(program)
    program(torch.randn(3, 8))
    assert sum(span.kind == "run" for span in trace.spans) == 3


def test_the_table_has_a_row_a_node_and_the_shares_make_a_whole(program):
    trace = traced(program)
    assert {times.target for times in trace.times()} == {"engine_0", "aten::sin", "engine_1"}
    head, *rows = str(trace).splitlines()
    assert head.split()[:2] == ["node", "target"]
    assert sum(float(row.split()[-1].rstrip("%")) for row in rows) == pytest.approx(100, abs=0.2)


def test_the_saved_file_is_chromes_format(program, tmp_path):
    trace = traced(program)
    trace.save(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    spans = [event for event in events if event["ph"] == "X"]
    assert len(spans) == len(trace.spans)
    assert {event["cat"] for event in spans} == {"run", "operator", "engine"}
    assert {event["name"] for event in events if event["ph"] == "C"} == {"standing bytes", "leased bytes", "allocations"}


def test_openvino_tells_the_layers_of_engines_that_were_compiled_for_it():
    pytest.importorskip("openvino")
    timed = traced(compiled(backend="openvino", options={"PERF_COUNT": "YES"}))
    layers = [span for span in timed.spans if span.kind == "layer"]
    assert {layer.target for layer in layers} == {"engine_0", "engine_1"}
    assert any(layer.duration_ns > 0 for layer in layers)
    assert not [span for span in traced(compiled(backend="openvino")).spans if span.kind == "layer"]


def test_the_command_line_traces_a_file(program, tmp_path):
    program.save(tmp_path / "model.pt2")
    command = [sys.executable, "-m", "tenure", "trace", tmp_path / "model.pt2", "--out", tmp_path / "trace.json"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "sizes that the file leaves open" in refused.stderr
    symbol = program.inputs[0].sizes[0]
    done = subprocess.run([*command, "--size", f"{symbol}=4", "--runs", "5"], capture_output=True, text=True, check=True)
    assert {"engine_0", "engine_1", "aten::sin"} <= set(done.stdout.split())
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert sum(event.get("cat") == "run" for event in events) == 5


def test_what_is_no_program_is_refused():
    with pytest.raises(tenure.Error, match=r"trace takes a tenure\.Program"), tenure.runtime.trace(nn.Linear(2, 2)):
        pass
