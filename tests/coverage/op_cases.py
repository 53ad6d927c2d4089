"""What is tried: operators of op_db, modules of module_db and the examples of torch._export.db, as modules with example inputs."""

from __future__ import annotations

import copy
import dataclasses
import functools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
from op_memory import copies
from torch import nn
from torch.utils import _pytree as pytree

SAMPLES = 2
LOOK_AHEAD = 12  # samples in which one that differs from the first is sought
SEED = 42

# Operators whose results are memory that nobody wrote: there is nothing to compare but where and how they lie.
UNINITIALISED = {
    "empty": "its result is not written",
    "empty_like": "its result is not written",
    "empty_permuted": "its result is not written",
    "empty_strided": "its result is not written",
    "new_empty": "its result is not written",
    "new_empty_strided": "its result is not written",
    "resize_": "elements that it adds are not written",
    "resize_as_": "elements that it adds are not written",
}


@dataclass(frozen=True)
class Subject:
    """Something to try, by name, so that a worker can make its cases itself."""

    kind: str  # "operator", "inside", "module" or "example"
    name: str
    variant: str = ""  # an operator's "float32" or "float32 in place", a module's "eval" or "train"

    def __str__(self) -> str:
        return f"{self.name} {self.variant}".strip()


@dataclass(frozen=True)
class Case:
    """A model and one call of it. `make_model` gives a new model with the same weights each time."""

    subject: Subject
    number: int
    make_model: Callable[[], nn.Module]
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    dynamic_shapes: Any = None
    further_args: tuple[Any, ...] | None = None  # another call, of other sizes where those are dynamic
    unwritten: str | None = None  # why results have no values to compare

    def __str__(self) -> str:
        inside = " inside" if self.subject.kind == "inside" else ""
        return f"{self.subject}{inside} [{self.number}]"


class Call(nn.Module):
    """One call of an operator: forward takes the tensors among its arguments, the others are constants."""

    def __init__(self, operator: Callable, arguments: Any):
        super().__init__()
        leaves, self.structure = pytree.tree_flatten(arguments)
        self.operator = operator
        self.constants = [None if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
        self.places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
        self.tensors = tuple(leaves[place] for place in self.places)

    def forward(self, *tensors: torch.Tensor) -> Any:
        leaves = list(self.constants)
        for place, tensor in zip(self.places, tensors, strict=True):
            leaves[place] = tensor
        args, kwargs = pytree.tree_unflatten(leaves, self.structure)
        return _plain(self.operator(*args, **kwargs))


class Inside(nn.Module):
    """The call on copies that the program makes, once with its results returned and once with all that has to do with it inside."""

    def __init__(self, call: Call):
        super().__init__()
        self.call = call

    def forward(self, *tensors: torch.Tensor) -> Any:
        returned = self.call(*_clones(tensors))
        inner = _clones(tensors)
        results = self.call(*inner)
        return returned, _clones(results), _clones(inner)


def _clones(tree: Any) -> Any:
    return pytree.tree_map_only(torch.Tensor, torch.clone, tree)


def _plain(result: Any) -> Any:
    """torch.export.save has no name for the types in torch.return_types; as tuples they are the same values."""
    if isinstance(result, tuple) and type(result).__module__ == "torch.return_types":
        return tuple(result)
    return result


def all_subjects() -> list[Subject]:
    inside = [Subject("inside", each.name, each.variant) for each in _operators()]
    return [*_operators(), *inside, *_modules(), *(Subject("example", name) for name in sorted(_examples()))]


def cases_of(subject: Subject) -> Iterator[Case]:
    """Up to two cases on which eager PyTorch does not raise; two that differ where there are such."""
    seed_everything()
    makers = {"operator": _operator_cases, "inside": _inside_cases, "module": _module_cases, "example": _example_cases}
    yield from makers[subject.kind](subject)


def seed_everything() -> None:
    torch.default_generator.manual_seed(SEED)
    random.seed(SEED)
    np.random.seed(SEED)  # noqa: NPY002  (op_db draws from it)


def _operators() -> Iterator[Subject]:
    for name, info in _op_infos().items():
        supported = info.supported_dtypes("cpu")
        dtypes = [dtype for dtype in (torch.float32, torch.int64) if dtype in supported]
        # An operator of neither, such as view_as_real, is tried with what it does take.
        dtypes = dtypes or [dtype for dtype in (torch.complex64, torch.bfloat16) if dtype in supported][:1]
        for dtype in dtypes:
            for variant in ("", " in place") if info.inplace_variant else ("",):
                yield Subject("operator", name, str(dtype).removeprefix("torch.") + variant)


def _operator_cases(subject: Subject) -> Iterator[Case]:
    info = _op_infos()[subject.name]
    dtype, _, in_place = subject.variant.partition(" ")
    operator = info.inplace_variant if in_place else info.op
    calls = []
    for sample in islice(info.sample_inputs("cpu", getattr(torch, dtype), requires_grad=False), LOOK_AHEAD):
        call = Call(operator, ((sample.input, *sample.args), sample.kwargs))
        if _runs(call, call.tensors):
            calls.append(call)
    for number, call in enumerate(_two_that_differ(calls, _signature)):
        yield Case(subject, number, lambda call=call: call, call.tensors, unwritten=UNINITIALISED.get(subject.name))


def _inside_cases(subject: Subject) -> Iterator[Case]:
    """One is enough: what differs from the operator's own cases is whose memory it works on."""
    for case in islice(_operator_cases(subject), 1):
        call = case.make_model()
        yield dataclasses.replace(case, make_model=lambda call=call: Inside(call))


def _signature(call: Call) -> Any:
    layout = [(tuple(each.shape), each.stride() if each.layout == torch.strided else None) for each in call.tensors]
    return layout, repr(call.constants)


def _modules() -> Iterator[Subject]:
    for name in _module_infos():
        for mode in ("eval", "train"):
            yield Subject("module", name, mode)


def _module_cases(subject: Subject) -> Iterator[Case]:
    info = _module_infos()[subject.name]
    training = subject.variant == "train"
    inputs = info.module_inputs_func(info, device="cpu", dtype=torch.float32, requires_grad=False, training=training)
    samples = []
    for sample in islice(inputs, LOOK_AHEAD):
        given = sample.forward_input
        make_model = functools.partial(_make_module, info, sample, training)
        if _runs(make_model(), given.args, given.kwargs):
            built = sample.constructor_input
            samples.append((make_model, given, repr(_sizes((built.args, built.kwargs)))))
    for number, (make_model, given, _) in enumerate(_two_that_differ(samples, lambda sample: sample[2])):
        yield Case(subject, number, make_model, given.args, given.kwargs)


def _make_module(info: Any, sample: Any, training: bool) -> nn.Module:
    seed_everything()
    built = sample.constructor_input
    model = info.module_cls(*built.args, **built.kwargs).to(torch.float32).train(training)
    if info.is_lazy:  # its weights are made by the first call
        with torch.no_grad():
            given = copies((sample.forward_input.args, sample.forward_input.kwargs))
            model(*given[0], **given[1])
    return model.requires_grad_(False)  # as in a program; matmul chooses its kernel by whether a weight wants gradients


def _sizes(tree: Any) -> Any:
    return pytree.tree_map(lambda leaf: tuple(leaf.shape) if isinstance(leaf, torch.Tensor) else leaf, tree)


def _example_cases(subject: Subject) -> Iterator[Case]:
    example = _examples()[subject.name]
    yield Case(
        subject,
        0,
        lambda: copy.deepcopy(example.model),
        example.example_args,
        example.example_kwargs,
        example.dynamic_shapes,
        further_args=example.extra_args,
    )


def _runs(model: nn.Module, args: tuple, kwargs: dict[str, Any] | None = None) -> bool:
    """Not all samples suit an in-place variant: it does not broadcast."""
    try:
        with torch.no_grad():
            args, kwargs = copies((args, kwargs or {}))
            model(*args, **kwargs)
    except Exception:
        return False
    return True


def _two_that_differ(samples: list[Any], key: Callable[[Any], Any]) -> list[Any]:
    if len(samples) <= SAMPLES:
        return samples
    first = samples[0]
    return [first, next((other for other in samples[1:] if key(other) != key(first)), samples[1])]


@functools.cache
def _op_infos() -> dict[str, Any]:
    from torch.testing._internal import common_methods_invocations

    # Its random operators would seed the generator in the middle of the model, which no export can see.
    common_methods_invocations.wrapper_set_seed = lambda operator, *args, **kwargs: operator(*args, **kwargs)
    return {info.full_name: info for info in common_methods_invocations.op_db}


@functools.cache
def _module_infos() -> dict[str, Any]:
    from torch.testing._internal.common_modules import module_db

    return {info.name: info for info in module_db}


@functools.cache
def _examples() -> dict[str, Any]:
    from torch._export.db.examples import all_examples

    return all_examples()
