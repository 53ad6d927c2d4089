"""Engines on their own: torch.classes.tenure.Engine and tenure::execute_engine in every kind of PyTorch graph."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from tenure.engine_text import spec_from_json
from torch import nn
from torch.export import Dim

import tenure
from tenure.torch_api import compile_module, engine_from, module_from

execute_engine = torch.ops.tenure.execute_engine


@pytest.fixture(autouse=True)
def _inference():
    torch._dynamo.reset()
    with torch.no_grad():
        yield


class Doubled(nn.Module):
    """Sizes that are arithmetic on the input's."""

    def forward(self, x, y):
        twice = (x * 2).relu()
        return twice, torch.cat([twice, twice, y]) + 1


class OneReturnedOneKept(nn.Module):
    def forward(self, x):
        returned = (x * 2).relu()
        return returned, torch.sin(returned + 1)


def doubled(x, y):
    return list(Doubled()(x, y))


@pytest.fixture(scope="module")
def doubled_program() -> tenure.Program:
    rows, more = Dim("rows", min=1, max=64), Dim("more", min=1, max=64)
    shapes = {"x": {0: rows}, "y": {0: more}}
    args = (torch.randn(3, 4), torch.randn(2, 4))
    return tenure.compile(Doubled(), args, dynamic_shapes=shapes, backend="null", min_block_size=1)


@pytest.fixture
def engine(doubled_program) -> torch.ScriptObject:
    engine = engine_from(doubled_program, "engine_0")
    engine.set_output_tensors_as_unowned(False)
    return engine


class Around(nn.Module):
    """An engine between PyTorch operators."""

    def __init__(self, engine: torch.ScriptObject):
        super().__init__()
        self.engine = engine

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        outputs = torch.ops.tenure.execute_engine([x.sin(), y], self.engine)
        return outputs[1].sum(1) * outputs[0].mean()


def around(x, y):
    outputs = Doubled()(x.sin(), y)
    return outputs[1].sum(1) * outputs[0].mean()


def inputs(rows=3, more=2):
    return torch.randn(rows, 4), torch.randn(more, 4)


def assert_equal(left, right):
    torch.testing.assert_close(left, right, rtol=0, atol=0)


def test_an_engine_of_a_program_runs_in_eager_code(hybrid, hybrid_model):
    engine = engine_from(hybrid, "engine_0")
    assert engine.name() == "engine_0"
    assert engine.backend() == "openvino"
    assert len(engine.inputs()) == 1
    assert len(engine.outputs()) == 1
    for rows in (1, 5, 64):
        x = torch.randn(rows, 8)
        torch.testing.assert_close(execute_engine([x], engine)[0], hybrid_model.first(x))


def test_an_engine_starts_with_the_ownership_that_it_has_in_the_program():
    program = tenure.compile(
        OneReturnedOneKept(), (torch.randn(2, 3),), backend="null", torch_executed_ops={"aten.sin"}, min_block_size=1
    )
    engine = engine_from(program, "engine_0")
    flags = [program.engines["engine_0"].are_output_tensors_unowned(output=index) for index in range(2)]
    assert sorted(flags) == [False, True]
    assert [engine.are_output_tensors_unowned(index) for index in range(2)] == flags
    engine.set_output_tensors_as_unowned(False)  # nobody knows here where an output goes: all may be owned
    assert not engine.are_output_tensors_unowned(output=0)
    assert [program.engines["engine_0"].are_output_tensors_unowned(output=index) for index in range(2)] == flags


@pytest.mark.parametrize("unowned", [False, True])
def test_a_held_result_or_an_alias_of_it_never_changes(engine, unowned):
    engine.set_output_tensors_as_unowned(unowned)
    held = []
    for run in range(30):
        x, y = inputs(1 + run % 3 * 20)
        wanted = [each.numpy() for each in doubled(x, y)]
        first, second = execute_engine([x, y], engine)
        alias = second[1:].numpy() if run % 2 else torch.from_dlpack(second[1:]).numpy()
        held.append((alias, wanted[1][1:]))
        held.append((first.view(-1), wanted[0].reshape(-1)))
        del first, second, alias
        del held[run % 5]
    for got, wanted in held:
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("unowned", [False, True])
def test_a_steady_caller_allocates_nothing_whatever_shapes_alternate(engine, unowned):
    engine.set_output_tensors_as_unowned(unowned)
    for run in range(12):
        result = execute_engine(list(inputs(3 if run % 2 else 60)), engine)
        if run > 3:
            assert engine.stats()["last_call_allocations"] == 0
    stats = engine.stats()
    assert stats["calls"] == 12
    assert (stats["leased_bytes"] > 0, stats["standing_bytes"] > 0) == (unowned, not unowned)
    assert stats["held_slots"] == (2 if unowned else 0)
    del result
    assert engine.stats()["held_slots"] == 0
    assert engine.trim() == stats["leased_bytes"] + stats["standing_bytes"]


def test_switches_are_per_output_and_refuse_one_that_is_not_there(engine):
    engine.set_output_tensors_as_unowned(True, output=1)
    assert [engine.are_output_tensors_unowned(output=index) for index in (0, 1)] == [False, True]
    assert not engine.are_output_tensors_unowned()
    engine.set_output_tensors_as_unowned(True)
    assert engine.are_output_tensors_unowned()
    for index in (2, -1):
        with pytest.raises(RuntimeError, match=f"output {index} is out of range"):
            engine.set_output_tensors_as_unowned(True, index)


def test_without_pre_allocated_outputs_answers_are_the_same(engine):
    x, y = inputs()
    assert engine.use_pre_allocated_outputs
    wanted = execute_engine([x, y], engine)
    engine.use_pre_allocated_outputs = False
    assert_equal(execute_engine([x, y], engine), wanted)
    assert engine.stats()["last_call_allocations"] == 2


def test_tensors_without_data_have_sizes_only(engine):
    outputs = execute_engine([each.to("meta") for each in inputs(5, 2)], engine)
    assert [(each.device.type, tuple(each.shape)) for each in outputs] == [("meta", (5, 4)), ("meta", (12, 4))]


def test_threads_run_one_engine_at_once(engine):
    def work(seed):
        held = []
        for run in range(30):
            x, y = torch.full((1 + (seed + run) % 7, 4), float(seed)), torch.full((2, 4), float(run))
            held.append((execute_engine([x, y], engine), doubled(x, y)))
        for got, wanted in held:
            assert_equal(got, wanted)
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(16)))
    assert engine.stats()["calls"] == 16 * 30
    assert engine.stats()["frames"] <= 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: [x], "expected 2 inputs, got 1"),
        (lambda x, y: [x.double(), y], 'input 0 "x": expected contiguous Float'),
        (lambda x, y: [x, y[:, :3]], 'input 1 "y": expected contiguous Float'),
        (lambda x, y: [x[0], y], 'input 0 "x"'),
        (lambda x, y: [x, y.to_sparse()], "input 1: expected a strided tensor"),
        (lambda x, y: [x.to("meta"), y], "input y is torch.float32 on cpu, not torch.float32 on meta"),
    ],
)
def test_inputs_that_do_not_fit_are_named_and_the_engine_stays_usable(engine, change, message):
    x, y = inputs()
    with pytest.raises(RuntimeError, match=message):
        execute_engine(change(x, y), engine)
    assert_equal(execute_engine([x, y], engine), doubled(x, y))


def test_inputs_of_any_strides_are_taken(engine):
    x, y = torch.randn(4, 3).t(), torch.randn(4, 8)[::2, ::2]
    assert_equal(execute_engine([x, y], engine), doubled(x, y))


@pytest.mark.parametrize("backend", ["eager", "aot_eager", "inductor"])
def test_torch_compile_takes_it_whole_with_dynamic_sizes(engine, backend):
    module = torch.compile(Around(engine), backend=backend, fullgraph=True, dynamic=True)
    for rows in (3, 7, 64):
        x, y = inputs(rows)
        torch.testing.assert_close(module(x, y), around(x, y))
    assert engine.stats()["calls"] == 3


def test_a_flip_of_the_switch_needs_no_recompilation(engine):
    module = torch.compile(Around(engine), backend="eager", fullgraph=True)
    x, y = inputs()
    module(x, y)
    engine.set_output_tensors_as_unowned(True)
    with torch._dynamo.config.patch(error_on_recompile=True):
        assert_equal(module(x, y), around(x, y))
    assert engine.stats()["slots"] == 2


def exported(engine):
    shapes = {"x": {0: Dim("rows", min=1, max=64)}, "y": {0: Dim("more", min=1, max=64)}}
    return torch.export.export(Around(engine), inputs(), dynamic_shapes=shapes)


def test_torch_export_knows_the_sizes_of_the_outputs(engine):
    program = exported(engine)
    call = next(node for node in program.graph.nodes if node.target is execute_engine.default)
    (x, y) = (program.graph.find_nodes(op="placeholder", target=name)[0].meta["val"] for name in ("x", "y"))
    first, second = call.meta["val"]
    assert first.shape[0].node.expr == x.shape[0].node.expr
    assert second.shape[0].node.expr == (2 * x.shape[0] + y.shape[0]).node.expr
    assert engine.stats()["calls"] == 0


def test_torch_export_keeps_engine_and_ownership_in_its_file(engine, tmp_path):
    engine.set_output_tensors_as_unowned(True, output=1)
    torch.export.save(exported(engine), tmp_path / "around.pt2")
    program = torch.export.load(tmp_path / "around.pt2")
    (loaded,) = program.constants.values()
    assert [loaded.are_output_tensors_unowned(index) for index in (0, 1)] == [False, True]
    for module in (program.module(), program.run_decompositions({}).module()):
        x, y = inputs(50)
        assert_equal(module(x, y), around(x, y))


LOAD_SCRIPT = """
import sys, torch, tenure
module, (x, y, wanted) = torch.jit.load(sys.argv[1]), torch.load(sys.argv[2])
assert torch.equal(module(x, y), wanted)
assert [module.engine.are_output_tensors_unowned(i) for i in (0, 1)] == [False, True]
assert not module.engine.use_pre_allocated_outputs
try:
    module(x.double(), y)
except RuntimeError as error:
    assert 'input 0 "x"' in str(error), error
else:
    raise AssertionError("a wrong input was taken")
"""


@pytest.mark.parametrize("convert", ["script", "trace"])
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_torchscript_keeps_engine_and_ownership_in_its_file(engine, convert, tmp_path):
    engine.set_output_tensors_as_unowned(True, output=1)
    engine.use_pre_allocated_outputs = False
    module = Around(engine).eval()
    scripted = torch.jit.script(module) if convert == "script" else torch.jit.trace(module, inputs())
    scripted.save(str(tmp_path / "around.pt"))
    x, y = inputs(40)
    torch.save((x, y, around(x, y)), tmp_path / "tensors.pt")
    command = [sys.executable, "-c", LOAD_SCRIPT, str(tmp_path / "around.pt"), str(tmp_path / "tensors.pt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_deep_copy_has_memory_and_switches_of_its_own(engine):
    engine.set_output_tensors_as_unowned(True, output=0)
    other = copy.deepcopy(engine)
    engine.set_output_tensors_as_unowned(False)
    assert other.are_output_tensors_unowned(output=0)
    x, y = inputs()
    assert_equal(execute_engine([x, y], other), doubled(x, y))
    assert (engine.stats()["calls"], other.stats()["calls"]) == (0, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: [x], "expected 2 inputs, got 1"),
        (lambda x, y: [x.double(), y], "input x is torch.float64 on cpu, not torch.float32"),
        (lambda x, y: [x[0], y], "input x has rank 1, not 2"),
        (lambda x, y: [x, y[:, :3]], r"input y is \[2, 3\], not"),
    ],
)
def test_tracing_finds_inputs_that_do_not_fit(engine, change, message):
    class Wrong(nn.Module):
        def __init__(self):
            super().__init__()
            self.engine = engine

        def forward(self, x, y):
            return execute_engine(change(x, y), self.engine)

    with pytest.raises(Exception, match=message):
        torch.export.export(Wrong(), inputs())


def test_a_traced_graph_may_not_turn_an_engines_switches(engine):
    class Switching(nn.Module):
        def __init__(self):
            super().__init__()
            self.engine = engine

        def forward(self, x, y):
            self.engine.set_output_tensors_as_unowned(True)
            return execute_engine([x, y], self.engine)

    with pytest.raises(Exception, match="no part of a graph"):
        torch.export.export(Switching(), inputs())


def test_a_program_as_a_module_gives_what_the_program_gives(hybrid):
    module = module_from(hybrid)
    for rows in (1, 9):
        x = torch.randn(rows, 8)
        assert_equal(module(x), hybrid(x))
    assert module.engine_0.stats()["calls"] == 2
    assert module.engine_1.are_output_tensors_unowned() == hybrid.engines["engine_1"].are_output_tensors_unowned()


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_program_as_a_module_can_be_compiled_exported_and_traced_again(hybrid):
    module = module_from(hybrid)
    x, other = torch.randn(3, 8), torch.randn(6, 8)
    wanted = hybrid(other)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True, dynamic=True)
    compiled(x)
    assert_equal(compiled(other), wanted)
    program = torch.export.export(module, (x,), dynamic_shapes=({0: Dim("batch", min=1, max=64)},))
    assert_equal(program.module()(other), wanted)
    traced = torch.jit.trace(module, (x,), strict=False)
    assert_equal(traced(other), wanted)


def test_a_model_compiles_straight_to_a_module_with_its_state():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("runs", torch.zeros(()))
            self.linear = nn.Linear(4, 4)

        def forward(self, x):
            self.runs += 1
            return {"y": self.linear(x).relu() + self.runs}

    model = Counting().eval()
    x = torch.randn(2, 4)
    module = compile_module(copy.deepcopy(model), (x,), backend="null", min_block_size=1)
    assert isinstance(module.engine_0, torch.ScriptObject)
    for _ in range(3):
        torch.testing.assert_close(module(x), model(x))
    assert module.runs == 3


def test_tenure_compile_refuses_a_model_that_holds_an_engine_object(engine):
    with pytest.raises(tenure.Error, match="script object"):
        tenure.compile(Around(engine), inputs())


def test_an_unknown_engine_is_an_error_that_names_those_there_are(hybrid):
    with pytest.raises(tenure.Error, match="no engine 'engine_7'; it has: engine_0, engine_1") as caught:
        engine_from(hybrid, "engine_7")
    assert caught.value.code == "not found"


def test_an_engine_is_made_from_its_description_and_its_bytes(engine):
    (_, (spec, blob), _), *_ = engine.__getstate__()
    x, y = inputs()
    made = torch.classes.tenure.Engine(spec, blob.numpy().tobytes())
    assert_equal(execute_engine([x, y], made), doubled(x, y))
    with pytest.raises(RuntimeError, match="engine description"):
        torch.classes.tenure.Engine("{", b"")
    with pytest.raises(RuntimeError, match="engine engine_0"):
        torch.classes.tenure.Engine(spec, blob.numpy().tobytes()[:100])
    other = json.loads(spec) | {"backend": "no such"}
    with pytest.raises(RuntimeError, match="no such"):
        torch.classes.tenure.Engine(json.dumps(other), blob.numpy().tobytes())


@pytest.mark.parametrize(
    "size", ["__import__('os').getpid()", "Symbol(__import__('os'))", "Add(Integer(1), open)", "1 .bit_length()", "[1]", "Add(a=1)"]
)
def test_a_size_in_a_description_is_never_run_as_python(size):
    binding = {"name": "x", "dtype": 7, "sizes": [size]}
    text = json.dumps({"name": "e", "backend": "null", "inputs": [binding], "outputs": [], "options": {}})
    with pytest.raises(tenure.Error) as caught:
        spec_from_json(text)
    assert caught.value.code == "bad file"


def test_a_description_reads_back_as_it_was_written(doubled_program, engine):
    spec = spec_from_json(engine.spec())
    assert [binding.name for binding in spec.inputs] == [each["name"] for each in doubled_program.engines["engine_0"].inputs]
    assert spec.output_sizes([(5, 4), (2, 4)]) == [[5, 4], [12, 4]]
