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
from aliasing_cases import CASES, Model, hidden
from function_module import Function
from places import CUDA, at
from tenure.prepare import decompose
from torch.utils import _pytree as pytree

import tenure

# Where the decomposed graph, from which Tenure compiles, has a copy for what is an alias in the model's own.
COPIED_BY_TORCH_EXPORT = {
    "operators that may return their operand": "dropout",
}


@functools.cache
def exported(name: str, device: str = "cpu") -> torch.export.ExportedProgram:
    return export(CASES[name], device)


def export(forward: Callable, device: str = "cpu") -> torch.export.ExportedProgram:
    return torch.export.export(Model(forward, device), (torch.randn(4, 6, device=device),))


@functools.cache
def program_for(name: str, kind: str, device: str = "cpu") -> tenure.Program:
    return make(exported(name, device), kind)


def make(program: torch.export.ExportedProgram, kind: str) -> tenure.Program:
    """A file of torch.export.save ("plain"), or compiled with the null engine for every operator that it takes ("engines")."""
    if kind == "engines":
        return tenure.compile(program, backend="null", min_block_size=1)
    with tempfile.TemporaryDirectory() as folder:
        torch.export.save(program, f"{folder}/plain.pt2")
        return tenure.load(f"{folder}/plain.pt2")


on_both = pytest.mark.parametrize("kind", ["plain", "engines"])
on_each_device = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=at(CUDA).marks)])


def calls(run: Callable, runs: int = 6, device: str = "cpu") -> list[tuple[torch.Tensor, list[torch.Tensor]]]:
    """Of each call its input and its results, all held."""
    generator = torch.Generator().manual_seed(3)
    inputs = [torch.randn(4, 6, generator=generator).to(device) for _ in range(runs)]
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


@on_each_device
@on_both
@pytest.mark.parametrize("name", CASES)
def test_results_have_eagers_values_and_eagers_aliases(name, kind, device):
    got, eager = (flat(calls(run, device=device)) for run in (program_for(name, kind, device), Model(CASES[name], device)))
    assert_same_bits(got, eager)
    copied = kind == "engines" and name in COPIED_BY_TORCH_EXPORT
    assert memory_pattern(got) == memory_pattern(
        flat(calls(decompose(exported(name, device)).module(), device=device)) if copied else eager
    )
    assert copied or list(map(layout, got)) == list(map(layout, eager))


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


@on_each_device
@on_both
@pytest.mark.filterwarnings("ignore:The given buffer is not writable:UserWarning")
@pytest.mark.parametrize("name", CASES)
def test_explain_names_the_owner_of_each_result_and_the_way_it_leaves(name, kind, device, tmp_path):
    program = program_for(name, kind, device)
    program.save(tmp_path / "model.pt2")
    names = torch.export.load(tmp_path / "model.pt2").graph_signature.user_outputs
    held = calls(program, device=device)
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


@on_each_device
@on_both
@pytest.mark.parametrize("name", SOMETIMES)
def test_a_hidden_alias_that_the_observing_run_did_not_show_is_caught_when_it_appears(name, kind, device):
    """The operator returns its operand or a copy, as the data has it."""
    program = make(torch.export.export(Model(SOMETIMES[name], device), (torch.ones(4, 6, device=device),)), kind)
    got, eager = (flat(calls(run, 12, device)) for run in (program, Model(SOMETIMES[name], device)))
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


def copied_into_the_buffer(m, x):
    content = x.clamp(-1, 1)
    m.w.copy_(content)
    return content.unsqueeze(0), m.w, content[1:]


STATE: dict[str, Callable] = {
    "the buffer beside what was copied into it": copied_into_the_buffer,
    "the buffer, to which one row was broadcast": lambda m, x: (m.w.copy_(row := x[1].sin()), m.w[2], row),
    "the buffer, into which another dtype was copied": lambda m, x: (y := x.double() * 2, m.w.copy_(y), m.w.mT),
    "the buffer, into which another order was copied": lambda m, x: (m.w.copy_((x.t() * 2).t()), m.w.view(24)),
    "the buffer": lambda m, x: m.w.add_(x),
    "a view of the buffer": lambda m, x: (m.w.add_(x), m.w[1:], m.w.t())[1:],
    "the buffer twice": lambda m, x: (m.w.add_(x), m.w, m.w * 2),
    "a view from before the change": reading_before_and_after,
    "the buffer by a hidden alias": lambda m, x: (m.w.add_(x).cos(), hidden.same(m.w)),
    "the input, which becomes the state": lambda m, x: (m.w.copy_(x).cos(), x),
}


@on_each_device
@on_both
@pytest.mark.parametrize("name", STATE)
def test_a_result_that_is_state_is_a_copy_that_later_runs_do_not_change(name, kind, device):
    model, program = Model(STATE[name], device), make(export(STATE[name], device), kind)
    held = calls(program, device=device)
    snapshots = calls(lambda x: [leaf.clone() for leaf in pytree.tree_leaves(model(x))], device=device)
    assert_same_bits(flat(held), flat(snapshots))
    runs_of = {}
    for run, (_, results) in enumerate(held):
        for result in results:
            runs_of.setdefault(storage(result), set()).add(run)
    assert all(len(runs) == 1 for runs in runs_of.values()), "no two runs' results lie on one storage"


@pytest.mark.parametrize("kind", ["plain", "engines", "decomposed"])
def test_a_write_into_what_was_copied_into_a_buffer_changes_neither_the_buffer_nor_what_stands_for_it(kind):
    """torch.export's functional form has one value for both, unless it is told otherwise."""
    model = export(copied_into_the_buffer)
    program = make(model.run_decompositions({}), "plain") if kind == "decomposed" else make(model, kind)
    for x, (content, buffer, rows) in calls(program):
        want = x.clamp(-1, 1)
        content.fill_(7)
        assert torch.equal(buffer, want)
        buffer.fill_(8)
        assert torch.equal(content, torch.full((1, 4, 6), 7.0))
        assert torch.equal(rows, content[0, 1:]), "two views of one tensor"
    assert torch.equal(program.state_dict()["w"], want)


def test_a_write_into_a_piece_of_rows_that_overlap_is_the_eager_one():
    def forward(m, x):
        rows = x.as_strided((3, 8), (3, 1), 0)
        x.mul_(0.5)
        rows[0].relu_()
        return x + 1

    x = torch.arange(-12.0, 12.0)
    program = tenure.compile(Function(forward), (x.clone(),), backend="null", min_block_size=1)
    assert "no engines: it writes through as_strided into memory that overlaps itself" in str(program.report)
    for _ in range(3):
        mine, eager = x.clone(), x.clone()
        assert torch.equal(program(mine), forward(None, eager))
        assert torch.equal(mine, eager)


def test_rows_that_do_not_overlap_may_still_become_engines():
    def forward(m, x):
        rows = x.as_strided((3, 8), (8, 1), 0)
        rows[0].relu_()
        return torch.sigmoid(x * 2) + 1

    x = torch.arange(-12.0, 12.0)
    program = tenure.compile(Function(forward), (x.clone(),), backend="null", min_block_size=1)
    assert program.engines
    for _ in range(3):
        mine, eager = x.clone(), x.clone()
        assert torch.equal(program(mine), forward(None, eager))
        assert torch.equal(mine, eager)


def test_two_results_that_are_views_of_a_copy_share_it():
    def forward(m, x):
        flat = (x * 1).mT.flatten(2, 3)
        rows = flat[:, 0:2]
        flat.sub_(1)
        return flat, rows

    x = torch.arange(32).view(1, 4, 4, 2)
    program = tenure.compile(Function(forward), (x,), backend="null", min_block_size=1)
    assert program.engines
    for _ in range(3):
        flat, rows = program(x)
        assert torch.equal(flat, forward(None, x)[0])
        flat.add_(5)
        assert torch.equal(rows, flat[:, 0:2])


@pytest.mark.parametrize("copied", [lambda x, y: y.type_as(x), lambda x, y: y.sum_to_size(6)], ids=["type_as", "sum_to_size"])
def test_what_is_copied_into_new_memory_is_not_the_input_that_it_came_from(copied):
    def forward(m, x, y):
        made = torch.empty_like(x)
        made.copy_(copied(x, y))
        return made, x * 2

    x, y = torch.randn(6), torch.randn(6)
    program = tenure.compile(Function(forward), (x, y), backend="null", min_block_size=1)
    for _ in range(3):
        made, _ = program(x, y)
        want = y.clone()
        y.add_(1)
        assert torch.equal(made, want)


SIZE_CHANGES = {"resize": lambda t: t.resize_(3), "t": lambda t: t.t_(), "unsqueeze": lambda t: t.unsqueeze_(0)}


@pytest.mark.parametrize("change", SIZE_CHANGES.values(), ids=SIZE_CHANGES)
def test_in_place_operators_that_change_sizes_compile_for_tensors_in_another_order(change):
    def forward(m, x):
        return change((x * 2).permute(1, 0).clone()) + 1

    x = torch.randn(2, 3)
    program = tenure.compile(Function(forward), (x,), backend="null", min_block_size=1)
    for _ in range(3):
        assert torch.equal(program(x), forward(None, x))
