"""tenure.from_torch_tensorrt: the same engines, with results that are never overwritten."""

from __future__ import annotations

import json
import operator
import zipfile

import pytest
import torch
import torch_tensorrt_double as double
from function_module import Function
from tenure.migrate import engines
from torch import nn
from torch.fx import Graph, GraphModule, symbolic_trace

import tenure

BATCH = torch.export.Dim("batch", min=1, max=64)


@pytest.fixture(autouse=True)
def _engines_run_here(monkeypatch):
    monkeypatch.setattr(engines, "BACKEND", "null")


class Model(nn.Module):
    """An engine of two outputs, one of them returned; PyTorch; an engine; a view of what that gives."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.scale = nn.Linear(8, 8), nn.Linear(8, 4), nn.Parameter(torch.randn(8))

    def forward(self, x: torch.Tensor, shift: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden, kept = self.before(x)
        return {"kept": kept, "view": self.after(self.between(hidden, shift)).transpose(0, 1)}

    def before(self, x):
        hidden = torch.relu(self.first(x))
        return hidden, hidden * 2

    def between(self, hidden, shift):
        return torch.sin(hidden) * self.scale + shift

    def after(self, hidden):
        return self.last(hidden)


class Between(nn.Module):
    def __init__(self, scale: nn.Parameter):
        super().__init__()
        self.scale = scale

    def forward(self, hidden, shift):
        return torch.sin(hidden) * self.scale + shift


def compiled(model: Model, batch: int | None = None) -> GraphModule:
    """As torch_tensorrt.dynamo.compile returns it; of any batch if none is given."""
    x, shift = torch.randn(batch or 4, 8), torch.randn(8)
    dims = {0: BATCH} if batch is None else {}
    exported = torch.export.export(model, (x,), {"shift": shift}, dynamic_shapes={"x": dims, "shift": {}})
    before = double.EngineModule(Function(lambda m, x: model.before(x), first=model.first), (x,), ((dims,),))
    after = double.EngineModule(Function(lambda m, x: model.after(x), last=model.last), (x,), ((dims,),))
    graph = Graph()
    placeholders = [graph.placeholder(name) for name in ("x", "shift")]
    for placeholder, original in zip(placeholders, exported.graph.find_nodes(op="placeholder")[-2:], strict=True):
        placeholder.meta["val"] = original.meta["val"]
    both = graph.call_module("_run_on_acc_0", (placeholders[0],))
    hidden, kept = (graph.call_function(operator.getitem, (both, index)) for index in (0, 1))
    between = graph.call_module("_run_on_gpu_1", (hidden, placeholders[1]))
    made = graph.call_module("_run_on_acc_2", (between,))
    view = graph.call_function(torch.ops.aten.transpose.int, (made, 0, 1))
    graph.output((kept, view))
    layers = {"_run_on_acc_0": before, "_run_on_gpu_1": symbolic_trace(Between(model.scale)), "_run_on_acc_2": after}
    return double.compiled_module(list(layers.items()), exported, graph)


@pytest.fixture(params=["module", "file"])
def moved(request, tmp_path):
    """from_torch_tensorrt by each of its ways."""

    def move(module: GraphModule) -> tenure.Program:
        if request.param == "module":
            return tenure.from_torch_tensorrt(module)
        path = tmp_path / "model.ep"
        double.save(module, path)
        return tenure.from_torch_tensorrt(path)

    return move


@torch.no_grad()
def test_a_program_of_the_same_engines_gives_the_same_answers(moved):
    model = Model().eval()
    program = moved(compiled(model))
    assert list(program.engines) == ["run_on_acc_0", "run_on_acc_2"]
    for batch in (4, 4, 7, 1, 4):
        x, shift = torch.randn(batch, 8), torch.randn(8)
        got, want = program(x, shift=shift), model(x, shift)
        assert list(got) == list(want)
        assert all(torch.equal(got[name], want[name]) for name in want)


@torch.no_grad()
def test_results_that_are_held_stay_and_those_that_are_not_cost_nothing(moved):
    model = Model().eval()
    program = moved(compiled(model, batch=4))
    shift, held = torch.randn(8), []
    for _ in range(6):
        x = torch.randn(4, 8)
        held.append((program(x, shift=shift), model(x, shift)))
    assert all(torch.equal(got[name], want[name]) for got, want in held for name in want)
    held.clear()
    for _ in range(3):
        program(torch.ones(4, 8), shift=shift)
    assert program.stats().last_run_allocations == 0


@torch.no_grad()
def test_the_moved_program_can_be_saved(moved, tmp_path):
    model = Model().eval()
    moved(compiled(model, batch=4)).save(tmp_path / "moved.pt2")
    x, shift = torch.randn(4, 8), torch.randn(8)
    again = tenure.load(tmp_path / "moved.pt2")(x, shift=shift)
    assert all(torch.equal(again[name], want) for name, want in model(x, shift).items())


def test_the_module_stays_as_it_is():
    model = Model().eval()
    module = compiled(model, batch=4)
    graph, children = str(module.graph), dict(module.named_children())
    tenure.from_torch_tensorrt(module)
    assert str(module.graph) == graph
    assert dict(module.named_children()) == children
    x, shift = torch.randn(4, 8), torch.randn(8)
    again = tenure.from_torch_tensorrt(module)(x, shift=shift)
    assert torch.equal(again["kept"], model(x, shift)["kept"]), "its graph still tells how its results are structured"


@torch.no_grad()
@pytest.mark.parametrize("attribute", ["compiled_module", "gm"])
def test_wrappers_are_looked_into(attribute):
    model = Model().eval()
    wrapper = nn.Module()
    setattr(wrapper, attribute, compiled(model, batch=4))
    x, shift = torch.randn(4, 8), torch.randn(8)
    assert torch.equal(tenure.from_torch_tensorrt(wrapper)(x, shift=shift)["kept"], model(x, shift)["kept"])


def test_bindings_keep_the_names_that_the_engine_has():
    module = compiled(Model().eval())
    module._run_on_acc_0.output_binding_names = ["second", "first"]
    engine = tenure.migrate.compiled.artifact_of_module(module, {}).engines[0]
    assert [output.name for output in engine.spec.outputs] == ["second", "first"]


def test_options_are_the_engines():
    artifact = tenure.migrate.compiled.artifact_of_module(compiled(Model().eval()), {"runtime_cache": "kernels"})
    assert [engine.spec.options for engine in artifact.engines] == [{"runtime_cache": "kernels"}] * 2


def test_inputs_keep_the_strides_that_they_were_compiled_for():
    class Last(nn.Module):
        def forward(self, x):
            return torch.relu(x).permute(0, 2, 3, 1).reshape(18, 8)

    x = torch.randn(2, 8, 3, 3).to(memory_format=torch.channels_last)
    exported = torch.export.export(Last(), (x,))
    graph = Graph()
    placeholder = graph.placeholder("x")
    placeholder.meta["val"] = exported.graph.find_nodes(op="placeholder")[0].meta["val"]
    turned = graph.call_function(torch.ops.aten.permute.default, (placeholder, [0, 2, 3, 1]))
    rows = graph.call_function(torch.ops.aten.view.default, (turned, [18, 8]))
    graph.output((graph.call_module("_run_on_acc_0", (rows,)),))
    engine = double.EngineModule(nn.ReLU(), (torch.randn(18, 8),))
    program = tenure.from_torch_tensorrt(double.compiled_module([("_run_on_acc_0", engine)], exported, graph))
    assert torch.equal(program(x), Last()(x))


def test_what_is_no_program_is_refused_by_what_it_is():
    assert "5 is neither a module, nor an exported program, nor the path of a file" in refused(5)
    wrapper = nn.Module()
    wrapper.gm = None
    assert "call it once before it is moved over" in refused(wrapper)


def refused(compiled_or_path) -> str:
    with pytest.raises(tenure.Error) as error:
        tenure.from_torch_tensorrt(compiled_or_path)
    return str(error.value)


def test_what_torch_tensorrt_did_not_compile_is_refused(tmp_path):
    assert "Linear holds no TensorRT engine" in refused(nn.Linear(2, 2))
    assert "there is no such file" in refused(tmp_path / "none.ep")
    torch.export.save(torch.export.export(nn.ReLU(), (torch.ones(2),)), tmp_path / "relu.pt2")
    assert "no TensorRT engine is in it; tenure.load runs" in refused(tmp_path / "relu.pt2")
    torch.jit.save(torch.jit.script(nn.ReLU()), tmp_path / "relu.ts")
    assert 'it is TorchScript; save it again with output_format="exported_program"' in refused(tmp_path / "relu.ts")
    (tmp_path / "text").write_text("text")
    assert "damaged" in refused(tmp_path / "text")


def test_sizes_that_follow_from_nothing_are_refused_with_the_engines_name():
    module = compiled(Model().eval())
    symbol = torch.fx.experimental.symbolic_shapes.sympy.Symbol("s99")
    module._run_on_acc_2.symbolic_shape_expressions["outputs"][0]["shape_exprs"][0] = symbol
    message = refused(module)
    assert "run_on_acc_2" in message
    assert "the sizes of output output0, (s99, 4), do not follow from those of its inputs" in message


def test_an_engine_that_does_not_tell_its_shapes_is_refused():
    module = compiled(Model().eval())
    module._run_on_acc_0.symbolic_shape_expressions = None
    assert "compile with Torch-TensorRT 2.10 or newer" in refused(module)


def changed(path, target, change) -> None:
    """Writes `path` again to `target`, its records passed through `change(name, content)`; None drops one."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as out:
        for record in source.namelist():
            content = change(record.partition("/")[2], source.read(record))
            if content is not None:
                out.writestr(record, content)


def test_a_damaged_file_is_refused_and_nothing_in_it_is_run(tmp_path):
    path, other = tmp_path / "model.ep", tmp_path / "other.ep"
    double.save(compiled(Model().eval()), path)

    def with_engine(make):
        changed(path, other, lambda name, content: make(content) if name.endswith("custom_obj_0") else content)
        return refused(other)

    assert "run_on_acc_0" in with_engine(lambda content: content[:-30])
    assert "run_on_acc_0" in with_engine(lambda content: b"")
    engine = tenure.migrate.saved.artifact_of_file(path, {}).engines[0]
    message = with_engine(lambda content: double.pickled_engine(engine, b"os\nsystem"))
    assert "os.system is no part of an engine" in message

    def without_outputs(name, content):
        if name != "models/model.json":
            return content
        model = json.loads(content)
        call = next(node for node in model["graph_module"]["graph"]["nodes"] if "execute_engine" in node["target"])
        call["inputs"][0]["arg"]["as_tensors"] *= 2
        return json.dumps(model)

    changed(path, other, without_outputs)
    assert "its call has other inputs or outputs than it" in refused(other)

    def with_pickled_weights(name, content):
        return content.replace(b'"use_pickle": false', b'"use_pickle": true') if name.endswith("weights_config.json") else content

    changed(path, other, with_pickled_weights)
    assert "pickles of other things than engines: run_on_gpu_1.scale" in refused(other).replace("_run", "run")
    ran = []
    double.ran = ran.append
    pickle_that_calls_it = b"\x80\x02ctorch_tensorrt_double\nran\n(U\x01xtR."
    for place in ("data/weights/model.pt", "data/constants/model.pt", "data/sample_inputs/model.pt"):
        changed(path, other, lambda name, content: content)
        with zipfile.ZipFile(other, "a") as file:
            file.writestr(f"{file.namelist()[0].partition('/')[0]}/{place}", pickle_that_calls_it)
        assert tenure.from_torch_tensorrt(other).engines
    assert not ran, "torch.export would have read the first two"
    for gone in ("models/model.json", "data/constants/custom_obj_1", "data/constants/model_constants_config.json"):
        changed(path, other, lambda name, content, gone=gone: None if name == gone else content)
        assert str(other) in refused(other)


class Finds(nn.Module):
    """An engine whose outputs are as long as there are positive numbers, PyTorch, and one that takes what has that length."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        places, columns, doubled = self.before(x)
        return places, self.after(torch.sin(columns.float())), doubled

    def before(self, x):
        places = torch.nonzero(x > 0)
        return places, places[:, 1] * 2, x * 2

    def after(self, numbers):
        return numbers * 3 + 1


def compiled_finds() -> GraphModule:
    model, x = Finds(), torch.ones(4, 8)
    exported = torch.export.export(model, (x,))
    before = double.EngineModule(Function(lambda m, x: model.before(x)), (x,))
    after = double.EngineModule(Function(lambda m, x: model.after(x)), (torch.ones(9),), (({0: torch.export.Dim("n", min=0)},),))
    graph = Graph()
    placeholder = graph.placeholder("x")
    placeholder.meta["val"] = exported.graph.find_nodes(op="placeholder")[0].meta["val"]
    made = graph.call_module("_run_on_acc_0", (placeholder,))
    places, columns, doubled = (graph.call_function(operator.getitem, (made, index)) for index in range(3))
    floats = graph.call_function(torch.ops.aten.to.dtype, (columns, torch.float32))
    last = graph.call_module("_run_on_acc_2", (graph.call_function(torch.ops.aten.sin.default, (floats,)),))
    graph.output((places, last, doubled))
    return double.compiled_module([("_run_on_acc_0", before), ("_run_on_acc_2", after)], exported, graph)


@pytest.mark.parametrize("kind", ["module", "file"])
def test_engines_whose_output_sizes_depend_on_data_run_without_a_copy(kind, tmp_path):
    given = compiled_finds()
    if kind == "file":
        double.save(given, tmp_path / "finds.ep")
        given = tmp_path / "finds.ep"
    program, model = tenure.from_torch_tensorrt(given), Finds()
    held = []
    for count in (3, 32, 0, 1, 32, 5, 5, 5):
        x = torch.where(torch.arange(32).view(4, 8) < count, 1.0, -1.0)
        held.append((program(x), model(x)))
        held = held[-3:]
        assert all(torch.equal(got, want) for pair in held for got, want in zip(*pair, strict=True))
    assert program.stats().last_run_allocations == 0
    assert program.stats().deviations == 0
    assert not [value.target for value in program.explain().values if value.target in ("aten::clone", "aten::copy")]
