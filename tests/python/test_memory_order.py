"""The order in which dimensions lie in memory is eager PyTorch's, for who can see it: callers, and operators outside engines."""

from __future__ import annotations

import pytest
import torch
from function_module import Function
from tenure.backends.null import NullBackend
from tenure.observed_strides import observe_strides
from torch import nn

import tenure

library = torch.library.Library("tenure_order", "DEF")


def define(name: str, kernel, rule, tags=()) -> None:
    library.define(f"{name}(Tensor x) -> Tensor", tags=tags)
    library.impl(name, kernel, "CPU")
    torch.library.register_fake(f"tenure_order::{name}", rule, lib=library)


def as_it_lies(x: torch.Tensor) -> torch.Tensor:
    return x.permute(sorted(range(x.dim()), key=lambda dim: -x.stride(dim))).reshape(-1).clone()


for tag in (None, torch.Tag.needs_exact_strides):
    tagged = "as_it_lies" if tag is None else "as_it_lies_tagged"
    define(tagged, as_it_lies, lambda x: x.new_empty(x.numel()), () if tag is None else (tag,))
define("total", lambda x: x.contiguous().sum((2, 3)), lambda x: x.new_empty(x.shape[:2]), (torch.Tag.needs_contiguous_strides,))


def channels_last() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval().to(memory_format=torch.channels_last)
    return net, torch.randn(1, 3, 8, 8).to(memory_format=torch.channels_last)


@pytest.mark.parametrize("backend", ["null", "openvino"])
@pytest.mark.parametrize("name", ["as_it_lies", "as_it_lies_tagged", "total"])
def test_a_custom_operator_reads_an_engines_output_in_the_order_that_eager_gives_it(name, backend):
    net, x = channels_last()
    model = Function(lambda m, x: getattr(torch.ops.tenure_order, name)(m.net(x)), net=net)
    program = tenure.compile(model, (x,), backend=backend, min_block_size=1)
    assert program.engines
    for _ in range(3):
        assert torch.allclose(program(x), model(x), atol=1e-5)
    permuted = "aten::permute" in {value.target for value in program.explain().values}
    assert permuted == (name != "total"), "what says that it wants dense memory gets that, without a view"


def test_where_an_engine_was_to_read_a_tensor_and_was_not_compiled_pytorch_reads_it_in_its_order(monkeypatch):
    net, x = channels_last()

    def forward(m, x):
        y = m.net(x)
        return torch.relu(y - 1) * torch.bernoulli(y.mean() * 0 + 1) + 1

    built = []

    def fails_the_second_time(backend, part, options):
        built.append(part)
        if len(built) == 2:
            raise RuntimeError("no")
        return compile_part(backend, part, options)

    compile_part = NullBackend.compile
    monkeypatch.setattr(NullBackend, "compile", fails_the_second_time)
    model = Function(forward, net=net)
    program = tenure.compile(model, (x,), backend="null", min_block_size=1)
    assert (len(built), len(program.engines)) == (2, 1)
    for _ in range(3):
        result, want = program(x), model(x)
        assert torch.equal(result, want)
        assert result.stride() == want.stride() == (144, 1, 24, 4)


@pytest.mark.parametrize("kind", ["buffer", "parameter", "attribute"])
def test_compiling_leaves_statistics_of_the_model_as_they_are(kind):
    model = Function(lambda m, x: nn.functional.instance_norm(x, m.mean, m.var, use_input_stats=True) + 1)
    for name, value in (("mean", torch.zeros(4)), ("var", torch.ones(4))):
        if kind == "buffer":
            model.register_buffer(name, value)
        else:
            setattr(model, name, nn.Parameter(value, requires_grad=False) if kind == "parameter" else value)
    tenure.compile(model, (torch.randn(2, 4, 6),), backend="null", min_block_size=1)
    assert torch.equal(model.mean, torch.zeros(4))
    assert torch.equal(model.var, torch.ones(4))


def test_views_of_state_that_is_returned_have_its_strides_and_share_its_memory():
    def forward(m, x):
        turned, kept = m.state.permute(0, 2, 1), m.state.to(torch.float32)
        turned.masked_fill_(turned > x, 2)
        return kept, kept[0], kept[:, 1:], kept.transpose(0, 1).unbind(0)[1]

    def module():
        return Function(forward, state=torch.arange(12.0).remainder(5).reshape(3, 2, 2))

    x = torch.tensor(1.0)
    model, program = module(), tenure.compile(module(), (x,), backend="null", min_block_size=1)
    for _ in range(3):
        got, want = program(x), model(x)
        assert [each.stride() for each in got] == [each.stride() for each in want]
        assert all(map(torch.equal, got, want))
        got[0].add_(7)
        assert all(torch.equal(mine, eager + 7) for mine, eager in zip(got, want, strict=True)), "one memory, the caller's alone"


def test_views_of_what_a_shape_rule_tells_wrong_are_told_anew():
    def forward(m, x):
        stretched = (x - x).expand(2, -1, -1, -1).unfold(0, 1, 2)
        larger = torch.maximum(stretched, (x + x).transpose(0, -1)[:, -3])
        return larger.transpose(1, 2), larger.split([1, 3], dim=1)[1]

    x = torch.randn(4, 4, 3)
    exported = torch.export.export(Function(forward), (x,)).run_decompositions({})
    observe_strides(exported)
    told = [node.meta["val"] for node in exported.graph.output_node().args[0]]
    assert [view.stride()[1:] for view in told] == [view.stride()[1:] for view in forward(None, x)]


def reads_what_it_wrote(m, x):
    x.masked_fill_(x > 0, 2)
    y = x.clamp(0, 3)
    x.add_(1)
    return y, x.mul(2)


def reads_what_it_wrote_through_a_view(m, x):
    y = (x - 1).transpose(0, 2).contiguous().transpose(0, 2)
    y.transpose(0, 1).masked_fill_(y.transpose(0, 1) > 0, 2)
    return y.clamp(0, 3), y.transpose(0, 2) + 1


@pytest.mark.parametrize("compiled", [True, False], ids=["ahead", "torch.compile"])
@pytest.mark.parametrize("forward", [reads_what_it_wrote, reads_what_it_wrote_through_a_view])
def test_what_an_in_place_operator_wrote_keeps_its_strides_for_later_readers(forward, compiled):
    def sample() -> torch.Tensor:
        return torch.arange(-12.0, 12.0).reshape(4, 3, 2).permute(2, 1, 0)

    model = Function(forward)
    if compiled:
        run = tenure.compile(model, (sample(),), backend="null", min_block_size=1)
        assert run.engines
    else:
        run = torch.compile(model, backend="tenure", options={"backend": "null", "min_block_size": 1})
    for _ in range(3):
        x, mine = sample(), sample()
        got, want = run(mine), forward(None, x)
        assert [each.stride() for each in got] == [each.stride() for each in want]
        assert all(map(torch.equal, got, want))
        assert torch.equal(mine, x)
        assert mine.stride() == x.stride()


def writes_a_diagonal(m, x):
    x.view(1, 1, -1).diagonal(0, 0, 2)[0].fill_(2)
    return (x[1:],)


def writes_a_row(m, x):
    x.view(-1, 1).select(0, 0).mul_(2)
    return (x[1:],)


def writes_a_slice(m, x):
    x[1:3].add_(1)
    return (x[1:], x.view(-1, 2))


@pytest.mark.parametrize("forward", [writes_a_diagonal, writes_a_row, writes_a_slice])
def test_views_of_an_input_with_gaps_keep_its_strides_when_part_of_it_was_written(forward):
    model = Function(forward)
    program = tenure.compile(model, (torch.arange(16.0)[::2],), backend="null", min_block_size=1)
    for _ in range(3):
        x, mine = torch.arange(16.0)[::2], torch.arange(16.0)[::2]
        want, got = forward(None, x), program(mine)
        assert [each.stride() for each in got] == [each.stride() for each in want]
        assert all(map(torch.equal, got, want))
        assert torch.equal(mine, x)


def test_an_in_place_operator_that_keeps_the_order_anyway_costs_no_copy():
    x = torch.randn(4, 3, 2).permute(2, 1, 0)
    program = tenure.compile(Function(lambda m, x: (x.add_(1) * 2).relu()), (x,), backend="null", min_block_size=1)
    program(x)
    assert not [value.target for value in program.explain().values if value.target and "copy" in value.target]


def test_an_engine_keeps_the_order_of_dimensions_whose_sizes_depend_on_data():
    def forward(m, x):
        places = x.nonzero()  # column by column
        return places.any(), places.abs().sqrt().clamp(0, 3)

    program = tenure.compile(Function(forward), (torch.eye(4) > 0,), backend="null", min_block_size=1)
    assert program.engines
    for count in (4, 2, 3, 3):
        x = torch.arange(16).view(4, 4) % 5 < count
        want, got = forward(None, x), program(x)
        assert [each.stride() for each in got] == [each.stride() for each in want]
        assert all(map(torch.equal, got, want))


@pytest.mark.parametrize("rows", [1, 3])
def test_a_view_inside_an_engine_fits_what_follows_from_an_input_that_was_made_dense(rows):
    def forward(m, x):
        turned = 3 - x.transpose(0, -1)
        flat = turned.reshape(-1)
        return flat * 2, torch.minimum(turned, turned)

    x = torch.arange(3.0).view(3, 1).expand(3, 5)[:rows]
    program = tenure.compile(Function(forward), (x,), backend="null", min_block_size=1)
    assert program.engines
    for _ in range(3):
        assert all(map(torch.equal, program(x), forward(None, x)))
