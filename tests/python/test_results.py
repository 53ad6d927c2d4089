"""What a run gives: the model's own structure, right numbers, and memory that nobody overwrites."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from places import CUDA, OPENVINO, TENSORRT, at, at_each
from torch import nn
from torch.utils import _pytree as pytree

import tenure


@dataclass
class Detection:
    boxes: torch.Tensor
    scores: torch.Tensor


at_each_place = at_each(OPENVINO, CUDA, TENSORRT)

Pair = namedtuple("Pair", ["low", "high"])

torch.export.register_dataclass(Detection, serialized_type_name="tests.Detection")
pytree._register_namedtuple(Pair, serialized_type_name="tests.Pair")


class Structured(nn.Module):
    def forward(self, x):
        return {
            "pair": Pair(x - 1, x + 1),
            "nested": [(x * 2,), {"deep": x * 3}],
            "detection": Detection(x * 4, x.sum()),
            "nothing": None,
            "number": x.shape[0] + 1,
        }


def assert_same(left, right):
    """Equal structure, types included, and equal bits."""
    left_leaves, left_spec = pytree.tree_flatten(left)
    right_leaves, right_spec = pytree.tree_flatten(right)
    assert left_spec == right_spec
    for a, b in zip(left_leaves, right_leaves, strict=True):
        assert type(a) is type(b)
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


@pytest.mark.parametrize("through", ["compile", "torch.export.save"])
def test_results_come_back_as_the_models_own_types(through, load_plain):
    x = torch.randn(3, 2)
    shapes = {"x": {0: torch.export.Dim.DYNAMIC}}
    if through == "compile":
        program = tenure.compile(Structured(), (x,), dynamic_shapes=shapes, backend=[])
    else:
        program = load_plain(Structured(), (x,), dynamic_shapes=shapes)
    for rows in (3, 5):
        x = torch.randn(rows, 2)
        result = program(x)
        assert_same(result, Structured()(x))
        assert isinstance(result["pair"], Pair)
        assert isinstance(result["detection"], Detection)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda x: x + 1, torch.Tensor),
        (lambda x: (x + 1,), tuple),
        (lambda x: [x + 1, x + 2], list),
        (lambda x: (x + 1, (x + 2, x + 3)), tuple),
    ],
)
def test_single_tensors_and_flat_sequences_come_back_as_they_are(make, kind, load_plain):
    class Model(nn.Module):
        def forward(self, x):
            return make(x)

    x = torch.randn(4)
    result = load_plain(Model(), (x,))(x)
    assert type(result) is kind
    assert_same(result, make(x))


def test_what_topk_and_its_kind_return_keeps_its_type_also_in_a_file(tmp_path):
    class Model(nn.Module):
        def forward(self, x):
            return torch.topk(x, 2), {"highest": torch.max(x, dim=0), "sorted": torch.sort(x)}

    model, x = Model(), torch.randn(3, 4)
    program = tenure.compile(model, (x,), backend="null", min_block_size=1)
    program.save(tmp_path / "model.pt2")
    for each in (program, tenure.load(tmp_path / "model.pt2")):
        best, rest = each(x)
        assert type(best) is torch.return_types.topk
        assert torch.equal(rest["highest"].indices, x.max(dim=0).indices)
        assert_same((best, rest), model(x))


def test_a_result_type_that_the_process_does_not_know_is_named_and_run_still_works(load_plain, rewritten):
    x = torch.randn(3)

    class Model(nn.Module):
        def forward(self, x):
            return Detection(x + 1, x + 2)

    program = load_plain(Model(), (x,))
    strange = rewritten(program.path, {"models/model.json": lambda data: data.replace(b"tests.Detection", b"tests.Forgotten")})
    program = tenure.load(strange)
    with pytest.raises(tenure.Error, match=r"tests\.Forgotten.*register_dataclass.*program\.run") as caught:
        program(x)
    assert caught.value.code == "not found"
    assert torch.equal(program.run([x])[1], x + 2)


ALIASES = {
    "the tensor": lambda t: t,
    "a view": lambda t: t[..., 1:],
    "a detached alias": lambda t: t.detach(),
    "a NumPy array": lambda t: t.numpy(),
    "a slice of a NumPy array": lambda t: t.numpy()[..., ::2],
    "an array through DLPack": lambda t: np.from_dlpack(t),
    "a tensor through DLPack": lambda t: torch.from_dlpack(t),
    "its storage": lambda t: t.untyped_storage(),
}


# NumPy holds memory of the host only.
ALIASES_AT = [
    at(place, name) for place in (OPENVINO, CUDA, TENSORRT) for name in ALIASES if place.device == "cpu" or "array" not in name
]


@pytest.mark.parametrize(("place", "alias"), ALIASES_AT)
def test_a_held_result_does_not_change_over_1000_later_runs(place, alias, hybrid):
    generator = torch.Generator().manual_seed(1)

    def fresh_input(step):
        return torch.randn(1 + step % 3, 8, generator=generator).to(place.device)

    def content(held):
        return list(held.cpu()) if isinstance(held, torch.UntypedStorage) else torch.as_tensor(held).cpu().numpy().copy()

    hybrid(fresh_input(2))
    result = hybrid(fresh_input(2))
    held = {name: ALIASES[alias](tensor) for name, tensor in result.items()}
    del result
    gc.collect()
    before = {name: content(each) for name, each in held.items()}
    for step in range(1000):
        hybrid(fresh_input(step))
    for name, each in held.items():
        np.testing.assert_array_equal(content(each), before[name], err_msg=name)


@at_each_place
def test_all_of_100_held_results_keep_their_values(place, hybrid, hybrid_model):
    inputs = [torch.randn(2, 8, device=place.device) for _ in range(100)]
    results = [hybrid(x) for x in inputs]
    for x, result in zip(inputs, results, strict=True):
        for name, expected in hybrid_model(x).items():
            torch.testing.assert_close(result[name], expected, **place.tolerance)


@at_each_place
def test_a_result_outlives_its_program(place, hybrid_file, hybrid_model):
    program = tenure.load(hybrid_file)
    x = torch.randn(2, 8, device=place.device)
    result = program(x)
    del program
    gc.collect()
    torch.testing.assert_close(result["scores"], hybrid_model(x)["scores"], **place.tolerance)


@at_each_place
def test_results_match_eager_and_carry_no_gradients(place, hybrid, hybrid_model):
    x = torch.randn(5, 8, device=place.device, requires_grad=True)
    result = hybrid(x)
    for name, expected in hybrid_model(x).items():
        torch.testing.assert_close(result[name], expected.detach(), **place.tolerance)
        assert not result[name].requires_grad
        assert result[name].grad_fn is None


@at_each_place
def test_results_may_be_used_where_gradients_are_recorded(place, hybrid):
    weight = torch.ones(4, device=place.device, requires_grad=True)
    (hybrid(torch.randn(2, 8, device=place.device))["scores"] * weight).sum().backward()
    assert weight.grad is not None


@at_each_place
def test_writing_into_a_result_does_not_reach_later_results(place, hybrid):
    x = torch.randn(2, 8, device=place.device)
    expected = {name: tensor.clone() for name, tensor in hybrid(x).items()}
    for _ in range(5):
        result = hybrid(x)
        assert_same(result, expected)
        for tensor in result.values():
            tensor.fill_(7)


@at_each_place
def test_a_result_has_no_attributes_of_an_earlier_one(place, hybrid):
    x = torch.randn(2, 8, device=place.device)
    hybrid(x)["scores"].note = "mine"
    assert not any(hasattr(tensor, "note") for _ in range(5) for tensor in hybrid(x).values())


@at_each_place
def test_four_threads_on_one_program_get_their_own_serial_answers(place, hybrid):
    inputs = [[torch.randn(1 + (thread + step) % 4, 8, device=place.device) for step in range(100)] for thread in range(4)]
    serial = [[hybrid(x) for x in row] for row in inputs]
    with ThreadPoolExecutor(4) as pool:
        parallel = list(pool.map(lambda row: [hybrid(x) for x in row], inputs))
    for expected, row in zip(serial, parallel, strict=True):
        for a, b in zip(expected, row, strict=True):
            assert_same(a, b)


@at_each_place
def test_answers_are_the_same_bits_with_and_without_pre_allocated_outputs(place, hybrid):
    for rows in (1, 4, 1, 7):
        x = torch.randn(rows, 8, device=place.device)
        observed, replayed = hybrid(x), hybrid(x)
        with tenure.runtime.enable_pre_allocated_outputs(hybrid, False):
            fresh = hybrid(x)
        assert_same(observed, fresh)
        assert_same(replayed, fresh)


def test_an_input_that_is_returned_is_the_callers_tensor(load_plain):
    class Model(nn.Module):
        def forward(self, x):
            return x, x + 1

    x = torch.randn(3)
    assert load_plain(Model(), (x,))(x)[0].data_ptr() == x.data_ptr()


@at_each_place
def test_inputs_need_not_be_contiguous(place, hybrid, hybrid_model):
    # An engine gets them dense; of others eager PyTorch may choose another kernel for a product, with other last bits.
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if place is CUDA else place.tolerance
    x = torch.randn(8, 6, device=place.device).T
    torch.testing.assert_close(hybrid(x)["scores"], hybrid_model(x)["scores"], **tolerance)
    x = torch.randn(12, 16, device=place.device)[::2, ::2]
    torch.testing.assert_close(hybrid(x)["scores"], hybrid_model(x)["scores"], **tolerance)


class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x):
        self.count.add_(1)
        return x + self.count


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=at(CUDA).marks)])
def test_state_changes_from_run_to_run_and_belongs_to_one_program(device, load_plain):
    x = torch.zeros(2, device=device)
    program = load_plain(Counter().to(device), (x,))
    results = [program(x) for _ in range(3)]
    assert [result[0].item() for result in results] == [1, 2, 3]
    assert tenure.load(program.path)(x)[0].item() == 1


def test_a_plain_archive_runs_with_dynamic_shapes(load_plain):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x, y):
            return torch.cat([self.linear(x), y]).reshape(-1, 2), x.shape[0] * 2

    model = Model().eval()
    free = torch.export.Dim.DYNAMIC
    program = load_plain(model, (torch.randn(3, 4), torch.randn(5, 4)), dynamic_shapes={"x": {0: free}, "y": {0: free}})
    for rows in ((3, 5), (2, 9), (7, 7), (2, 9)):
        args = [torch.randn(count, 4) for count in rows]
        with torch.no_grad():
            assert_same(program(*args), model(*args))


def test_a_plain_archive_runs_with_sizes_that_depend_on_data(load_plain):
    class Model(nn.Module):
        def forward(self, x):
            index = torch.nonzero(x > 0).squeeze(1)
            return x[index] * 2, index

    program = load_plain(Model(), (torch.tensor([1.0, -1.0, 2.0, 3.0]),))
    for values in ([1.0, 2.0, 3.0, 4.0], [-1.0, 1.0, -1.0, 2.0], [5.0, 6.0, -1.0, 7.0]):
        x = torch.tensor(values)
        assert_same(program(x), Model()(x))


def test_an_input_that_the_model_changes_is_changed_for_the_caller(load_plain):
    class Model(nn.Module):
        def forward(self, x):
            x.mul_(2)
            return x.sum()

    program = load_plain(Model(), (torch.ones(3),))
    x = torch.ones(3)
    assert program(x).item() == 6
    assert torch.equal(x, torch.full((3,), 2.0))


def test_control_flow_is_refused_with_the_nodes_name(tmp_path):
    class Model(nn.Module):
        def forward(self, x):
            return torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x - 1, [x])

    x = torch.randn(3)
    with pytest.raises(tenure.Error, match="cond") as caught:
        tenure.compile(Model(), (x,))
    assert caught.value.code == "unsupported"
    torch.export.save(torch.export.export(Model(), (x,)), tmp_path / "cond.pt2")
    with pytest.raises(tenure.Error, match="cond") as caught:
        tenure.load(tmp_path / "cond.pt2")
    assert caught.value.code == "unsupported"


def test_a_custom_operator_made_in_python_runs(tmp_path):
    script = f"""
import torch, tenure
@torch.library.custom_op("tenure_test::triple", mutates_args=())
def triple(x: torch.Tensor) -> torch.Tensor:
    if x.sum() > 100:
        raise ValueError("too much")
    return x * 3
@triple.register_fake
def _(x): return torch.empty_like(x)
class Model(torch.nn.Module):
    def forward(self, x): return triple(x) + 1
torch.export.save(torch.export.export(Model(), (torch.ones(4),)), {str(tmp_path / "m.pt2")!r})
program = tenure.load({str(tmp_path / "m.pt2")!r})
for _ in range(3):
    assert torch.equal(program(torch.ones(4)), torch.full((4,), 4.0))
try:
    program(torch.full((4,), 99.0))
except tenure.Error as error:
    assert error.code == "operator" and "too much" in str(error) and "triple" in str(error), error
else:
    raise SystemExit("no error")
assert torch.equal(program(torch.ones(4)), torch.full((4,), 4.0))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_an_input_whose_negation_is_pending_reaches_an_engine_negated(hybrid_model):
    x = torch.randn(3, 8)
    program = tenure.compile(hybrid_model, (x,), min_block_size=1)
    assert program.engines
    for _ in range(3):
        pending = torch._neg_view(x)
        with torch.no_grad():
            expected = hybrid_model(-x)
        result = program(pending)
        for name, tensor in expected.items():
            torch.testing.assert_close(result[name], tensor)
