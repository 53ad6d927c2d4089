"""A quick part of `./dev op-coverage`, and that it notices what it is there to notice."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import tenure

sys.path.append(str(Path(__file__).parents[1] / "coverage"))

from op_cases import UNINITIALISED, Case, Subject, all_subjects, cases_of
from op_memory import same_bits
from op_tables import failures, summary, write_tables
from op_trial import Outcome, Route, Verdict, try_case
from op_workers import Tried, try_all

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's, about operators that op_db still tests

FLOAT = {
    "views": "as_strided diagonal expand movedim permute real select squeeze t unbind unfold view view_as",
    "splits": "chunk hsplit split split_with_sizes unsafe_chunk",
    "conditional views": "contiguous flatten nn.functional.dropout positive ravel reshape resolve_conj to",
    "random": "bernoulli multinomial normal randn_like uniform",
    "complex": "complex fft.rfft fft.fft2 linalg.eigvals polar view_as_complex",
    "sizes that depend on data": "argwhere masked_select nonzero unique unique_consecutive",
    "lists": "block_diag broadcast_tensors cat einsum meshgrid.list_of_tensors stack",
    "several results": "linalg.qr max.reduction_with_dim sort topk var_mean",
    "memory that nobody wrote": "empty_like new_empty resize_",
    "scratch memory": "nn.functional.conv2d nn.functional.layer_norm nn.functional.scaled_dot_product_attention",
    "writes that a schema hides": "nn.functional.batch_norm nn.functional.instance_norm native_batch_norm",
}
IN_PLACE = "add clamp copysign cumsum index_add masked_fill scatter squeeze t transpose"
INTEGER = "__getitem__ bincount floor_divide gather index_put repeat_interleave"

SUBJECTS = [
    *(Subject("operator", name, "float32") for names in FLOAT.values() for name in names.split()),
    *(Subject("operator", name, "float32 in place") for name in IN_PLACE.split()),
    *(Subject("operator", name, "int64") for name in INTEGER.split()),
    *(Subject("inside", name, "float32") for name in ("split", "reshape", "sort", "masked_select", "_unsafe_masked_index")),
    *(Subject("inside", name, "float32 in place") for name in ("t", "index_put", "cumsum")),
    *(Subject("module", name, mode) for name in ("nn.BatchNorm1d", "nn.InstanceNorm1d") for mode in ("train", "eval")),
    Subject("example", "list_unpack"),
]


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: f"{subject.kind} {subject}")
def test_a_program_does_what_eager_pytorch_does(subject):
    verdicts = {str(case): try_case(case) for case in cases_of(subject)}
    assert verdicts
    assert set(verdicts.values()) == {Verdict(Outcome.PASSED)}, verdicts


def test_the_quick_part_names_what_there_is():
    every = all_subjects()
    assert set(SUBJECTS) <= set(every)
    assert set(UNINITIALISED) <= {subject.name for subject in every if subject.kind == "operator"}


class Probe(nn.Module):
    """A view of an input, the same memory twice, memory of its own, an input that is written to and a buffer that changes."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor, y: torch.Tensor):
        self.calls += 1
        y.mul_(2)
        product = x @ y
        return x[1:], product, product.t(), product + self.calls


def verdict_with(monkeypatch, **faults) -> Verdict:
    """Of programs with other methods."""
    load = tenure.load
    faulty = type("Faulty", (tenure.Program,), faults)

    def load_faulty(path, **options):
        program = load(path, **options)
        program.__class__ = faulty
        return program

    monkeypatch.setattr(tenure, "load", load_faulty)
    square = torch.arange(16.0).view(4, 4)
    return try_case(Case(Subject("module", "Probe"), 0, Probe, (square, square + 1)))


def replaced(place, change):
    def fault(call, x, y):
        results = list(call(x, y))
        results[place] = change(results[place])
        return tuple(results)

    return fault


def spoils_the_result_before(call, x, y, before=[]):  # noqa: B006
    for result in before[-1:]:
        result.add_(1)
    results = call(x, y)
    before.append(results[1])
    return results


def writes_to_an_input(call, x, y):
    results = call(x, y)
    x[0, 0] = -1
    return results


def is_other_in_the_third_run(call, x, y, runs=[]):  # noqa: B006
    runs.append(1)
    return replaced(3, lambda own: own + (len(runs) == 3))(call, x, y)


def refuses(call, x, y):
    raise tenure.Error("unsupported", "no")


FAULTS = {
    "nothing": (lambda call, x, y: call(x, y), "passed", ""),
    "a value": (replaced(3, lambda own: own.nextafter(torch.tensor(torch.inf))), "wrong", "values of a result"),
    "a value of a later run": (is_other_in_the_third_run, "wrong", "values of a result"),
    "strides": (replaced(3, lambda own: own.t().contiguous().t()), "wrong", "strides of a result"),
    "the dtype": (replaced(3, torch.Tensor.double), "wrong", "dtype of a result"),
    "a lost alias of an input": (replaced(0, lambda view: torch.cat([view[:1], view])[1:]), "wrong", "aliasing"),
    "a lost alias of a result": (replaced(2, lambda t: t.clone()), "wrong", "aliasing"),
    "an input that is written to": (writes_to_an_input, "wrong", "values of an input"),
    "an input that is not": (lambda call, x, y: call(x, y.clone()), "wrong", "values of an input"),
    "a held result that changes": (spoils_the_result_before, "wrong", "a held result changed"),
    "another exception": (lambda call, x, y: 1 / 0, "wrong", "raised ZeroDivisionError instead of tenure.Error"),
    "a refusal": (refuses, "refused by Tenure", "unsupported: no"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_program_does_not_pass(monkeypatch, name):
    fault, outcome, reason = FAULTS[name]
    verdict = verdict_with(monkeypatch, __call__=lambda self, x, y: fault(functools.partial(tenure.Program.__call__, self), x, y))
    assert (verdict.outcome, verdict.reason) == (outcome, reason), verdict.detail


def test_state_that_a_program_does_not_tell_or_reset_does_not_pass(monkeypatch):
    assert verdict_with(monkeypatch, state_dict=lambda self: {}).reason == "state that state_dict() does not tell"
    verdict = verdict_with(monkeypatch, state_dict=lambda self: {"calls": torch.zeros(())})
    assert verdict.reason == "state after the runs"
    verdict = verdict_with(monkeypatch, reset_state=lambda self: None)
    assert verdict.detail.startswith("first run after reset_state()")


def test_values_are_compared_to_the_bit_and_one_nan_is_as_good_as_another():
    nan = torch.tensor([0x7FC00000, 0x7FC00001], dtype=torch.int32).view(torch.float32)
    assert same_bits(nan[:1], nan[1:])
    assert same_bits(torch.complex(nan[:1], nan[:1] * 0), torch.complex(nan[1:], nan[:1]))
    assert not same_bits(torch.tensor([0.0]), torch.tensor([-0.0]))
    assert not same_bits(nan, torch.tensor([torch.nan, 1.0]))
    assert not same_bits(torch.tensor([1]), torch.tensor([1], dtype=torch.int32))


class Seeding(nn.Module):
    def forward(self, x):
        torch.manual_seed(3)  # happens when it is exported, not when the program runs
        return torch.rand_like(x)


def test_what_torch_export_changes_is_not_held_against_tenure_and_is_no_pass():
    verdict = try_case(Case(Subject("module", "Seeding"), 0, Seeding, (torch.zeros(5),)))
    assert (verdict.outcome, verdict.reason) == ("export differs from eager", "values of a result")


class Deadly:
    """Ends the process that unpickles it."""

    def __reduce__(self):
        return os.abort, ()


def test_a_case_that_kills_its_process_is_an_outcome_and_the_run_goes_on(tmp_path):
    subjects = [Subject("example", Deadly()), Subject("example", "no such example"), Subject("example", "list_unpack")]
    tried = list(try_all(subjects, jobs=1, route=Route.FILE))
    assert [each.verdict.outcome for each in tried] == ["crashed", "crashed", "passed"]
    assert [each.verdict.reason for each in tried] == ["died of signal 6", "KeyError: 'no such example'", ""]
    assert failures(tried) == ["2 crashed"]


def test_the_table_counts_shares_of_what_torch_export_takes(tmp_path):
    outcomes = [Outcome.PASSED] * 97 + [Outcome.REFUSED_BY_EXPORT] * 10 + [Outcome.REFUSED_BY_TENURE] * 3
    tried = [Tried(Subject("operator", f"op{k}"), f"op{k} [0]", Verdict(outcome, "why")) for k, outcome in enumerate(outcomes)]
    assert list(summary(tried))[-1] == "| all | 110 | 97 (97.0%) | 10 (9.1%) | 0 | 3 (3.0%) | 0 | 0 |"
    assert failures(tried) == ["3 of 100 refused by Tenure, over 2%"]
    assert failures(tried[1:-2]) == []  # 1 of 97
    text = write_tables(tried, tmp_path / "out", Route.FILE).read_text()
    assert "| 3 | why | op107 [0], op108 [0], op109 [0] |" in text
    assert (tmp_path / "out/results.json").exists()
