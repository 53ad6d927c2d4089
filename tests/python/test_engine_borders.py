"""What an engine does not see, its argument's strides, storage and hidden state, makes no difference to what a caller sees."""

from __future__ import annotations

import pytest
import torch
import torchvision
from function_module import Function
from torch import nn

import tenure


def compiled(model: nn.Module, *args, dynamic_shapes=None) -> tenure.Program:
    return tenure.compile(model, args, dynamic_shapes=dynamic_shapes, backend="null", min_block_size=1)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 1)).eval()


def test_results_in_channels_last_stay_so_and_are_not_copied_outside_the_engine():
    model, x = net().to(memory_format=torch.channels_last), torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last)
    program = compiled(model, x)
    for _ in range(4):
        result = program(x)
    assert result.stride() == model(x).stride() == (180, 1, 30, 5)
    assert torch.equal(result, model(x))
    del result
    program(x)
    stats = program.stats()
    assert (stats.engine_blocks, stats.last_run_allocations) == (1, 0)
    owners = [value.ownership for value in program.explain().values if not value.value.startswith("scratch of")]
    assert sorted(owners) == ["borrowed", "leased", "view"], "the input, the engine's output and its permuted view"


def test_between_two_engines_tensors_stay_in_the_order_that_engines_take():
    first, second = net().to(memory_format=torch.channels_last), nn.Conv2d(5, 2, 1).to(memory_format=torch.channels_last).eval()
    x = torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last)

    def forward(m, x):
        y = first(x)
        return second(y * torch.sinc(y).amax()).flatten(1)

    model = Function(forward)
    model.first, model.second = first, second
    program = tenure.compile(model, (x,), backend="null", min_block_size=1, torch_executed_ops=["aten.amax"])
    assert len(program.engines) == 2
    permuted = [value for value in program.explain().values if value.target == "aten::permute"]
    assert len(permuted) == 1, "what amax reads; the other tensor goes from engine to engine"
    assert torch.allclose(program(x), model(x), atol=1e-5)


def test_a_custom_operator_that_makes_dense_results_gets_a_dense_tensor():
    model, x = net().to(memory_format=torch.channels_last), torch.randn(1, 3, 8, 8).to(memory_format=torch.channels_last)
    boxes = [torch.tensor([[0.0, 0, 4, 4], [1, 1, 5, 6]])]
    forward = Function(lambda m, x: torchvision.ops.roi_align(m.net(x), boxes, 2))
    forward.net = model
    program = compiled(forward, x)
    for _ in range(3):
        result = program(x)
    assert "aten::permute" not in {value.target for value in program.explain().values}, "its kernel would copy it back"
    assert torch.allclose(result, forward(x), atol=1e-6)


@pytest.mark.parametrize("rows", [4, 7])
def test_a_transposed_result_has_eagers_strides_at_every_size(rows):
    model = Function(lambda m, x: (x.t() * 2, (x.t() + 1).t()))
    program = compiled(model, torch.randn(4, 6), dynamic_shapes=(({0: torch.export.Dim("rows")},),))
    x = torch.randn(rows, 6)
    for got, want in zip(program(x), model(x), strict=True):
        assert (got.stride(), got.shape) == (want.stride(), want.shape)
        assert torch.equal(got, want)


def test_what_addresses_the_storage_of_an_input_is_no_engines():
    """as_strided counts from the begin of the storage, which is not the begin of this input."""

    def forward(m, x):
        window = x.as_strided((3, 2), (2, 1), 1)
        window.masked_fill_(window > 0, 2)
        return x.reshape(-1) * 1

    def argument():
        return torch.linspace(-1, 1, 17)[1:].view(4, 4).data

    model, program = Function(forward), compiled(Function(forward), argument())
    for _ in range(3):
        ours, theirs = argument(), argument()
        assert torch.equal(program(ours), model(theirs))
        assert torch.equal(ours, theirs)


def test_a_result_has_the_strides_that_its_operator_gives_it_and_not_those_of_a_wrong_shape_rule():
    def forward(m, x):
        stretched = (x - x).expand(2, -1, -1, -1).unfold(0, 1, 2)
        return torch.maximum(stretched, (x + x).transpose(0, -1)[:, -3])

    model, x = Function(forward), torch.randn(4, 4, 3)
    told = torch.export.export(model, (x,)).graph.find_nodes(op="call_function", target=torch.ops.aten.maximum.default)
    result = compiled(model, x)(x)
    assert told[0].meta["val"].stride()[-1] != model(x).stride()[-1], "the rule is right now: find another operator"
    assert result.stride()[1:] == model(x).stride()[1:]
    assert torch.equal(result, model(x))


def test_observing_strides_draws_no_random_numbers_and_changes_no_state():
    def forward(m, x):
        m.norm(x)
        return torch.rand_like(x).t() + x.t()

    model, x = Function(forward), torch.randn(6, 4)
    model.norm = nn.BatchNorm1d(4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(5)
    program = compiled(model.train(), x)
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3))
    assert program.state_dict().keys() == {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}
    for state in (program.state_dict(), model.state_dict()):
        for name, value in state.items():
            assert torch.equal(value, before[name]), name


def test_state_that_is_returned_keeps_its_strides():
    def forward(m, x):
        turned, kept = m.state.permute(0, 2, 1), m.state.to(torch.float32)
        turned.masked_fill_(turned > x, 2)
        return kept

    model = Function(forward)
    model.register_buffer("state", torch.arange(12.0).remainder(5).reshape(3, 2, 2))
    x = torch.tensor(1.0)
    program = compiled(model, x)
    for _ in range(3):
        got, want = program(x), model(x)
        assert got.stride() == want.stride() == (4, 2, 1)
        assert torch.equal(got, want)


def test_a_copy_of_a_part_of_a_storage_is_addressed_as_eager_addresses_it():
    def forward(m, x, y):
        y[...] = x
        piece = y.as_strided((3, 1), (1, 1), 1)
        piece.ravel().add_(1)
        return torch.where(piece > 0, piece, -piece)

    model = Function(forward)
    program = compiled(model, torch.randn(4), torch.randn(4))
    x, storage = torch.tensor([1.0, -2.0, 3.0, -4.0]), torch.arange(7.0)
    ours, theirs = storage.clone(), storage.clone()
    got, want = program(x, ours[2:6]), model(x, theirs[2:6])
    assert torch.equal(got, want), "as_strided counts from the start of the storage, of which the input is a part"
    assert torch.equal(ours[2:6], theirs[2:6])


def test_an_engine_that_gets_an_expanded_input_dense_views_it_as_eager_does():
    model = Function(lambda m, x: x.expand(3, -1).view(-1).sin())
    x = torch.tensor([0.5]).expand(2)
    program = compiled(model, x)
    assert program.engines
    assert torch.equal(program(x), model(x))


@pytest.mark.parametrize(
    "norm",
    [
        lambda m, x: torch.instance_norm(x, None, None, m.mean, m.var, True, 0.1, 1e-5, False),
        lambda m, x: torch.batch_norm(x, None, None, m.mean, m.var, True, 0.1, 1e-5, False),
    ],
    ids=["instance_norm", "batch_norm"],
)
def test_running_statistics_that_a_schema_hides_are_kept(norm):
    def model() -> nn.Module:
        return Function(lambda m, x: norm(m, x.sin()).cos(), mean=torch.zeros(3), var=torch.ones(3))

    eager, program = model(), compiled(model(), torch.randn(2, 3, 8))
    for _ in range(3):
        x = torch.randn(2, 3, 8)
        assert torch.equal(program(x), eager(x))
    assert torch.equal(program.state_dict()["mean"], eager.mean)
    assert torch.equal(program.state_dict()["var"], eager.var)


def test_a_size_that_torch_export_tells_wrong_is_found_out():
    """torch.export thinks that (2, 1, n) seen as (n, 1, 2) and back has 2 * (n // 2) columns."""

    def forward(m, x):
        y = x.reshape(x.size(2), x.size(1), x.size(0))
        y.clamp_(-2, 3)
        return y

    model, x = Function(forward), torch.randn(1, 1, 6).expand(2, 1, 6)
    program = compiled(model, x, dynamic_shapes=(({2: torch.export.Dim("n", min=5, max=64)},),))
    for n in (6, 5, 11):
        x = torch.randn(1, 1, n).expand(2, 1, n)
        assert torch.equal(program(x), model(x))


def test_a_strided_input_is_written_where_it_lies(load_plain):
    program = load_plain(Function(lambda m, x: (x.mul_(2).add_(1), x[1:])), (torch.randn(4, 12)[:, ::2].data,))
    for _ in range(3):
        x = torch.randn(4, 12)[:, ::2]
        want = x * 2 + 1
        result, rest = program(x)
        assert result.data_ptr() == x.data_ptr()
        assert rest.stride() == x.stride()
        assert torch.equal(x, want)
        assert torch.equal(rest, want[1:])
