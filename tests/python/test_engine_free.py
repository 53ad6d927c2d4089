"""Writes that have no functional form: such programs get no engines, say why, and do what eager PyTorch does."""

from __future__ import annotations

import copy

import pytest
import torch
from function_module import Function
from torch.nn import functional as F

import tenure


def compiled(forward, *args, backend="null", **members):
    model = Function(forward, **copy.deepcopy(members))
    return tenure.compile(model, copy.deepcopy(args), backend=backend, min_block_size=1)


def expect_as_eager(forward, inputs, program, **members):
    """Results, and the arguments afterwards."""
    model = Function(forward, **copy.deepcopy(members))
    for x in inputs:
        theirs, ours = x.clone(memory_format=torch.preserve_format), x.clone(memory_format=torch.preserve_format)
        want, got = model(theirs), program(ours)
        for one, other in zip(*(each if isinstance(each, tuple) else (each,) for each in (want, got)), strict=True):
            assert torch.equal(one, other)
        assert torch.equal(theirs, ours)


def then(view, write):
    """A view is made of a new tensor, one of the two is written, the other read."""

    def forward(m, x):
        y = x * 2
        z = view(y)
        (y if write == "base" else z).add_(1)
        return (z if write == "base" else y) * 1

    return forward


HIDDEN = {
    "einsum": lambda y: torch.einsum("ij->ji", y),
    "meshgrid": lambda y: torch.meshgrid(y[0], y[1], indexing="ij")[0],
    "unsafe_chunk": lambda y: torch.unsafe_chunk(y, 2)[0],
    "unsafe_split": lambda y: torch.unsafe_split(y, 2)[0],
}
WRITES = [
    (name, write) for name in HIDDEN for write in ("base", "view") if (name, write) != ("meshgrid", "view")
]  # it overlaps itself


@pytest.mark.parametrize(("name", "write"), WRITES)
def test_a_write_behind_a_view_that_a_schema_hides(name, write):
    forward = then(HIDDEN[name], write)
    program = compiled(forward, torch.randn(4, 6))
    assert not program.engines
    assert "no engines: what add_ (aten.add_) writes may reach" in str(program.report)
    expect_as_eager(forward, [torch.randn(4, 6) for _ in range(4)], program)


@pytest.mark.parametrize("write", ["base", "view"])
@pytest.mark.parametrize("dropout", [F.dropout, F.alpha_dropout, F.dropout1d])
def test_dropout_in_inference_is_its_argument(dropout, write):
    forward = then(lambda y: dropout(y, 0.5, training=False), write)
    program = compiled(forward, torch.randn(4, 6))
    assert program.engines
    expect_as_eager(forward, [torch.randn(4, 6) for _ in range(4)], program)


@pytest.mark.parametrize(
    "view", [lambda y: F.dropout(y, 0.5, training=False), lambda y: torch.einsum("ij->ji", y), lambda y: torch.einsum("ii->i", y)]
)
@pytest.mark.parametrize("of", ["input", "value"])
def test_results_share_memory_as_in_eager_pytorch_though_a_schema_is_silent(view, of):
    def forward(m, x):
        y = x if of == "input" else x * 2
        return view(y), y, torch.relu(y) + 1

    program = compiled(forward, torch.randn(3, 3))
    assert program.engines
    x = torch.randn(3, 3)
    for _ in range(3):
        one, other, _ = program(x)
        assert one.data_ptr() == other.data_ptr()
        assert (other.data_ptr() == x.data_ptr()) == (of == "input")


def test_an_input_that_is_returned_after_a_write_through_a_view_is_the_input_itself():
    def forward(m, x):
        x.permute(0, 2, 1).add_(1)
        return x, x * 2

    program = compiled(forward, torch.zeros(2, 3, 4))
    assert program.engines
    for _ in range(3):
        x = torch.zeros(2, 3, 4)
        same, twice = program(x)
        assert same.data_ptr() == x.data_ptr()
        assert torch.equal(x, torch.ones(2, 3, 4))
        assert torch.equal(twice, 2 * x)


def test_what_a_hidden_view_sees_is_not_an_engines_copy():
    def forward(m, x):
        y = (x + 1).abs()
        windows = torch.broadcast_tensors(y.unfold(0, 2, 1), y.unfold(0, 2, 1))[0]
        padded = F.pad(x, (2, 1))
        return windows, y, torch.atleast_2d(padded), torch.meshgrid(padded.clone(), padded, indexing="ij")[0]

    program = compiled(forward, torch.ones(4))
    assert program.engines
    for _ in range(3):
        windows, y, padded, mesh = program(torch.ones(4))
        assert windows.data_ptr() == y.data_ptr()
        assert mesh.data_ptr() != padded.data_ptr()


def test_a_normalization_in_training_returns_a_value_of_its_own():
    forward = lambda m, x: (F.batch_norm(x * 1, torch.zeros(3) + x.sum(), torch.ones(3) * 1, training=True), x + 1)  # noqa: E731
    x = torch.arange(24.0).view(4, 3, 2)
    expect_as_eager(forward, [x] * 3, compiled(forward, x))


def test_a_copy_of_what_may_be_the_input_itself_is_a_copy():
    program = compiled(lambda m, x: (x.sum_to_size(x.shape).clone(), x * 2), torch.ones(3))
    x = torch.ones(3)
    assert program(x)[0].data_ptr() != x.data_ptr()


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a.expand_as(a)[0],
        lambda a: a.unfold(0, 1, 2),
        lambda a: a.unfold(0, 2, 1)[0],
        lambda a: torch.broadcast_tensors(a, a)[0],
    ],
)
def test_a_write_through_a_view_that_has_no_exact_functional_form_is_exact(view):
    def forward(m, x):
        a = x + 0
        view(a).fill_(0.1)
        return a * 1

    program = compiled(forward, torch.ones(3, 3))
    assert "writes through an expanded or unfolded view" in str(program.report)
    expect_as_eager(forward, [torch.full((3, 3), 1e8)], program)
    torch._dynamo.reset()
    fast = torch.compile(Function(forward), backend="tenure", options={"backend": "null", "min_block_size": 1})
    with torch.no_grad():
        assert torch.equal(fast(torch.full((3, 3), 1e8)), Function(forward)(torch.full((3, 3), 1e8)))


@pytest.mark.parametrize(
    "forward", [lambda m, x: (x.ravel(), x * 2), lambda m, x: (torch.meshgrid(x.ravel(), x.ravel(), indexing="ij")[1], x * 2)]
)
def test_a_view_of_an_input_is_returned_where_eager_pytorch_returns_one(forward):
    program = compiled(forward, torch.ones(4))
    assert "it returns a view of an input, or of a copy" in str(program.report)
    for x in (torch.ones(4), torch.ones(8)[::2]):
        assert (program(x)[0].data_ptr() == x.data_ptr()) == (forward(None, x)[0].data_ptr() == x.data_ptr())


@pytest.mark.parametrize("equation", ["ij->i", "ii", "ij,jk->ik"])
def test_an_einsum_that_computes_goes_into_an_engine(equation):
    forward = lambda m, x: torch.einsum(equation, *[x + 1] * (1 + equation.count(",")))  # noqa: E731
    report = compiled(forward, torch.ones(3, 3)).report
    assert "its result is its argument" not in str(report), str(report)


def test_what_an_as_strided_addresses_behind_a_reshape_depends_on_the_inputs_strides():
    def forward(m, x):
        return x.ravel().as_strided((3, 1), (1, 1), 0) * 2

    program = compiled(forward, torch.arange(6.0))
    assert not program.engines
    assert "no engines: as_strided (aten.as_strided) addresses the memory" in str(program.report)
    expect_as_eager(forward, [torch.arange(6.0), torch.arange(12.0)[::2]], program)


def test_an_as_strided_sees_what_is_behind_a_hidden_view():
    def forward(m, x):
        y = x * 2
        return torch.unsafe_chunk(y, 2, 0)[1].as_strided((6,), (1,), 0) + 0

    expect_as_eager(forward, [torch.arange(6.0).view(2, 3)], compiled(forward, torch.arange(6.0).view(2, 3)))


@pytest.mark.parametrize("name", ["einsum", "unsafe_split"])
def test_torch_compile_runs_such_a_graph_as_eager_pytorch(name):
    torch._dynamo.reset()
    forward, x = then(HIDDEN[name], "base"), torch.randn(4, 6)
    fast = torch.compile(Function(forward), backend="tenure", options={"backend": "null", "min_block_size": 1})
    with torch.no_grad():
        assert torch.equal(fast(x), Function(forward)(x))


def reshaped_input(m, x):
    y = x.reshape(24)
    y.mul_(3)
    return y[1:] + 0


def flattened_input(m, x):
    x.flatten().add_(1)
    return x * 2


def reshaped_value(m, x):
    a = x * 2
    a.reshape(24).mul_(2)
    return a + 0


def read_before_and_after(m, x):
    a = x * 2
    y = a.reshape(24)
    a.add_(1)
    return y * 1, a * 1


def of_a_buffer(m, x):
    m.kept.reshape(24).add_(x.flatten())
    return m.kept * 1


DENSE, STRIDED = torch.randn(4, 6), torch.randn(6, 4).t()


@pytest.mark.parametrize("sample", [DENSE, STRIDED], ids=["dense", "strided"])
@pytest.mark.parametrize("forward", [reshaped_input, flattened_input, reshaped_value, read_before_and_after, of_a_buffer])
def test_a_write_that_reaches_as_far_as_the_strides_of_the_inputs_let_it(forward, sample):
    members = {"kept": torch.randn(6, 4).t()} if forward is of_a_buffer else {}
    program = compiled(forward, sample, **members)
    assert not program.engines
    assert "no engines" in str(program.report)
    inputs = [torch.randn(4, 6) if k % 2 else torch.randn(6, 4).t() for k in range(6)]
    if forward is of_a_buffer:
        inputs = inputs[:1]  # what eager does to the buffer then decides the next
    expect_as_eager(forward, inputs, program, **members)


def test_a_view_of_an_input_that_is_changed_stays_a_view():
    def forward(m, x):
        x.add_(1)
        return x[1:], x.sin()

    program = compiled(forward, torch.randn(4, 6))
    assert "returns a view of an input that it changes" in str(program.report)
    for _ in range(3):
        x = torch.randn(4, 6)
        view, _ = program(x)
        assert view.data_ptr() == x[1:].data_ptr()


def squeezed(m, x):
    x.squeeze_(0)
    return x * 2


def squeezed_after_a_write(m, x):
    """Whose functional form would leave the sizes of the input."""
    y = x.contiguous()
    y.mul_(3)
    y.squeeze_()
    return x.abs()


@pytest.mark.parametrize("forward", [squeezed, squeezed_after_a_write])
def test_an_input_that_gets_other_sizes_in_place_gets_them(forward):
    program = compiled(forward, torch.randn(1, 6))
    assert "gives an input other sizes or strides, in place" in str(program.report)
    for _ in range(4):
        x, y = torch.randn(1, 6), torch.randn(1, 6)
        y.copy_(x)
        assert torch.equal(program(x), Function(forward)(y))
        assert x.shape == y.shape


def test_a_buffer_that_gets_other_sizes_in_place_gets_them_through_what_returns_it():
    def forward(m, x):
        seen = m.kept + x
        same = m.kept.to(torch.float32)
        same.mul_(2)
        same.squeeze_()
        return seen, same * 1

    program, model = compiled(forward, torch.zeros(()), kept=torch.ones(1)), Function(forward, kept=torch.ones(1))
    for _ in range(4):
        for got, want in zip(program(torch.zeros(())), model(torch.zeros(())), strict=True):
            assert got.shape == want.shape
            assert torch.equal(got, want)


def test_what_torch_export_cannot_bring_into_functional_form_runs_as_it_is():
    def forward(m, x):
        m.kept.add_(1)
        return m.twin * x

    class Tied(Function):
        def __init__(self):
            super().__init__(forward, kept=torch.zeros(6))
            self.register_buffer("twin", self.kept)

    program = tenure.compile(Tied(), (torch.randn(6),), backend="null", min_block_size=1)
    model = Tied()
    for _ in range(4):
        x = torch.randn(6)
        assert torch.equal(program(x), model(x))


def written_and_not_seen_elsewhere(m, x):
    h = (x + 1).flatten(1)
    h.relu_()
    return h.sum(1)


def residual_of_a_dropout(m, x):
    h = F.dropout(x * 2, 0.1, training=False)
    h += x
    return h.relu()


def conversions_to_the_same(m, x):
    y = (x * 2).to(torch.float32)
    y /= 3
    return y.reshape(-1) + 1


@pytest.mark.parametrize("forward", [written_and_not_seen_elsewhere, residual_of_a_dropout, conversions_to_the_same])
def test_where_nobody_else_sees_what_is_written_there_are_engines(forward):
    program = compiled(forward, torch.randn(4, 6))
    assert program.engines, str(program.report)
    small = torch.arange(-12.0, 12.0)  # sums are exact in any order
    expect_as_eager(forward, [small.view(4, 6) if k % 2 else small.view(6, 4).t() for k in range(4)], program)
