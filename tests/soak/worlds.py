"""Runs a case in two worlds in step, eager PyTorch's and Tenure's, and compares whatever the caller can see."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils import _pytree as pytree

import tenure

from .cases import Case
from .compare import ANY, aliasing, difference
from .schedules import Drop, Inspect, Reset, Reuse, Run, Step, Together, Trim, Write


class Mismatch(AssertionError):
    """A program that does not do what eager PyTorch does, or that breaks a promise of its own."""


class ReferenceFailed(Exception):
    """Eager PyTorch raised: the case is wrong, not the program."""


ALIASES: dict[str, Callable[[torch.Tensor], Any]] = {
    "tensor": lambda tensor: tensor,
    "view": lambda tensor: tensor.unsqueeze(0)[..., :1] if tensor.dim() else tensor.view(1),
    "detached": lambda tensor: tensor.detach(),
    "numpy": lambda tensor: tensor.numpy() if not tensor.is_conj() else tensor,
    "dlpack": lambda tensor: torch.from_dlpack(tensor) if not tensor.is_conj() else tensor,
    "storage": lambda tensor: (
        tensor.untyped_storage() if tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.nbytes else tensor
    ),
}


@dataclass
class Held:
    """The same thing in both worlds, and which step gave it."""

    expected: Any
    actual: Any
    source: str
    writable: bool


class Worlds:
    """Both worlds, from the first step to the last."""

    def __init__(self, case: Case, program: tenure.Program, make_reference: Callable[[], torch.nn.Module], strides: str):
        """`strides`: what those of results must be."""
        self.case, self.program, self.make_reference, self.strides = case, program, make_reference, strides
        self.held: list[Held] = []
        self.last_written = False
        self.start()

    def start(self) -> None:
        """A reference whose state is as at first."""
        self.reference = self.make_reference()
        with torch.no_grad():
            members = [*self.reference.buffers(), *self.reference.parameters()]
            members += [each for each in vars(self.reference).values() if isinstance(each, torch.Tensor)]
        self.own = {each.untyped_storage().data_ptr() for each in members}

    def run_all(self) -> None:
        """Raises Mismatch, naming the step."""
        doing: dict[type, Callable[[Any], None]] = {
            Run: self.run,
            Drop: self.drop,
            Write: self.write,
            Inspect: self.inspect,
            Reuse: self.reuse,
            Together: self.together,
            Trim: self.trim,
            Reset: self.reset,
        }
        step: Step | str = "before the first step"
        try:
            for number, step in enumerate(self.case.steps):
                where = f"step {number}"
                doing[type(step)](step)
                self.check_held()
            where, step = "at the end", "allocations of a steady run"
            self.check_steady_runs()
            self.check_held()
            step = "results that outlive their program"
            self.program = None
            self.check_held()
        except Mismatch as error:
            raise Mismatch(f"{where}: {step}\n{error}") from None
        except tenure.Error as error:
            raise Mismatch(f"{where}: {step}\ntenure.Error: {error}") from error

    def call_reference(self, arguments: list[Any]) -> Any:
        """Without gradients, as a program runs."""
        try:
            with torch.no_grad():
                return self.reference(*arguments)
        except Exception as error:
            raise ReferenceFailed(f"{type(error).__name__}: {error}") from error

    def run(self, step: Run, hold: bool = True) -> None:
        """One call."""
        theirs = self.case.arguments(step.signature, step.seed)
        ours = self.case.arguments(step.signature, step.seed)
        if step.feed is not None:
            self.feed(step.feed, theirs, ours)
        expected = self.call_reference(theirs)
        actual = self.program(*ours)
        self.compare_results(expected, actual, theirs, ours)
        if hold:
            self.hold(step, expected, actual)

    def compare_results(self, expected: Any, actual: Any, theirs: list[Any], ours: list[Any]) -> None:
        """Structure, each result, the arguments afterwards, and what shares memory with what."""
        expected, expected_form = pytree.tree_flatten(expected)
        actual, actual_form = pytree.tree_flatten(actual)
        if expected_form != actual_form:
            raise Mismatch(f"the result is {actual_form}, eager's {expected_form}")
        for k, (one, other) in enumerate(zip(expected, actual, strict=True)):
            if found := difference(one, other, self.strides):
                raise Mismatch(f"result {k}: {found}")
        for k, (one, other) in enumerate(zip(theirs, ours, strict=True)):
            if found := difference(one, other):
                raise Mismatch(f"argument {k} after the run: {found}")
        ignored = [False] * len(theirs) + [self.is_own(each) for each in expected]
        one, other = aliasing([*theirs, *expected], ignored), aliasing([*ours, *actual], ignored)
        if one != other:
            raise Mismatch(f"shared memory among arguments and results: eager {one}, here {other}")

    def is_own(self, tensor: Any) -> bool:
        """Whether a result of the reference is memory of its state or weights."""
        return isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr() in self.own

    def hold(self, step: Run, expected: Any, actual: Any) -> None:
        """Keeps what the step says. Eager's state is kept as a copy, since a program's result never changes."""
        expected, actual = pytree.tree_leaves(expected), pytree.tree_leaves(actual)
        for number, kind in step.hold:
            if number < 6 and expected:
                one, other = expected[number % len(expected)], actual[number % len(expected)]
                if isinstance(one, torch.Tensor):
                    own = self.is_own(one)
                    kind = "tensor" if own and kind == "storage" else kind
                    one = one.clone() if own else one
                    if kind == "storage" and (ALIASES[kind](one) is one or ALIASES[kind](other) is other):
                        kind = "tensor"
                    self.held.append(
                        Held(ALIASES[kind](one), ALIASES[kind](other), f"result {number % len(expected)} of {step}", not own)
                    )

    def feed(self, which: int, theirs: list[Any], ours: list[Any]) -> None:
        """A held result becomes an argument, with new numbers in it, where it fits one."""
        fitting = [
            (held, k)
            for held in self.held
            for k, argument in enumerate(theirs)
            if held.writable
            and isinstance(held.expected, torch.Tensor)
            and (held.expected.dtype, held.expected.shape) == (argument.dtype, argument.shape)
            and held.expected.stride() == held.actual.stride() == argument.stride()
            and held.expected.is_contiguous()
            and not held.expected.is_conj()
        ]
        if fitting:
            held, k = fitting[which % len(fitting)]
            theirs[k] = held.expected.copy_(theirs[k])
            ours[k] = held.actual.copy_(ours[k])

    def drop(self, step: Drop) -> None:
        """Forgets."""
        if step.which is None:
            self.held.clear()
        elif self.held:
            del self.held[step.which % len(self.held)]

    def write(self, step: Write) -> None:
        """The caller writes into what it was given, unless it is the model's own memory."""
        writable = [held for held in self.held if held.writable]
        if not writable:
            return
        held = writable[step.which % len(writable)]
        if isinstance(held.expected, torch.Tensor):
            if torch._debug_has_internal_overlap(held.expected) == 0 and torch._debug_has_internal_overlap(held.actual) == 0:
                held.expected.fill_(step.number)
                held.actual.fill_(step.number)
        elif isinstance(held.expected, torch.UntypedStorage):
            held.expected.fill_(step.number)
            held.actual.fill_(step.number)
        elif held.expected.flags.writeable:
            held.expected[...] = step.number
            held.actual[...] = step.number

    def inspect(self, step: Inspect | None = None) -> None:
        """Neither raises, and every value has an owner and a reason."""
        str(self.program.stats())
        for value in self.program.explain().values:
            if value.ownership not in ("borrowed", "view", "standing", "leased", "fresh") or not value.reason:
                raise Mismatch(f"explain(): {value}")

    def reuse(self, step: Reuse) -> None:
        """On or off, the answers are the same."""
        self.program.pre_allocated_outputs = step.enabled

    def trim(self, step: Trim) -> None:
        """Where the build has it."""
        self.program.trim()

    def reset(self, step: Reset) -> None:
        """Where the build has it."""
        self.program.reset_state()
        self.start()

    def together(self, step: Together) -> None:
        """Several threads; the reference ran before them."""
        work = []
        for row in step.runs:
            arguments = [(self.case.arguments(*each), self.case.arguments(*each)) for each in row]
            work.append([(theirs, ours, self.call_reference(theirs)) for theirs, ours in arguments])
        kept: list[list[Any]] = [[] for _ in work]
        errors: list[BaseException] = []
        barrier = threading.Barrier(len(work))

        def call(thread: int) -> None:
            try:
                barrier.wait(timeout=60)
                for k, (theirs, ours, expected) in enumerate(work[thread]):
                    actual = self.program(*ours)
                    if k % 2:
                        self.compare_results(expected, actual, theirs, ours)
                        actual = None
                    kept[thread].append(actual)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=call, args=(k,)) for k in range(len(work))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        for row, results in zip(work, kept, strict=True):
            for (theirs, ours, expected), actual in zip(row, results, strict=True):
                if actual is not None:
                    self.compare_results(expected, actual, theirs, ours)

    def check_held(self) -> None:
        """Nothing that is held has changed, save by the caller's own doing."""
        for held in self.held:
            if found := difference(held.expected, held.actual, ANY):
                raise Mismatch(f"held since {held.source}: {found}")

    def check_steady_runs(self) -> None:
        """After the second run of a signature nothing is allocated, if nothing is fresh and everything was dropped."""
        holds, self.held = self.held, []
        self.program.pre_allocated_outputs = True
        steady = not holds and not self.case.data_dependent and "max_plan_bytes" not in dict(self.case.build.options)
        for again in range(3):
            for signature in range(len(self.case.signatures)):
                self.run(Run(signature, 7 + again, ()))
                if again == 2 and steady:
                    self.check_allocations()
        self.held = holds

    def check_allocations(self) -> None:
        """Of the last run."""
        stats = self.program.stats()
        fresh = [value.value for value in self.program.explain().values if value.ownership == "fresh"]
        if stats.last_run_allocations and not fresh:
            raise Mismatch(f"a steady run allocated {stats.last_run_allocations} times, though no value is fresh\n{stats}")
