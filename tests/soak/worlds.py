"""Runs a case in two worlds in step, eager PyTorch's and Tenure's, and compares whatever the caller can see."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils import _pytree as pytree

import tenure

from .cases import Case
from .compare import ANY, EFFECTIVE, aliasing, difference, unlike
from .schedules import Drop, Inspect, Reset, Reuse, Run, Together, Trim, Write


class Mismatch(AssertionError):
    """A program that does not do what eager PyTorch does, or that breaks a promise of its own."""


class ReferenceFailed(Exception):
    """The reference raised: it is no judge of the program."""


def _lies_in(value: Any, memory: set[int]) -> bool:
    return isinstance(value, torch.Tensor) and value.untyped_storage().data_ptr() in memory


def _sharing(value: Any, others: list[Any]) -> list[int]:
    memory = {value.untyped_storage().data_ptr()} if isinstance(value, torch.Tensor) else set()
    return [k for k, other in enumerate(others) if _lies_in(other, memory)]


def _storage(tensor: torch.Tensor) -> Any:
    whole = (
        tensor.is_contiguous()
        and not tensor.is_conj()
        and not tensor.is_neg()
        and tensor.untyped_storage().nbytes() == tensor.nbytes
    )
    return tensor.untyped_storage() if whole else tensor


def _corner(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.unsqueeze(0)[..., :1] if tensor.dim() else tensor.view(1)


ALIASES: dict[str, Callable[[torch.Tensor], Any]] = {
    "tensor": lambda tensor: tensor,
    "view": _corner,
    "detached": lambda tensor: tensor.detach(),
    "numpy": lambda tensor: tensor if tensor.is_conj() else tensor.numpy(),
    "dlpack": lambda tensor: tensor if tensor.is_conj() else torch.from_dlpack(tensor),
    "storage": _storage,
}


@dataclass
class Held:
    """The same thing in both worlds."""

    expected: Any
    actual: Any
    source: str  # which step gave it
    writable: bool  # both worlds agree on what else a write into it changes


class Worlds:
    """Both worlds, from the first step to the last."""

    def __init__(self, case: Case, program: Callable[..., Any], make_reference: Callable[[], torch.nn.Module], strides: str):
        """`strides`: what those of results must be."""
        self.case, self.program, self.make_reference, self.strides = case, program, make_reference, strides
        self.reference = make_reference()
        self.held: list[Held] = []
        self.step = 0  # the number of the one that runs; one more than the last are the steady runs

    def run_all(self) -> None:
        """Raises Mismatch, naming the step, or ReferenceFailed."""
        doing: dict[type, Callable[[Any], None]] = {
            Run: self.run,
            Drop: self.drop,
            Write: self.write,
            Inspect: self.inspect,
            Reuse: self.reuse,
            Together: self.together,
            Trim: lambda _: self.program.trim(),
            Reset: self.reset,
        }
        where = ""
        try:
            for number, step in enumerate(self.case.steps):
                where, self.step = f"step {number}, {step}", number
                doing[type(step)](step)
                self.check_held()
            where, self.step = "steady runs at the end", len(self.case.steps)
            self.check_steady_runs()
            self.check_held()
            where = "what is held when the program is gone"
            self.program = None
            self.check_held()
        except Mismatch as error:
            raise Mismatch(f"{where}\n{error}") from None
        except tenure.Error as error:
            raise Mismatch(f"{where}\ntenure.Error: {error}") from error

    # Steps.

    def run(self, step: Run) -> None:
        """One call."""
        layouts = step.layouts if self.case.may_lie_otherwise else None
        theirs, ours = (self.case.arguments(step.signature, step.seed, layouts) for _ in range(2))
        if step.twin and (twins := self.case.twins()):
            for arguments in (theirs, ours):
                arguments[twins[1]] = arguments[twins[0]]
        elif step.feed is not None:
            self.feed(step.feed, theirs, ours)
        own = self.own_memory()
        expected = self.call_reference(theirs)
        own |= self.own_memory()
        actual = self.program(*ours)
        relaid = layouts is not None and self.strides == EFFECTIVE
        copies = self.copies_here(expected, actual, theirs, ours) if relaid else set()
        self.compare_results(expected, actual, theirs, ours, own, ANY if relaid else self.strides, copies)
        self.hold(step, expected, actual, own, copies)

    def feed(self, which: int, theirs: list[Any], ours: list[Any]) -> None:
        """A held result becomes an argument, with new numbers in it, where it fits one."""
        fitting = [
            (held, k)
            for held in self.held
            for k, argument in enumerate(theirs)
            if held.writable
            and isinstance(held.expected, torch.Tensor)
            and isinstance(argument, torch.Tensor)
            and (held.expected.dtype, held.expected.shape) == (argument.dtype, argument.shape)
            and held.expected.stride() == held.actual.stride() == argument.stride()
            and held.expected.is_contiguous()
            and not held.expected.is_conj()
        ]
        if fitting:
            held, k = fitting[which % len(fitting)]
            theirs[k] = held.expected.copy_(theirs[k])
            ours[k] = held.actual.copy_(ours[k])

    def hold(self, step: Run, expected: Any, actual: Any, own: set[int], copies: set[int]) -> None:
        """Keeps what the step says. Of results in the model's `own` memory, and of those numbered in `copies`, a copy stands for
        eager's, which later runs may change."""
        pairs = [
            (k, one, other)
            for k, (one, other) in enumerate(zip(pytree.tree_leaves(expected), pytree.tree_leaves(actual), strict=True))
            if isinstance(one, torch.Tensor)
        ]
        for number, kind in step.hold:
            if not pairs or (number >= len(pairs) and len(step.hold) > 2):
                continue
            k, one, other = pairs[number % len(pairs)]
            writable = k not in copies and not _lies_in(one, own)
            if not writable:
                one = one.clone(memory_format=torch.preserve_format)
            first, second = ALIASES[kind](one), ALIASES[kind](other)
            if type(first) is not type(second):
                first, second = one, other
            self.held.append(Held(first, second, f"result {k} of {step}", writable))

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
        pair = (held.expected, held.actual)
        if isinstance(held.expected, torch.Tensor) and any(torch._debug_has_internal_overlap(each) for each in pair):
            return
        for each in pair:
            if isinstance(each, torch.Tensor | torch.UntypedStorage):
                each.fill_(step.number)
            elif each.flags.writeable:
                each[...] = step.number

    def inspect(self, step: Inspect) -> None:
        """Neither raises, and every value has an owner and a reason."""
        str(self.program.stats())
        for value in self.program.explain().values:
            if value.ownership not in ("borrowed", "view", "standing", "leased", "fresh") or not value.reason:
                raise Mismatch(f"explain() does not explain {value}")

    def reuse(self, step: Reuse) -> None:
        """On or off, the answers are the same."""
        self.program.pre_allocated_outputs = step.enabled

    def reset(self, step: Reset) -> None:
        """State as at first."""
        self.program.reset_state()
        self.reference = self.make_reference()

    def together(self, step: Together) -> None:
        """Several threads; the reference ran before them."""
        work = [list(self.prepared(row)) for row in step.runs]
        kept: list[list[Any]] = [[] for _ in work]
        errors: list[BaseException] = []
        barrier = threading.Barrier(len(work))

        def call(thread: int) -> None:
            try:
                barrier.wait(timeout=60)
                for k, (theirs, ours, expected) in enumerate(work[thread]):
                    actual = self.program(*ours)
                    if k % 2:  # its memory comes back while other threads run
                        self.compare_results(expected, actual, theirs, ours, self.own_memory())
                        actual = None
                    kept[thread].append(actual)
            except BaseException as error:  # the main thread raises it
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
                    self.compare_results(expected, actual, theirs, ours, self.own_memory())

    def prepared(self, row: tuple[tuple[int, int], ...]) -> Iterator[tuple[list[Any], list[Any], Any]]:
        """Arguments for both worlds and the reference's answer, of each call."""
        for signature, seed in row:
            theirs, ours = (self.case.arguments(signature, seed) for _ in range(2))
            yield theirs, ours, self.call_reference(theirs)

    # Checks.

    def call_reference(self, arguments: list[Any]) -> Any:
        """Without gradients, as a program runs."""
        try:
            with torch.no_grad():
                return self.reference(*arguments)
        except Exception as error:
            raise ReferenceFailed(f"the reference raises {type(error).__name__}: {error}") from error

    def compare_results(
        self,
        expected: Any,
        actual: Any,
        theirs: list[Any],
        ours: list[Any],
        own: set[int],
        strides: str = "",
        copies: Collection[int] = (),
    ) -> None:
        """Structure, each result, the arguments afterwards, and what shares memory with what, but for the results in `copies`."""
        strides = strides or self.strides
        expected, expected_form = pytree.tree_flatten(expected)
        actual, actual_form = pytree.tree_flatten(actual)
        if expected_form != actual_form:
            raise Mismatch(f"another structure: eager {expected_form}, here {actual_form}")
        for k, (one, other) in enumerate(zip(expected, actual, strict=True)):
            if found := difference(one, other, strides):
                raise Mismatch(f"result {k}, {found}")
        for k, (one, other) in enumerate(zip(theirs, ours, strict=True)):
            if found := difference(one, other):
                raise Mismatch(f"argument {k} after the run, {found}")
        ignored = [_lies_in(each, own) for each in theirs]
        ignored += [k in copies or _lies_in(each, own) for k, each in enumerate(expected)]
        one, other = aliasing([*theirs, *expected], ignored), aliasing([*ours, *actual], ignored)
        if (found := unlike(one, other)) is not None:
            named = f"argument {found}" if found < len(theirs) else f"result {found - len(theirs)}"
            raise Mismatch(f"{named} shares memory with other arguments or results than in eager PyTorch, or with itself")

    def own_memory(self) -> set[int]:
        """The reference's state and weights."""
        members = [*self.reference.buffers(), *self.reference.parameters(), *vars(self.reference).values()]
        return {each.untyped_storage().data_ptr() for each in members if isinstance(each, torch.Tensor)}

    def state_layouts(self) -> list[tuple[torch.Size, tuple[int, ...]]]:
        """Of the reference's state."""
        return [(each.shape, each.stride()) for each in self.reference.buffers()]

    def copies_here(self, expected: Any, actual: Any, theirs: list[Any], ours: list[Any]) -> set[int]:
        """Numbers of the results that share memory with others otherwise than in eager PyTorch, which goes by the strides of this
        run, and engines by those that were exported. Raises Mismatch if one lies in an argument, and not in eager PyTorch."""
        worlds = ((theirs, pytree.tree_leaves(expected)), (ours, pytree.tree_leaves(actual)))
        one, other = ([_sharing(each, [*arguments, *results]) for each in results] for arguments, results in worlds)
        for k, (eager, here) in enumerate(zip(one, other, strict=True)):
            if any(j < len(ours) and j not in eager for j in here):
                raise Mismatch(f"result {k} is a view of an argument, and a copy in eager PyTorch")
        return {k for k, (eager, here) in enumerate(zip(one, other, strict=True)) if eager != here}

    def check_held(self) -> None:
        """Nothing that is held has changed, save by the caller's own doing."""
        for held in self.held:
            if found := difference(held.expected, held.actual, ANY):
                raise Mismatch(f"held since {held.source}, {found}")

    def check_steady_runs(self) -> None:
        """After the second run of a signature nothing is allocated, if nothing is fresh and everything was dropped.

        State that every run gives other sizes or strides (`self.state.unsqueeze_(0)`) makes every run a new signature.
        """
        self.program.pre_allocated_outputs = True
        steady = not self.held and not self.case.data_dependent and "max_plan_bytes" not in dict(self.case.build.options)
        for again in range(3):
            for signature in range(len(self.case.signatures)):
                layouts = self.state_layouts()
                self.run(Run(signature, seed=again))
                stats = self.program.stats()
                if again < 2 or not steady or not stats.last_run_allocations or self.state_layouts() != layouts:
                    continue
                if not any(value.ownership == "fresh" for value in self.program.explain().values):
                    raise Mismatch(f"allocations in a steady run, though no value is fresh\n{stats}")
