"""Compile, save, load, call; and what a program tells of itself."""

from __future__ import annotations

import dataclasses
import io
import os
import stat
import threading

import pytest
import torch
from rich.console import Console
from torch import nn

import tenure


class Scaled(nn.Module):
    def forward(self, x, y, *, scale, extra):
        return x * scale + y - extra["a"] * extra["b"][0]


@pytest.fixture
def scaled(load_plain):
    args = tuple(torch.randn(3) for _ in range(2))
    kwargs = {"scale": torch.randn(3), "extra": {"a": torch.randn(3), "b": [torch.randn(3)]}}
    return load_plain(Scaled(), args, kwargs=kwargs), args, kwargs


def test_keyword_arguments_come_in_any_order(scaled):
    program, args, kwargs = scaled
    expected = Scaled()(*args, **kwargs)
    assert torch.equal(program(*args, **kwargs), expected)
    assert torch.equal(program(*args, **dict(reversed(kwargs.items()))), expected)
    backwards = kwargs["extra"] | {}
    backwards = {"b": backwards["b"], "a": backwards["a"]}
    assert torch.equal(program(*args, extra=backwards, scale=kwargs["scale"]), expected)


def test_positional_arguments_may_be_named(scaled):
    program, (x, y), kwargs = scaled
    expected = Scaled()(x, y, **kwargs)
    assert torch.equal(program(x, y=y, **kwargs), expected)
    assert torch.equal(program(y=y, x=x, **kwargs), expected)


def test_run_takes_and_gives_flat_lists(scaled):
    program, args, kwargs = scaled
    flat = [*args, kwargs["scale"], kwargs["extra"]["a"], kwargs["extra"]["b"][0]]
    outputs = program.run(flat)
    assert isinstance(outputs, list)
    assert torch.equal(outputs[0], Scaled()(*args, **kwargs))
    assert torch.equal(program.run(tuple(flat))[0], outputs[0])


@pytest.mark.parametrize(
    "call",
    [
        lambda program, x: program(x, x),
        lambda program, x: program(x, x, scale=x),
        lambda program, x: program(x, x, x, scale=x, extra={"a": x, "b": [x]}),
        lambda program, x: program(x, x, scale=x, extra={"a": x, "c": [x]}),
        lambda program, x: program(x, x, scale=x, extra={"a": x, "b": [x, x]}),
        lambda program, x: program(x, x, scale=x, extra={"a": x, "b": x}),
        lambda program, x: program(x, x, scale=x, extra={"a": x, "b": [x]}, other=x),
    ],
)
def test_a_wrong_structure_shows_the_expected_and_the_given_one(scaled, call):
    program, args, kwargs = scaled
    with pytest.raises(tenure.Error) as caught:
        call(program, torch.randn(3))
    assert caught.value.code == "invalid argument"
    text = str(caught.value)
    assert "expected: program(x: float32[3], y: float32[3], scale=" in text
    assert "extra={'a': " in text
    assert "given:    program(float32[3], float32[3]" in text
    assert torch.equal(program(*args, **kwargs), Scaled()(*args, **kwargs))


def test_numbers_none_and_strings_pass_as_the_export_fixed_them(load_plain):
    class Model(nn.Module):
        def forward(self, x, count, mode, nothing=None):
            return x * count if mode == "times" else x + count

    program = load_plain(Model(), (torch.ones(2), 3, "times"), kwargs={"nothing": None})
    assert torch.equal(program(torch.ones(2), 3, "times", nothing=None), torch.full((2,), 3.0))
    for wrong in ((4, "times", None), (3, "plus", None), (3, "times", 1)):
        with pytest.raises(tenure.Error) as caught:
            program(torch.ones(2), wrong[0], wrong[1], nothing=wrong[2])
        assert caught.value.code == "invalid argument"


def test_the_report_tells_what_became_of_each_part(hybrid_model):
    program = tenure.compile(hybrid_model, (torch.randn(2, 8),), torch_executed_ops={"aten.sin"}, min_block_size=5)
    lines = str(program.report).splitlines()
    assert lines[0] == "openvino: 5 operators: engine_0"
    assert "openvino: aten.sin.default: torch_executed_ops names it" in lines


def test_a_compiled_program_and_its_loaded_copy_agree_bit_for_bit(hybrid_model, tmp_path):
    x = torch.randn(3, 8)
    program = tenure.compile(hybrid_model, (x,), torch_executed_ops={"aten.sin"}, min_block_size=2)
    assert program.stats().engine_blocks == 2
    program.save(tmp_path / "model.pt2")
    loaded = tenure.load(tmp_path / "model.pt2")
    assert loaded.path == str(tmp_path / "model.pt2")
    assert program.path is None
    for name, expected in program(x).items():
        assert torch.equal(loaded(x)[name], expected)


def test_a_compiled_program_reports_what_became_an_engine_and_why_the_rest_did_not(hybrid_model, hybrid):
    program = tenure.compile(hybrid_model, (torch.randn(3, 8),), torch_executed_ops={"aten.sin"}, min_block_size=2)
    assert [part.engine for part in program.report.parts if part.engine] == sorted(program.engines)
    assert "torch_executed_ops" in str(program.report.refused)
    assert hybrid.report is None, "a file does not keep the report"


def test_a_saved_program_opens_with_torch_export(hybrid_file):
    exported = torch.export.load(hybrid_file)
    targets = [str(node.target) for node in exported.graph.nodes]
    assert targets.count("tenure.call_engine.default") == 2


def test_a_loaded_program_saves_again_even_if_its_file_is_gone(hybrid_file, tmp_path):
    first, second = tmp_path / "first.pt2", tmp_path / "second.pt2"
    first.write_bytes(hybrid_file.read_bytes())
    program = tenure.load(first)
    first.unlink()
    program.save(second)
    assert second.read_bytes() == hybrid_file.read_bytes()
    tenure.load(second)


@pytest.mark.parametrize("engine_cache", [True, False])
def test_loading_writes_nothing_beside_a_file_whose_engines_compile_nothing_here(hybrid_file, tmp_path, engine_cache):
    path = tmp_path / "model.pt2"
    path.write_bytes(hybrid_file.read_bytes())
    tenure.load(path, engine_cache=engine_cache)
    assert list(tmp_path.iterdir()) == [path]


def test_saving_over_the_programs_own_file_keeps_it_whole(hybrid_file, tmp_path):
    path = tmp_path / "model.pt2"
    path.write_bytes(hybrid_file.read_bytes())
    program = tenure.load(path)
    program.save(path)
    program.save(path)
    assert path.read_bytes() == hybrid_file.read_bytes()


def test_a_saved_file_has_the_permissions_of_any_new_file(hybrid, tmp_path):
    hybrid.save(tmp_path / "model.pt2")
    (tmp_path / "other").write_bytes(b"")
    assert stat.S_IMODE((tmp_path / "model.pt2").stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)


def test_saving_through_a_symbolic_link_replaces_what_it_points_at(hybrid, tmp_path):
    (tmp_path / "target.pt2").write_bytes(b"old")
    (tmp_path / "link.pt2").symlink_to(tmp_path / "target.pt2")
    hybrid.save(tmp_path / "link.pt2")
    assert (tmp_path / "link.pt2").is_symlink()
    tenure.load(tmp_path / "target.pt2")


def test_stats_count_runs_and_blocks(hybrid):
    before = hybrid.stats()
    assert (before.runs, before.engine_blocks) == (0, 2)
    assert before.aten_blocks >= 1
    for _ in range(3):
        hybrid(torch.randn(2, 8))
    hybrid(torch.randn(3, 8))
    stats = hybrid.stats()
    assert stats.runs == 4
    assert stats.observing_runs == 2
    assert stats.replays == 2
    assert stats.deviations == 0
    assert stats.plans == 2
    assert stats.standing_bytes > 0
    assert stats.leased_bytes > 0


def test_stats_show_which_slots_are_held(hybrid):
    x = torch.randn(2, 8)
    for _ in range(3):
        hybrid(x)
    assert hybrid.stats().held_slots == 0
    result = hybrid(x)
    assert hybrid.stats().held_slots > 0
    del result
    assert hybrid.stats().held_slots == 0


def test_a_steady_run_asks_the_ordinary_allocator_for_nothing(hybrid):
    x = torch.randn(2, 8)
    for _ in range(3):
        hybrid(x)
    assert hybrid.stats().last_run_allocations == 0


def test_stats_print_one_counter_a_line_and_convert_to_a_dict(hybrid):
    hybrid(torch.randn(2, 8))
    stats = hybrid.stats()
    assert stats["runs"] == 1
    assert dict(stats) == dataclasses.asdict(stats)
    assert len(str(stats).splitlines()) == len(dict(stats))
    assert any(line.split() == ["engine_blocks", "2"] for line in str(stats).splitlines())
    with pytest.raises(KeyError):
        stats["no such counter"]


def test_explain_gives_each_value_an_owner_with_a_reason(hybrid):
    before = hybrid.explain()
    assert before.signature == ""
    hybrid(torch.randn(2, 8))
    after = hybrid.explain()
    assert after.signature == "f32[2, 8]"
    owners = {value.value: value for value in after.values}
    assert (owners["x"].ownership, owners["x"].where, owners["x"].bytes) == ("borrowed", "caller", 2 * 8 * 4)
    assert {"borrowed", "view", "standing", "leased"} <= {value.ownership for value in after.values}
    assert all(value.reason for value in after.values)
    assert all(value.bytes is None for value in after.values if value.ownership == "view")
    sine = next(value for value in after.values if value.target == "aten::sin")
    assert sine.ownership == "standing"
    assert sine.bytes == 2 * 8 * 4
    assert sine.first_node <= sine.last_node
    assert len(before.values) == len(after.values)


def test_explain_prints_a_table_with_a_line_for_each_value(hybrid):
    hybrid(torch.randn(2, 8))
    explanation = hybrid.explain()
    lines = str(explanation).splitlines()
    for value in explanation.values:
        assert any(value.value in line and value.ownership in line for line in lines), value
    console = Console(file=io.StringIO(), width=200, force_terminal=True)
    console.print(explanation)
    text = console.file.getvalue()
    assert all(value.value in text for value in explanation.values)
    assert "f32[2, 8]" in text


def test_engines_tell_their_bindings(hybrid):
    assert len(hybrid.engines) == 2
    for name, engine in hybrid.engines.items():
        assert engine.name == name
        assert engine.backend == "openvino"
        assert engine.inputs[0]["dtype"] is torch.float32
        assert engine.inputs[0]["sizes"][1] == 8
        assert isinstance(engine.inputs[0]["sizes"][0], str), "a dynamic size is an expression"


def test_ownership_switches_of_engines_act_on_later_runs_and_keep_the_answers(hybrid):
    x = torch.randn(2, 8)
    expected = {name: tensor.clone() for name, tensor in hybrid(x).items()}
    for engine in hybrid.engines.values():
        engine.set_output_tensors_as_unowned(True)
        assert engine.are_output_tensors_unowned()
        assert engine.are_output_tensors_unowned(output=0)
        for _ in range(3):
            result = hybrid(x)
            assert all(torch.equal(result[name], expected[name]) for name in expected)


def test_an_engine_output_that_leaves_the_program_cannot_become_owned(hybrid):
    engine = next(e for e in hybrid.engines.values() if e.outputs[0]["sizes"][-1] == 4)
    assert engine.are_output_tensors_unowned(output=0), "it is returned, so it is the caller's"
    with pytest.raises(tenure.Error, match=engine.name) as caught:
        engine.set_output_tensors_as_unowned(False, output=0)
    assert caught.value.code == "invalid argument"
    assert engine.are_output_tensors_unowned(output=0)
    with pytest.raises(tenure.Error):
        engine.set_output_tensors_as_unowned(True, output=99)


def test_enable_pre_allocated_outputs_restores_what_it_found(hybrid):
    enable = tenure.runtime.enable_pre_allocated_outputs
    assert hybrid.pre_allocated_outputs
    with enable(hybrid, False) as inside:
        assert inside is hybrid
        assert not hybrid.pre_allocated_outputs
        with enable(hybrid):
            assert hybrid.pre_allocated_outputs
        assert not hybrid.pre_allocated_outputs
        with pytest.raises(ZeroDivisionError), enable(hybrid, True):
            1 / 0  # noqa: B018
        assert not hybrid.pre_allocated_outputs
    assert hybrid.pre_allocated_outputs
    with pytest.raises(tenure.Error, match=r"tenure\.Program"), enable(nn.Linear(1, 1)):
        pass


def test_inputs_and_outputs_are_described(hybrid):
    (spec,) = hybrid.inputs
    assert (spec.name, spec.kind, spec.dtype, spec.device) == ("x", "tensor", torch.float32, "cpu")
    assert spec.sizes[1] == 8
    assert isinstance(spec.sizes[0], str)
    assert [output.dtype for output in hybrid.outputs] == [torch.float32] * 3
    assert "2 engine blocks" in repr(hybrid)


def test_other_threads_run_while_a_program_runs(load_plain):
    class Slow(nn.Module):
        def forward(self, x):
            for _ in range(8):
                x = torch.tanh(x @ x)
            return x

    x = torch.randn(700, 700)
    program = load_plain(Slow(), (x,))
    ticks, stop = [0], threading.Event()

    def tick():
        while not stop.wait(0.0005):
            ticks[0] += 1

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        while program.stats().runs < 20:
            program(x)
        during = ticks[0]
    finally:
        stop.set()
        thread.join()
    assert during >= 5


def test_session_options_limit_a_program(hybrid_file):
    program = tenure.load(hybrid_file, session_options={"max_frames": 1, "max_plan_bytes": 7_000})
    for rows in range(1, 7):
        program(torch.randn(rows, 8))
    assert program.stats().plans <= 2
    assert program.stats().frames == 1
    for wrong in ({"frames": 1}, {"max_frames": 0}, {"max_plan_bytes": "2"}, {"check_ownership": 1}):
        with pytest.raises(tenure.Error, match="session_options"):
            tenure.load(hybrid_file, session_options=wrong)


def test_a_progress_bar_is_shown_only_when_asked_for_or_in_a_terminal(capfd):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    tenure.compile(model, (torch.randn(1, 4),), backend=[])
    assert capfd.readouterr().err == ""
    tenure.compile(model, (torch.randn(1, 4),), backend=[], progress=True)
    assert capfd.readouterr().err != ""


def test_compile_leaves_no_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    program = tenure.compile(nn.Linear(4, 4), (torch.randn(1, 4),), backend=[])
    assert os.listdir(tmp_path) == []
    program.save(tmp_path / "model.pt2")
    assert os.listdir(tmp_path) == ["model.pt2"]


def test_an_output_that_was_declared_unowned_stays_so_in_the_file(tmp_path):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.kept, self.returned = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return torch.sin(self.kept(x)), self.returned(x)

    def flags(program):
        return [program.engines["engine_0"].are_output_tensors_unowned(output=output) for output in range(2)]

    x = torch.randn(2, 4)
    program = tenure.compile(Model(), (x,), backend="null", min_block_size=1, torch_executed_ops={"aten.sin"})
    assert sorted(flags(program)) == [False, True]
    kept = flags(program).index(False)
    program.engines["engine_0"].set_output_tensors_as_unowned(True, output=kept)
    want = program(x)
    program.save(tmp_path / "declared.pt2")
    loaded = tenure.load(tmp_path / "declared.pt2")
    assert flags(loaded) == [True, True]
    assert all(map(torch.equal, loaded(x), want))
    assert len(torch.export.load(tmp_path / "declared.pt2").graph.nodes)
    loaded.engines["engine_0"].set_output_tensors_as_unowned(False, output=kept)
    loaded.save(tmp_path / "declared.pt2")  # over the file that it is from
    assert sorted(flags(tenure.load(tmp_path / "declared.pt2"))) == [False, True]
