"""All aliasing that PyTorch has: a program's results share memory with each other and with its inputs as the model's do.

A table of small models. Each runs six times on inputs of its own while every input and result is held; at the end all of them
equal the eager model's bit for bit and lie in memory in the same pattern; and explain() names the owner of each result.
"""

from __future__ import annotations

import functools
import re
import tempfile
from collections.abc import Callable, Sequence

import pytest
import torch
from tenure.prepare import decompose
from torch import nn
from torch.nn import functional as F
from torch.utils import _pytree as pytree

import tenure

library = torch.library.Library("tenure_hidden", "DEF")


def define(schema: str, run: Callable, fake: Callable) -> None:
    """An operator whose schema admits to no alias."""
    name = schema.split("(")[0]
    library.define(schema)
    library.impl(name, run, "CPU")
    torch.library.register_fake(f"tenure_hidden::{name}", fake, lib=library)


define("same(Tensor x) -> Tensor", lambda x: x, torch.empty_like)
define("window(Tensor x) -> Tensor", lambda x: x[1:], lambda x: x[1:].clone())
define("halves(Tensor x) -> (Tensor, Tensor)", lambda x: (x[:2], x[2:]), lambda x: (x[:2].clone(), x[2:].clone()))
define("rows(Tensor x) -> Tensor[]", lambda x: list(x), lambda x: [row.clone() for row in x])
define("sometimes(Tensor x) -> Tensor", lambda x: x if x.flatten()[0] > 0 else x.clone(), torch.empty_like)
define("either(Tensor x, Tensor y) -> Tensor", lambda x, y: x if x.flatten()[0] > 0 else y, lambda x, y: torch.empty_like(x))
hidden = torch.ops.tenure_hidden


class Model(nn.Module):
    """forward(self, *args) is the function given; it may use a buffer `w`, a parameter `p` and a constant `c`."""

    def __init__(self, forward):
        super().__init__()
        torch.manual_seed(0)
        self.function = forward
        self.register_buffer("w", torch.randn(4, 6))
        self.p = nn.Parameter(torch.randn(4, 6), requires_grad=False)
        self.c = torch.arange(6.0)

    def forward(self, *args):
        return self.function(self, *args)


CASES: dict[str, Callable] = {
    "a chain of views": lambda m, x: (x * 2).view(24).view(2, 12).t()[3:],
    "a chain of views that stays inside": lambda m, x: (x * 2).view(24).view(2, 12).t()[3:].cos().sum(),
    "every link of a chain": lambda m, x: [y := x.sin(), z := y.view(24), z[3:]],
    "a link of a chain, the rest inside": lambda m, x: (y := x.sin().view(24), y.view(4, 6).cos()),
    "a mixed chain and its base": lambda m, x: (y := x.sin(), y.t()[1:].unsqueeze(0)),
    "as_strided": lambda m, x: x.sin().as_strided((3, 2), (6, 1), 2),
    "as_strided that overlaps itself": lambda m, x: x.sin().as_strided((4, 3), (1, 1), 0),
    "as_strided of an input": lambda m, x: x.as_strided((3, 2), (6, 1), 2),
    "as_strided of a view, and the base": lambda m, x: (y := x.sin(), y[1:].as_strided((2, 2), (6, 1), 1)),
    "expand": lambda m, x: x.sum(1, keepdim=True).expand(4, 6),
    "expand and its base": lambda m, x: (y := x.sum(1, keepdim=True), y.expand(4, 6)),
    "expand that stays inside": lambda m, x: x.sum(1, keepdim=True).expand(4, 6) * x,
    "expand of an input": lambda m, x: (x.broadcast_to(2, 4, 6), x[0].expand(3, 6)),
    "views of all kinds": lambda m, x: [
        y := x.sin(),
        *(y.select(0, 1), y.narrow(1, 2, 3), y.diagonal(), y.unfold(0, 2, 1), y.movedim(0, 1), y.mT, y.view_as(x), y[None, :, 3]),
        *(y.unflatten(1, (2, 3)), y.permute(1, 0), y.squeeze(), y.expand_as(x), y[1, 2], y.view(torch.int32), +y),
    ],
    "views of one tensor without it": lambda m, x: ((y := x.sin())[0], y[1:], *y.unbind(1)),
    "a view without elements": lambda m, x: ((y := x.sin())[4:], y),
    "a scalar and its views": lambda m, x: (y := x.sum(), y.view(1), y.expand(3)),
    "reshape as a view": lambda m, x: x.sin().reshape(24),
    "reshape as a view, and its base": lambda m, x: (y := x.sin(), y.reshape(2, 12), y.reshape(24).flatten().ravel()),
    "reshape as a copy": lambda m, x: x.sin().t().reshape(24),
    "reshape as a copy, and its base": lambda m, x: (y := x.sin(), y.t().reshape(24), y.t().flatten()),
    "reshape both ways, without the base": lambda m, x: ((y := x.sin()).reshape(24), y.view(2, 12), y.t().reshape(24)),
    "reshape of an input": lambda m, x: (x.reshape(24), x.t().reshape(24)),
    "contiguous": lambda m, x: ((y := x.sin()).contiguous(), y.t().contiguous(), y.contiguous().view(24)),
    "contiguous that stays inside": lambda m, x: (x.sin().contiguous().cos(), x.cos().t().contiguous().sin()),
    "contiguous of an input": lambda m, x: (x.contiguous(), x.t().contiguous()),
    "to": lambda m, x: (y := x.sin(), y.to(torch.float32), y.to(torch.float64), y.to(torch.float32, copy=True), y.type_as(x)),
    "to that stays inside": lambda m, x: x.sin().to(torch.float32).cos().to(torch.float64).sin(),
    "to of an input": lambda m, x: (x.to(torch.float32), x.to("cpu"), x.float(), x.double(), x.type_as(x)),
    "split": lambda m, x: x.sin().split(2),
    "split, some returned and some kept": lambda m, x: ((p := x.sin().split([1, 2, 1]))[0], p[1].cos(), p[2].t()),
    "split that stays inside": lambda m, x: torch.cat([p.cos() for p in x.sin().split(2, dim=1)]),
    "split of an input": lambda m, x: (*x.split(2), *x.unbind()),
    "chunk, one returned": lambda m, x: ((p := x.sin().chunk(3, 1))[2], p[0].contiguous() + p[1]),
    "chunk, then views": lambda m, x: x.sin().chunk(2)[1].view(12).unsqueeze(0),
    "tensor_split, hsplit, vsplit": lambda m, x: (x.sin().tensor_split(3, 1), torch.hsplit(x.cos(), 2), torch.vsplit(x.tan(), 2)),
    "the input": lambda m, x: x,
    "the input, twice and as views": lambda m, x: (x, x, x.t(), x[1:], x.view(torch.int32)),
    "the input beside a result": lambda m, x: (x, x.sin()),
    "a weight": lambda m, x: (m.w, m.w[1:], x + m.w),
    "a parameter": lambda m, x: (m.p, m.p.t()),
    "a constant": lambda m, x: (m.c, m.c[1:], x[0] + m.c),
    "a constant made in the model": lambda m, x: (y := torch.tensor([1.0, 2.0]), y[1:], x.sin()),
    "constants of factories": lambda m, x: (torch.ones(3), torch.arange(4)[1:], torch.zeros(2).expand(3, 2)),
    "two results on one storage": lambda m, x: (y := x.sin(), y[0], y.view(24), y.t()),
    "the same value twice": lambda m, x: (y := x.sin(), y, [y]),
    "the same view twice": lambda m, x: (y := x.sin()[1:], y),
    "detach": lambda m, x: (y := x.sin(), y.detach(), y[1:].detach()),
    "detach of an input": lambda m, x: (x.detach(), x.detach()[1:]),
    "a complex number as reals": lambda m, x: (z := torch.complex(x.sin(), x), z.real, z.imag, torch.view_as_real(z)),
    "reals as a complex number": lambda m, x: torch.view_as_complex(x.sin().view(4, 3, 2)),
    "an input as complex numbers": lambda m, x: (
        torch.view_as_complex(x.view(4, 3, 2)),
        torch.view_as_complex(x.view(4, 3, 2)).imag,
    ),
    "a conjugate that is pending": lambda m, x: (z := torch.complex(x.sin(), x), z.conj(), z.conj().imag),
    "a conjugate, resolved or not": lambda m, x: ((z := torch.complex(x.sin(), x)).conj().resolve_conj(), z.resolve_conj()),
    "a negation that is pending": lambda m, x: (torch._neg_view(x.sin()), torch._neg_view(x)),
    "the real part of a real": lambda m, x: torch.real(x.sin()),
    "operators that may return their operand": lambda m, x: [
        *(y := x.sin(), F.dropout(y, 0.5, training=False), y.sum_to_size(4, 6), y.sum_to_size(1, 6)),
        *(torch.atleast_2d(y), torch.atleast_3d(y), F.dropout(x, 0.5, training=False)),
    ],
    "operators that broadcast several": lambda m, x: (
        *torch.broadcast_tensors(x.sin(), x.cos()[0]),
        *torch.meshgrid(x[0].sin(), x[1].cos(), indexing="ij"),
    ),
    "results of operators with several": lambda m, x: ((p := x.topk(2))[0], p[1][1:], x.max(0)[1] + 1),
}


def case(function: Callable) -> Callable:
    """Into the table, under the function's name."""
    CASES[function.__name__.replace("_", " ")] = function
    return function


@case
def in_place_on_an_intermediate(m, x):
    y = x * 2
    y.add_(1)
    y[0].mul_(3)
    return y, y[1:]


@case
def in_place_through_a_view(m, x):
    y = x * 2
    y.view(24)[5:].relu_()
    return y


@case
def in_place_on_what_stays_inside(m, x):
    y = x * 2
    z = y.cos()
    y.t().add_(z.t())
    return y.sin()


@case
def in_place_on_a_chunk(m, x):
    a, b = (x * 2).chunk(2)
    a.add_(b)
    return b, a.cos()


@case
def in_place_between_halves(m, x):
    y = x.sin()
    a, b = y[:2], y[2:]
    t = a.clone()
    a.copy_(b)
    b.copy_(t)
    return y


@case
def in_place_on_what_overlaps(m, x):
    y = x.sin()
    y[1:] += y[:1]
    return y, y[1:]


@case
def in_place_on_results(m, x):
    y = x + 1
    r = y.relu_()
    return y, r, r.clamp_(max=1.0)


@case
def in_place_on_a_detached_result(m, x):
    y = x.sin()
    return y, y.detach().add_(1)


@case
def in_place_after_the_last_read(m, x):
    y = x.sin()
    z = y + 1
    y.zero_()
    return z, y


@case
def a_view_read_after_a_write_to_its_base(m, x):
    y = x.sin()
    v = y[0]
    y.add_(1)
    return v, y.cos()


@case
def in_place_by_indices_and_masks(m, x):
    y = x.sin()
    y[torch.tensor([0, 2])] = 1.5
    y[:, 1] = x[:, 0]
    y[x > 0.5] = -1
    v = y.as_strided((2, 2), (6, 1), 7)
    v.fill_(9)
    y.masked_fill_(x > 1, 4)
    return y, v


@case
def in_place_by_scatter(m, x):
    y = torch.zeros_like(x)
    y.scatter_(1, (x > 0).long(), x)
    y.index_add_(0, torch.tensor([0, 1]), x[2:])
    return y


@case
def in_place_on_pieces(m, x):
    y = torch.empty(2, 4, 6)
    y[0] = x
    y[1].copy_(x.t().contiguous().t())
    return y.unbind()


@case
def in_place_by_out_arguments_and_lists(m, x):
    y = torch.empty_like(x)
    torch.add(x, 1, out=y)
    a, b = x.sin(), x.cos()
    torch._foreach_add_([a, b[1:]], 1.0)
    return y, y[2], a, b


@case
def in_place_on_the_input(m, x):
    x.mul_(2)
    return x.sum()


@case
def in_place_on_parts_of_the_input(m, x):
    x[1].add_(1)
    x[:, 2:4].t().mul_(3)
    return x.sin()


@case
def in_place_on_the_input_that_is_returned(m, x):
    x.add_(1)
    return x, x.cos()


@case
def in_place_on_the_input_of_which_a_view_is_returned(m, x):
    x.add_(1)
    return x[1:], x.cos()


@case
def in_place_on_the_input_and_then_on_what_it_got(m, x):
    y = x.sin()
    x.copy_(y)
    y.add_(1)
    return y


@case
def sizes_changed_in_place(m, x):
    y = x.sin()
    z = y.view(24)
    y.transpose_(0, 1)
    y.squeeze_()
    return y, z, y.cos(), x.detach().t_(), x.cos().resize_(2, 3)


@case
def a_tensor_set_to_anothers_memory(m, x):
    y, z = x.sin(), x.cos()
    z.set_(y)
    return z, y, x.tan().set_(x)


HIDDEN: dict[str, Callable] = {
    "the operand": lambda m, x: hidden.same(x.sin()),
    "the operand, which is returned too": lambda m, x: (y := x.sin(), hidden.same(y)),
    "a view of the operand": lambda m, x: (hidden.window(x.sin()), x.cos()),
    "a view of the operand, which is returned too": lambda m, x: (y := x.sin(), hidden.window(y), x.cos()),
    "two views": lambda m, x: (hidden.halves(x.sin()), x.cos()),
    "a list of views": lambda m, x: hidden.rows(x.sin()),
    "a view that is viewed again": lambda m, x: hidden.same(x.sin()).view(24)[3:],
    "what stays inside": lambda m, x: hidden.window(x.sin()).cos(),
    "what stays inside and is read late": lambda m, x: (v := hidden.same(x.sin()), x.cos().exp().tanh().abs() + v)[1],
    "the input": lambda m, x: hidden.same(x),
    "a view of the input": lambda m, x: hidden.window(x),
    "a weight": lambda m, x: (hidden.same(m.w), x + m.w),
}
CASES |= {f"a hidden alias: {name}": forward for name, forward in HIDDEN.items()}


# Where the decomposed graph, from which Tenure compiles, has a copy for what is an alias in the model's own.
COPIED_BY_TORCH_EXPORT = {
    "operators that may return their operand": "dropout",
    "in place on the input of which a view is returned": "a view of the input's new value, which is written back",
}


@functools.cache
def exported(name: str) -> torch.export.ExportedProgram:
    return torch.export.export(Model(CASES[name]), (torch.randn(4, 6),))


@functools.cache
def program_for(name: str, kind: str) -> tenure.Program:
    return make(exported(name), kind)


def make(program: torch.export.ExportedProgram, kind: str) -> tenure.Program:
    """A file of torch.export.save ("plain"), or compiled with the null engine for every operator that it takes ("engines")."""
    if kind == "engines":
        return tenure.compile(program, backend="null", min_block_size=1)
    with tempfile.TemporaryDirectory() as folder:
        torch.export.save(program, f"{folder}/plain.pt2")
        return tenure.load(f"{folder}/plain.pt2")


on_both = pytest.mark.parametrize("kind", ["plain", "engines"])


def calls(run: Callable, runs: int = 6) -> list[tuple[torch.Tensor, list[torch.Tensor]]]:
    """Of each call its input and its results, all held."""
    generator = torch.Generator().manual_seed(3)
    inputs = [torch.randn(4, 6, generator=generator) for _ in range(runs)]
    return [(x, pytree.tree_leaves(run(x))) for x in inputs]


def flat(held: Sequence[tuple[torch.Tensor, list[torch.Tensor]]]) -> list[torch.Tensor]:
    return [tensor for x, results in held for tensor in (x, *results)]


def storage(tensor: torch.Tensor) -> int | None:
    return tensor.untyped_storage().data_ptr() if tensor.numel() else None


def layout(tensor: torch.Tensor) -> tuple:
    strides = [stride for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1 and tensor.numel()]
    return tensor.dtype, tuple(tensor.shape), strides, tensor.is_conj(), tensor.is_neg()


def memory_pattern(tensors: Sequence[torch.Tensor]) -> list[tuple]:
    """Of each tensor: which of the storages it is on, in order of appearance, and how far from the first tensor there."""
    first: dict[int, tuple[int, int]] = {}
    pattern = []
    for tensor in tensors:
        if storage(tensor) is None:
            pattern.append(())
            continue
        number, start = first.setdefault(storage(tensor), (len(first), tensor.data_ptr()))
        pattern.append((number, tensor.data_ptr() - start))
    return pattern


def assert_same_bits(got: Sequence[torch.Tensor], want: Sequence[torch.Tensor]) -> None:
    for a, b in zip(got, want, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert torch.equal(a, b)


@on_both
@pytest.mark.parametrize("name", CASES)
def test_results_have_eagers_values_and_eagers_aliases(name, kind):
    got, eager = flat(calls(program_for(name, kind))), flat(calls(Model(CASES[name])))
    assert_same_bits(got, eager)
    copied = kind == "engines" and name in COPIED_BY_TORCH_EXPORT
    assert memory_pattern(got) == memory_pattern(flat(calls(decompose(exported(name)).module())) if copied else eager)
    if kind == "plain":  # an engine's outputs are dense
        assert list(map(layout, got)) == list(map(layout, eager))


def root_of(values: dict[str, object], name: str):
    """The owner at the end of the views, as explain() tells them."""
    value = values[name]
    while value.ownership == "view":
        said, where = re.fullmatch(r"(view of|memory made by) (\w+)", value.where).groups()
        if said == "view of" or where in values:
            value = values[where]
        else:  # an engine call or an operator with several results
            (value,) = (other for other in values.values() if other.node == where)
    return value


@on_both
@pytest.mark.filterwarnings("ignore:The given buffer is not writable:UserWarning")
@pytest.mark.parametrize("name", CASES)
def test_explain_names_the_owner_of_each_result_and_the_way_it_leaves(name, kind, tmp_path):
    program = program_for(name, kind)
    program.save(tmp_path / "model.pt2")
    names = torch.export.load(tmp_path / "model.pt2").graph_signature.user_outputs
    held = calls(program)
    (_, others), (x, results) = held[-2:]
    values = {value.value: value for value in program.explain().values}
    roots = [root_of(values, result) for result in names]
    for k, (root, result) in enumerate(zip(roots, results, strict=True)):
        if storage(result) is None:
            continue
        if storage(result) == storage(x):
            assert (root.ownership, root.where) == ("borrowed", "caller") or "content of the caller's input" in root.reason
        elif storage(result) == storage(others[k]):
            assert (root.ownership, root.where) == ("borrowed", "weight")
        else:
            assert root.ownership in ("leased", "fresh"), root
        sharing = {roots[other].value for other in range(len(results)) if storage(results[other]) == storage(result)}
        assert sharing == {root.value}
        leaving = [other for other in range(len(results)) if roots[other].value == root.value]
        ways = [f"output {other}" if root.value == names[other] else f"through {names[other]}" for other in leaving]
        assert root.ownership == "borrowed" or any(way in root.reason for way in ways), (root.reason, ways)
    for result in names:
        assert values[result].ownership == "borrowed" or "returned to the caller" in values[result].reason, values[result]


def test_a_chain_of_views_is_told_link_by_link():
    program = program_for("a chain of views", "plain")
    program(torch.randn(4, 6))
    reasons = {value.value: value.reason for value in program.explain().values}
    assert reasons["mul"] == "returned to the caller as output 0 through slice_1, t, view_1, view"
    assert reasons["t"] == "shares the memory of view_1; returned to the caller as output 0 through slice_1"
    program = program_for("a chain of views that stays inside", "plain")
    program(torch.randn(4, 6))
    values = {value.value: value for value in program.explain().values}
    assert (values["mul"].ownership, values["mul"].reason) == ("standing", "never leaves the program; last used by cos")


@pytest.mark.parametrize(
    ("name", "copy", "base"), [("reshape as a copy", "reshape", "sin"), ("to that stays inside", "to_1", "cos")]
)
def test_a_conditional_view_that_was_a_copy_is_told_as_memory_of_its_own(name, copy, base):
    program = program_for(name, "plain")
    program(torch.randn(4, 6))
    values = {value.value: value for value in program.explain().values}
    assert "for these sizes it is memory of its own" in values[copy].reason
    assert not values[base].reason.startswith("returned to the caller"), "it is not, for these sizes"


@on_both
@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("a hidden alias")])
def test_a_hidden_alias_is_told_as_one(name, kind):
    program = program_for(name, kind)
    program(torch.randn(4, 6))
    made = [value for value in program.explain().values if value.target.startswith("tenure_hidden::")]
    assert made
    assert all("schema hides" in value.reason for value in made)


def test_conditional_views_follow_the_strides_of_each_call():
    """One program, both outcomes in turn: a view for an input that is contiguous, a copy for one that is not."""

    def forward(m, x):
        y = x.sin()
        return x.reshape(36), y.reshape(36), y.t().reshape(36), y.t().flatten(), x.to(torch.float32), y[1:].view_as(x[1:])

    def held(run):
        generator = torch.Generator().manual_seed(4)
        xs = [torch.randn(6, 6, generator=generator) for _ in range(8)]
        return flat([(x, run(x)) for x in [x.t() if step % 2 else x for step, x in enumerate(xs)]])

    got, eager = held(make(torch.export.export(Model(forward), (torch.randn(6, 6),)), "plain")), held(Model(forward))
    assert_same_bits(got, eager)
    assert list(map(layout, got)) == list(map(layout, eager))
    assert memory_pattern(got) == memory_pattern(eager)


SOMETIMES: dict[str, Callable] = {
    "returned": lambda m, x: hidden.sometimes(x.sin()),
    "returned beside its operand": lambda m, x: (y := x.sin(), hidden.sometimes(y)),
    "read at once": lambda m, x: hidden.sometimes(x.sin()).cos(),
    "read late": lambda m, x: (v := hidden.sometimes(x.sin()), w := x.cos().exp().tanh().abs().sqrt(), v + w)[1:],
    "one of two, read late": lambda m, x: (v := hidden.either(x.sin(), x.cos()), x.exp().tanh().abs() + v)[1],
    "the input": lambda m, x: (hidden.sometimes(x), x + 1),
}


@on_both
@pytest.mark.parametrize("name", SOMETIMES)
def test_a_hidden_alias_that_the_observing_run_did_not_show_is_caught_when_it_appears(name, kind):
    """The operator returns its operand or a copy, as the data has it."""
    export = torch.export.export(Model(SOMETIMES[name]), (torch.ones(4, 6),))
    program = make(export, kind)
    got, eager = flat(calls(program, 12)), flat(calls(Model(SOMETIMES[name]), 12))
    assert_same_bits(got, eager)
    assert memory_pattern(got) == memory_pattern(eager)
    assert program.stats().replays > 0


@on_both
def test_results_may_be_the_next_inputs(kind):
    def forward(m, x):
        y = x.sin() + m.w
        return y.view(2, 2, 6)[1], y, x

    def held(run):
        calls, x = [], torch.linspace(-1, 1, 24).view(4, 6)
        for _ in range(20):
            calls.append((x, run(x)))
            x = calls[-1][1][1]
        return flat(calls)

    got, eager = held(make(torch.export.export(Model(forward), (torch.randn(4, 6),)), kind)), held(Model(forward))
    assert_same_bits(got, eager)
    assert memory_pattern(got) == memory_pattern(eager)


def test_inputs_that_share_memory_see_one_anothers_changes():
    def forward(m, x, y):
        x.add_(1)
        return y.sin(), y, x[0] * y[0]

    program = make(torch.export.export(Model(forward), (torch.randn(4, 6), torch.randn(4, 6))), "plain")

    def held(run):
        calls = []
        for step in range(6):
            x = torch.linspace(-1, step, 30)
            calls.append((x, run(x[:24].view(4, 6), x[6:].view(4, 6))))
        return flat(calls)

    got, eager = held(program), held(Model(forward))
    assert_same_bits(got, eager)
    assert memory_pattern(got) == memory_pattern(eager)


def reading_before_and_after(m, x):
    before = m.w[0]
    m.w.mul_(2)
    m.w[1:3].add_(x[1:3])
    return before, m.w.cos()


STATE: dict[str, Callable] = {
    "the buffer": lambda m, x: m.w.add_(x),
    "a view of the buffer": lambda m, x: (m.w.add_(x), m.w[1:], m.w.t())[1:],
    "the buffer twice": lambda m, x: (m.w.add_(x), m.w, m.w * 2),
    "a view from before the change": reading_before_and_after,
    "the buffer by a hidden alias": lambda m, x: (m.w.add_(x).cos(), hidden.same(m.w)),
    "the input, which becomes the state": lambda m, x: (m.w.copy_(x).cos(), x),
}


@on_both
@pytest.mark.parametrize("name", STATE)
def test_a_result_that_is_state_is_a_copy_that_later_runs_do_not_change(name, kind):
    model, program = Model(STATE[name]), make(torch.export.export(Model(STATE[name]), (torch.randn(4, 6),)), kind)
    held = calls(program)
    snapshots = calls(lambda x: [leaf.clone() for leaf in pytree.tree_leaves(model(x))])
    assert_same_bits(flat(held), flat(snapshots))
    runs_of = {}
    for run, (_, results) in enumerate(held):
        for result in results:
            runs_of.setdefault(storage(result), set()).add(run)
    assert all(len(runs) == 1 for runs in runs_of.values()), "no two runs' results lie on one storage"
