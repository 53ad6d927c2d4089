"""What tenure.compile makes and writes: engines that agree with PyTorch, and files that torch.export.load opens.

The engines run here through their backends' own Python interfaces, so that a failure is one of compiling, not of the runtime.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from typing import NamedTuple

import numpy as np
import openvino
import pytest
import torch
from function_module import Function
from tenure.compile import lower
from tenure.engine_spec import EngineSpec
from tenure.errors import Error
from torch import nn
from torch.nn import functional as F
from torch.utils import _pytree as pytree

from tenure.archive import write_archive

Dim = torch.export.Dim


class NamelessPair(NamedTuple):
    """A result that torch.export cannot write: no name is registered for its class."""

    first: torch.Tensor
    second: torch.Tensor


class ReferenceRun(torch.fx.Interpreter):
    """Runs a saved file node by node: engines from their blobs, the rest as PyTorch operators."""

    def __init__(self, path):
        super().__init__(torch.export.load(path).module(check_guards=False))
        with zipfile.ZipFile(path) as archive:
            root = archive.namelist()[0].split("/")[0]
            self.manifest = json.loads(archive.read(f"{root}/data/tenure/manifest.json"))
            self.engines = {}
            for engine in self.manifest["engines"]:
                blob = archive.read(f"{root}/{engine['blob']}")
                assert len(blob) == engine["blob_bytes"]
                self.engines[engine["name"]] = load_engine(engine["backend"], blob)

    def call_function(self, target, args, kwargs):
        if target is torch.ops.tenure.call_engine.default:
            inputs, name = args
            return self.engines[name](inputs)
        return super().call_function(target, args, kwargs)


def load_engine(backend, blob):
    if backend == "null":
        module = torch.export.load(io.BytesIO(blob)).module()
        return lambda inputs: list(module(*inputs))
    compiled = openvino.Core().import_model(io.BytesIO(blob), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(inputs):
        results = compiled([openvino_tensor(tensor, port) for tensor, port in zip(inputs, compiled.inputs, strict=True)])
        return [torch_tensor(results[port], port) for port in compiled.outputs]

    return run


def openvino_tensor(tensor, port):
    tensor = tensor.detach().contiguous()
    if tensor.dtype is torch.bfloat16:
        return openvino.Tensor(tensor.view(torch.int16).numpy(), list(tensor.shape), port.get_element_type())
    return openvino.Tensor(tensor.numpy())


def torch_tensor(result, port):
    result = torch.from_numpy(np.array(result))
    return result.view(torch.bfloat16) if port.get_element_type() == openvino.Type.bf16 else result


def check(tmp_path, model, args, kwargs=None, *, more=(), backend="openvino", tolerance=1e-5, **options):
    """Compiles, writes, loads and runs; every result is within `tolerance` of eager's largest. Returns the artifact."""
    artifact = lower(model, args, kwargs, backend=backend, **options)
    path = tmp_path / "model.pt2"
    write_archive(artifact, path)
    run = ReferenceRun(path)
    for each_args, each_kwargs in [(args, kwargs or {}), *more]:
        with torch.no_grad():
            expected = pytree.tree_leaves(model(*each_args, **each_kwargs))
            actual = pytree.tree_leaves(run.run(*pytree.tree_leaves((each_args, each_kwargs))))
        for got, want in zip(actual, expected, strict=True):
            assert got.dtype == want.dtype
            assert got.shape == want.shape
            limit = tolerance * want.double().abs().max() if want.numel() else 0
            assert want.numel() == 0 or (got.double() - want.double()).abs().max() <= limit
    return artifact


def seeded(make):
    torch.manual_seed(0)
    return make().eval()


def chain(layers: int) -> nn.Module:
    """Linear, relu and sin, over and over, with skips."""
    return Function(
        lambda m, x: [x := (torch.relu(layer(x)) + x).sin() for layer in m.layers][-1],
        layers=nn.ModuleList(nn.Linear(8, 8) for _ in range(layers)),
    )


@pytest.mark.parametrize("backend", ["openvino", "null"])
def test_several_engines_with_operators_between_them_agree_with_eager(tmp_path, backend):
    model = seeded(lambda: chain(4))
    artifact = check(
        tmp_path,
        model,
        (torch.randn(3, 8),),
        dynamic_shapes=(({0: Dim("n")},),),
        backend=backend,
        torch_executed_ops={"aten.sin"},
        min_block_size=3,
        more=[((torch.randn(1, 8),), {}), ((torch.randn(50, 8),), {})],
    )
    assert len(artifact.engines) == 4


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "vit_b_16"])
def test_torchvision_models_are_one_engine_within_a_thousandth(tmp_path, name):
    import torchvision

    model = seeded(getattr(torchvision.models, name))
    if name == "vit_b_16":
        nn.init.normal_(model.heads.head.weight, std=0.02)  # torchvision starts it at zero
    image = torch.randn(2, 3, 224, 224)
    more = [((torch.randn(3, 3, 224, 224),), {}), ((torch.randn(1, 3, 224, 224),), {})]
    artifact = check(tmp_path, model, (image,), dynamic_shapes=({0: Dim("n")},), tolerance=1e-3, more=more)
    assert len(artifact.engines) == 1
    assert engine_calls_only(artifact)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_bert_with_dynamic_batch_and_length_is_one_engine_within_a_thousandth(tmp_path, attention):
    from transformers import BertConfig, BertModel

    sizes = {"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128, "vocab_size": 1000}
    bert = seeded(lambda: BertModel(BertConfig(**sizes, attn_implementation=attention)))

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.bert = bert

        def forward(self, input_ids, attention_mask):
            answer = self.bert(input_ids=input_ids, attention_mask=attention_mask)
            return {"tokens": answer.last_hidden_state, "pooled": answer.pooler_output}

    def example(batch, length):
        mask = torch.ones(batch, length, dtype=torch.int64)
        mask[0, length // 2 :] = 0
        return {"input_ids": torch.randint(0, 1000, (batch, length)), "attention_mask": mask}

    shape = {0: Dim("batch", max=64), 1: Dim("length", max=512)}
    artifact = check(
        tmp_path,
        Encoder().eval(),
        (),
        example(2, 7),
        dynamic_shapes={"input_ids": shape, "attention_mask": shape},
        tolerance=1e-3,
        more=[((), example(3, 12)), ((), example(1, 40))],
    )
    assert len(artifact.engines) == 1
    assert engine_calls_only(artifact)


def engine_calls_only(artifact) -> bool:
    operators = [node.target for node in artifact.exported_program.graph.nodes if isinstance(node.target, torch._ops.OpOverload)]
    return set(operators) == {torch.ops.tenure.call_engine.default}


def test_a_model_that_the_backend_cannot_touch_runs_as_operators(tmp_path):
    artifact = check(
        tmp_path, Function(lambda m, x: (x * 3 + 1).cumsum(0)), (torch.tensor([2**40, 5, -7]),), tolerance=0, min_block_size=1
    )
    assert artifact.engines == []
    assert artifact.report.refused["openvino"]


OPERATORS = {
    "convolution": (lambda x: F.conv2d(x, torch.ones(5, 3, 3, 3), padding=1, stride=2), [(2, 3, 9, 9)]),
    "pooling": (lambda x: F.avg_pool2d(F.max_pool2d(x, 3, 2, ceil_mode=True), 2, count_include_pad=False), [(2, 3, 17, 17)]),
    "norms": (lambda x: F.group_norm(F.layer_norm(x, (4,)), 3), [(2, 6, 4)]),
    "attention": (lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True), [(2, 4, 5, 8)]),
    "masked attention": (lambda x, m: F.scaled_dot_product_attention(x, x, x, attn_mask=m > -1), [(2, 4, 5, 8), (5, 5)]),
    "products": (lambda x, y: torch.einsum("abc,adc->abd", x, y) + x @ y.mT, [(2, 3, 4), (2, 3, 4)]),
    "activations": (lambda x: F.gelu(x, approximate="tanh") + F.hardswish(x) + F.silu(x) + F.elu(x) + F.mish(x), [(3, 5)]),
    "reductions": (lambda x: x.mean((1, 2)) * x.sum() + x.amax((1, 2)) + x.var((1, 2)) + x.prod(1).sum(-1), [(2, 3, 4)]),
    "rounding": (lambda x: torch.round(x * 2) + torch.floor(x) + torch.remainder(x, 2.0), [(4, 4)]),
    "interpolation": (lambda x: F.interpolate(x, size=(7, 9), mode="bicubic", align_corners=True), [(1, 2, 4, 4)]),
    "moves": (lambda x: torch.cat((x.flip(0), x.roll(1, 1), F.pad(x, (0, 0, 1, 0))), 0), [(4, 4)]),
    "logic": (lambda x: torch.where((x > 0) & (x < 1) | ~(x < -1), x, -x), [(5, 5)]),
    "search": (lambda x: [*torch.topk(x * 2, 3), *torch.max(x * 2, 1)], [(5, 7)]),
    "indexing": (lambda x: x[torch.arange(3)[:, None], torch.arange(3)] + x[torch.tensor([1, -1, 0])][:, :3], [(5, 5)]),
    "scalars": (lambda x: x.sum() * 2, [(3, 3)]),
    "half": (lambda x: torch.softmax(x.half() * 2, -1), [(5, 5)]),
    "bfloat16": (lambda x: torch.relu(x.bfloat16() * 2), [(5, 5)]),
}


TOLERANCE = {"half": 1e-2, "bfloat16": 1e-2}


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_agree_with_eager(tmp_path, name):
    torch.manual_seed(0)
    function, shapes = OPERATORS[name]
    args = tuple(torch.randn(shape) for shape in shapes)
    artifact = check(
        tmp_path,
        Function(lambda m, *args: function(*args)),
        args,
        tolerance=1e-2 if name in ("half", "bfloat16") else 1e-5,
        min_block_size=1,
    )
    assert artifact.engines


INTEGERS = {
    "int64 arithmetic": (lambda x: x * 3 + 1, torch.tensor([2**40, 5, -7])),
    "int64 comparison": (lambda x: x == 2**33, torch.tensor([2**33, 5, -7])),
    "int64 to float": (lambda x: x[None].float() * 2, torch.tensor([2**40, 5, -7])),
    "int32 floor division": (lambda x: x // 3, torch.tensor([-7, 7, 2], dtype=torch.int32)),
    "int32 true division": (lambda x: x / 2, torch.tensor([-7, 7, 3], dtype=torch.int32)),
    "uint8 overflow": (lambda x: x + x, torch.tensor([200, 3], dtype=torch.uint8)),
    "negative indices": (lambda x: torch.eye(4).cumsum(0)[x, x] * 2, torch.tensor([1, -1])),
    "uint8 pictures": (lambda x: x.float().div(255).sub(0.5).relu(), torch.tensor([200, 3], dtype=torch.uint8)),
}


@pytest.mark.parametrize("name", INTEGERS)
def test_integers_are_pytorchs_integers(tmp_path, name):
    function, value = INTEGERS[name]
    check(tmp_path, Function(lambda m, x: function(x)), (value,), tolerance=1e-6, min_block_size=1)


def test_float32_stays_float32_in_the_options_of_the_file(tmp_path):
    artifact = lower(seeded(lambda: chain(2)), (torch.randn(3, 8),), options={"INFERENCE_NUM_THREADS": 1})
    options = artifact.engines[0].spec.options
    assert options["INFERENCE_PRECISION_HINT"] == "f32"
    assert options["INFERENCE_NUM_THREADS"] == "1"


def test_an_unknown_openvino_property_is_refused():
    with pytest.raises(Error, match="NO_SUCH_PROPERTY") as caught:
        lower(seeded(lambda: chain(2)), (torch.randn(3, 8),), options={"NO_SUCH_PROPERTY": "1"})
    assert caught.value.code == "invalid argument"


@pytest.mark.parametrize("backend", ["openvino", "null"])
def test_a_data_dependent_batch_runs_with_many_rows(tmp_path, backend):
    model = seeded(lambda: Function(lambda m, x: m.a(x[x[:, 0].nonzero().squeeze(1)]).relu().sin() * 2 + 1, a=nn.Linear(4, 4)))
    few = torch.randn(6, 4)
    few[1:, 0] = 0
    artifact = check(tmp_path, model, (torch.randn(6, 4),), backend=backend, more=[((few,), {})], torch_executed_ops=["aten.index"])
    assert artifact.engines


def test_structures_shared_weights_constants_and_mutated_buffers_survive(tmp_path):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
            self.second.weight = self.first.weight
            self.register_buffer("count", torch.zeros(4))
            self.register_buffer("scale", torch.arange(4.0), persistent=False)

        def forward(self, x, *, bias):
            self.count.add_(1)
            y = self.second(self.first(x).relu() * torch.tensor([1.0, 2, 3, 4])) + bias
            return {"y": [y.erf() + self.first.weight.sum()], "count": (self.count + self.scale,)}

    def fresh():
        return seeded(Model)

    artifact = lower(
        fresh(), (torch.ones(2, 4),), {"bias": torch.ones(4)}, torch_executed_ops=["aten.erf", "aten.sum"], min_block_size=3
    )
    path = tmp_path / "m.pt2"
    write_archive(artifact, path)
    program = torch.export.load(path)
    assert len(artifact.engines) == 1
    assert len(program.state_dict) == 2  # the shared weight, under one of its names, and the count
    assert program.graph_signature.buffers_to_mutate
    *_, y, count = ReferenceRun(path).run(torch.ones(2, 4), torch.ones(4)).values()
    expected = fresh()(torch.ones(2, 4), bias=torch.ones(4))
    torch.testing.assert_close(y, expected["y"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(count, expected["count"])


def test_the_model_given_is_not_changed():
    model = seeded(lambda: chain(3))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    program = torch.export.export(model, (torch.randn(2, 8),))
    nodes = [node.format_node() for node in program.graph.nodes]
    lower(program)
    assert [node.format_node() for node in program.graph.nodes] == nodes
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_the_file_says_nothing_about_the_exporting_machine(tmp_path):
    path = tmp_path / "m.pt2"
    write_archive(lower(seeded(lambda: chain(3)), (torch.full((2, 8), 0.123456),), torch_executed_ops=["aten.sin"]), path)
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    for name, content in records.items():
        assert os.getcwd().encode() not in content, name
        assert b"site-packages" not in content, name
        assert b"test_compile" not in content, name
    assert [len(content) for name, content in records.items() if "sample_inputs" in name] == [0]


def test_weights_that_only_engines_use_are_in_the_file_once(tmp_path):
    model = seeded(lambda: nn.Sequential(*(nn.Linear(300, 300) for _ in range(6))))
    write_archive(lower(model, (torch.randn(1, 300),)), tmp_path / "m.pt2")
    weights = sum(parameter.nbytes for parameter in model.parameters())
    assert os.path.getsize(tmp_path / "m.pt2") < 1.2 * weights


def test_the_manifest_tells_types_and_sizes_as_torch_writes_them(tmp_path):
    path = tmp_path / "m.pt2"
    model = Function(lambda m, x: torch.cat((x, x)).sin())
    write_archive(
        lower(model, (torch.randn(4, 5),), dynamic_shapes=(({0: Dim("n", min=3)},),), backend="null", min_block_size=1), path
    )
    manifest = ReferenceRun(path).manifest
    assert manifest["format_version"] == 1
    (engine,) = manifest["engines"]
    assert engine["inputs"] == [{"name": "args_0", "dtype": 7, "sizes": ["Symbol('i0_0', integer=True)", "5"]}]
    assert engine["outputs"][0]["aliases_input"] is None
    assert engine["outputs"][0]["sizes"] == ["Mul(Integer(2), Symbol('i0_0', integer=True))", "5"]


def test_libraries_of_custom_operators_are_named(tmp_path):
    from torchvision.ops import nms

    @torch.library.custom_op("tenure_test::twice", mutates_args=())
    def twice(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    twice.register_fake(lambda x: torch.empty_like(x))
    boxes = torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 1.1], [5, 5, 6, 6]])
    model = Function(lambda m, boxes, scores: nms(twice(boxes), scores, 0.5))
    artifact = lower(model, (boxes, torch.tensor([1.0, 2, 3])), custom_op_libraries=["libmine.so"])
    assert artifact.custom_op_libraries == ["libmine.so", __name__, "torchvision"]


def test_progress_is_told_from_first_to_last(tmp_path):
    told = []
    artifact = lower(seeded(lambda: chain(3)), (torch.randn(2, 8),), progress=lambda *step: told.append(step))
    write_archive(artifact, tmp_path / "m.pt2", progress=lambda *step: told.append(step))
    assert told[0][0] == "export"
    assert ("compile openvino", 0, 1) in told
    assert told[-1][0] == "written"
    assert all(0 <= done <= total for _, done, total in told)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "m.pt2"
    path.write_bytes(b"old")
    nameless = lower(Function(lambda m, x: NamelessPair(x.sin(), x.cos())), (torch.randn(4),), backend=[])
    with pytest.raises(Error, match="NamelessPair") as caught:
        write_archive(nameless, path)
    assert caught.value.code == "unsupported"
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["m.pt2"]


def test_writing_into_a_folder_that_is_not_there_says_so(tmp_path):
    artifact = lower(Function(lambda m, x: x.sin()), (torch.randn(4),), backend=[])
    with pytest.raises(Error, match="nowhere") as caught:
        write_archive(artifact, tmp_path / "nowhere" / "m.pt2")
    assert caught.value.code == "not found"


def test_an_engine_called_outside_a_program_says_what_to_do():
    with pytest.raises(Error, match=r"tenure\.load"):
        torch.ops.tenure.call_engine([torch.ones(2)], "engine_0")


def test_tracing_knows_the_engines_it_is_told_about():
    from tenure.engine_spec import Binding, dimension_symbol
    from tenure.ops import known_engines

    n = dimension_symbol(0, 0)
    spec = EngineSpec("e", "null", (Binding("x", torch.float32, (n,)),), (Binding("y", torch.int64, (2 * n, 3)),))
    with torch._subclasses.FakeTensorMode(), known_engines({"e": spec}):
        (result,) = torch.ops.tenure.call_engine([torch.empty(5)], "e")
        assert (tuple(result.shape), result.dtype) == ((10, 3), torch.int64)
    with torch._subclasses.FakeTensorMode(), pytest.raises(Error, match="not known here"):
        torch.ops.tenure.call_engine([torch.empty(5)], "e")
