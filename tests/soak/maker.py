"""Builds the body of a random module statement by statement; each is tried on real tensors of all signatures before it is kept."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import torch

from .compare import byte_addresses
from .draws import Draws

MOST_ELEMENTS = 1500
_NAMES = {"torch": torch, "F": torch.nn.functional}

FLOATS = (torch.float32, torch.float64)
INTS = (torch.int64, torch.int32, torch.uint8)
NUMBERS = FLOATS + INTS
REALS = (*NUMBERS, torch.bool)
ALL = (*REALS, torch.complex64)


class Refused(Exception):
    """A statement that cannot be: its operands are missing, or PyTorch refuses it."""


@dataclass(frozen=True)
class Bounds:
    """Of real numbers: |x| <= 2**magnitude, and x is a multiple of 2**-grain.

    Sums of few enough bits are exact in any order, so that eager and a program that lays its tensors out otherwise must agree.
    """

    magnitude: int
    grain: int

    def __or__(self, other: Bounds) -> Bounds:
        return Bounds(max(self.magnitude, other.magnitude), max(self.grain, other.grain))

    def grown(self, bits: int) -> Bounds:
        """For numbers up to 2**bits times as large."""
        return Bounds(self.magnitude + bits, self.grain)

    def times(self, other: Bounds) -> Bounds:
        """Of products; which are rounded if they need more bits than there are."""
        exact = self.magnitude + self.grain + other.magnitude + other.grain <= EXACT_BITS
        return Bounds(self.magnitude + other.magnitude, self.grain + other.grain if exact else ANY_GRAIN)

    def sums_exactly(self, count: int) -> bool:
        """Whether sums of `count` of these are exact in float32, in any order."""
        return self.magnitude + self.grain + bits_of(count) <= EXACT_BITS


EXACT_BITS = 22
ANY_GRAIN = 1000
TRUTH = Bounds(0, 0)
SMALL = Bounds(2, 2)  # quarters in [-4, 4]: what inputs are
STATE = Bounds(4, ANY_GRAIN)  # what a floating buffer may hold, before and after each run
MOST = 40  # larger numbers are clamped before they go on


def bits_of(count: int) -> int:
    """The smallest b with 2**b >= count."""
    return max(0, math.ceil(math.log2(max(count, 1))))


class ModuleMaker:
    """The module so far: its values by name, as tensors of each signature, and what is known of their numbers."""

    def __init__(self, draws: Draws, signatures: int, exact: bool, plain: bool):
        """`exact`: no operator whose result depends on the layout of its operands, as sums of arbitrary numbers do. `plain`: the
        program is what torch.export gives, with its operators in place; else it may be made functional.
        """
        self.draws, self.exact, self.plain = draws, exact, plain
        self.environments: list[dict] = [{"self": SimpleNamespace()} for _ in range(signatures)]
        self.set_up: list[str] = []  # of __init__
        self.lines: list[str] = []  # of forward
        self.values: list[str] = []
        self.buffers: list[str] = []
        self.inputs: list[str] = []
        self.numbers: list[str] = []  # inputs that are ints
        self.unbacked: set[str] = set()  # values whose sizes depend on data
        self.bounds: dict[int, Bounds] = {}  # by storage
        self.frozen: set[int] = set()  # storages that nothing may write: weights, constants, reinterpreted bits
        self.state: set[int] = set()  # storages of buffers
        self.written: set[int] = set()  # storages written in place

    # What is known of a value.

    def tensor(self, name: str) -> torch.Tensor:
        """As the first signature has it."""
        return self.tensors(name)[0]

    def tensors(self, name: str) -> list[torch.Tensor]:
        """One a signature."""
        if name.startswith("self."):
            return [getattr(environment["self"], name[5:]) for environment in self.environments]
        return [environment[name] for environment in self.environments]

    def storage(self, name: str) -> int:
        """What values on the same memory have in common."""
        return self.tensor(name).untyped_storage().data_ptr()

    def bounds_of(self, name: str) -> Bounds:
        """Of the numbers in the memory that the value lies in."""
        return self.bounds.get(self.storage(name), TRUTH)

    def fixed_dims(self, name: str, least: int = 0) -> list[int]:
        """Dimensions with the same size, at least `least`, in every signature."""
        if name in self.unbacked:
            return []
        sizes = zip(*(tensor.shape for tensor in self.tensors(name)), strict=True)
        return [dim for dim, size in enumerate(sizes) if len(set(size)) == 1 and size[0] >= least]

    def pick(
        self,
        dtypes: Sequence[torch.dtype] = ALL,
        rank: int = 0,
        where: Callable[[str], bool] = lambda name: True,
        unbacked: bool = False,
    ) -> str:
        """A value of one of these dtypes and at least this rank; the later ones more often."""
        fitting = [
            name
            for name in self.values
            if self.tensor(name).dtype in dtypes
            and self.tensor(name).dim() >= rank
            and (unbacked or name not in self.unbacked)
            and where(name)
        ]
        if not fitting:
            raise Refused
        return self.draws.choice(fitting[-4:] if self.draws.chance(50) else fitting)

    def number(self, dtypes: Sequence[torch.dtype] = NUMBERS, most: int = MOST, **conditions) -> str:
        """A value to calculate with, clamped if its numbers may be large."""
        name = self.pick(dtypes, **conditions)
        if self.tensor(name).dtype in FLOATS and self.bounds_of(name).magnitude > most:
            return self.let(f"{name}.clamp(-4, 4)", Bounds(2, self.bounds_of(name).grain))
        return name

    def summable(self, count: int, name: str) -> str:
        """The value, or its numbers rounded to few enough bits that sums of `count` are exact."""
        if not self.exact or self.tensor(name).dtype not in FLOATS or self.bounds_of(name).sums_exactly(count):
            return name
        return self.let(f"{name}.clamp(-4, 4).round()", Bounds(2, 0))

    def one_zero(self, expression: str) -> str:
        """The expression with 0 for -0: which of the two it is depends on how its operands lie in memory.

        Sums of zeros are added in another order then; of maximum(0, -0) a vector instruction takes the second, a loop the first.
        """
        return f"({expression}) + 0" if self.exact else expression

    def may_read(self, target: str, source: str) -> bool:
        """Whether a write into `target` may read `source`: it lies in other memory, or in the very same place.

        Else eager PyTorch reads what it has just written, in an order of its own, and a functional graph what was there before.
        torch.export's form in place does as eager does.
        """
        if self.plain:
            return True
        one, other = self.tensor(target), self.tensor(source)
        same = (one.shape, one.stride(), one.data_ptr()) == (other.shape, other.stride(), other.data_ptr())
        return same or not np.intersect1d(byte_addresses(one), byte_addresses(other)).size

    def target(self, dtypes: Sequence[torch.dtype] = ALL, rank: int = 0, where: Callable[[str], bool] = lambda name: True) -> str:
        """A value that may be written in place; often one in a buffer."""

        def writable(name: str) -> bool:
            storages = {tensor.untyped_storage().data_ptr() for tensor in self.tensors(name)}
            return (
                storages.isdisjoint(self.frozen)
                and all(torch._debug_has_internal_overlap(tensor) == 0 for tensor in self.tensors(name))
                and where(name)
            )

        if self.draws.chance(40):
            try:
                return self.pick(dtypes, rank, lambda name: self.is_state(name) and writable(name))
            except Refused:
                pass
        return self.pick(dtypes, rank, writable)

    def is_state(self, name: str) -> bool:
        """Whether the value lies in a buffer of the module."""
        return self.storage(name) in self.state

    # Statements.

    def let(self, expression: str, bounds: Bounds, unbacked: bool = False) -> str:
        """A new value; `bounds` are for what it does not share with an earlier one."""
        return self.unpack(expression, 1, bounds, unbacked)[0]

    def unpack(self, expression: str, count: int, bounds: Bounds, unbacked: bool = False) -> list[str]:
        """As many new values, the elements of a tuple if there are several."""
        names = [f"v{len(self.values) + k}" for k in range(count)]
        left = names[0] if count == 1 else ", ".join(names)
        known = self._live_storages()
        self._execute(f"{left} = {expression}", names)
        for name in names:
            tensor = self.tensor(name)
            storage = self.storage(name)
            fresh = storage not in known
            if fresh and tensor.numel():
                self.bounds[storage] = bounds
                self.frozen.discard(storage)
                self.written.discard(storage)
                self.state.discard(storage)  # of a buffer that was replaced, whose memory this is now
        self.values += names
        if unbacked:
            self.unbacked.update(names)
        self.lines.append(f"{left} = {expression}")
        return names

    def write(self, target: str, line: str, bounds: Bounds) -> None:
        """A statement that writes numbers of these bounds into the target's memory, beside what stays there."""
        if self.is_state(target) and self.tensor(target).dtype in FLOATS and bounds.magnitude > STATE.magnitude:
            raise Refused
        self._execute(line, [])
        self.bounds[self.storage(target)] = self.bounds_of(target) | bounds
        self.written.add(self.storage(target))
        self.lines.append(line)

    def assign(self, buffer: str, expression: str, bounds: Bounds) -> None:
        """`self.buffer = ...`: another tensor of the same kind becomes the state."""
        old = [(tensor.dtype, tensor.shape) for tensor in self.tensors(buffer)]
        name = self.let(expression, bounds)
        if bounds.magnitude > STATE.magnitude or old != [(tensor.dtype, tensor.shape) for tensor in self.tensors(name)]:
            raise Refused
        self._execute(f"{buffer} = {name}", [])
        self.lines.append(f"{buffer} = {name}")
        storages = {tensor.untyped_storage().data_ptr() for tensor in self.tensors(buffer)}
        self.state |= storages
        self.written |= storages

    def member(self, name: str, expression: str, kind: str, bounds: Bounds) -> str:
        """A buffer, parameter or constant of the module, made in __init__."""
        line = {
            "buffer": f'self.register_buffer("{name}", {expression})',
            "parameter": f"self.{name} = torch.nn.Parameter({expression}, requires_grad=False)",
            "constant": f"self.{name} = {expression}",
        }[kind]
        for environment in self.environments:
            setattr(environment["self"], name, eval(expression, _NAMES))
        self.set_up.append(line)
        full = f"self.{name}"
        for tensor in self.tensors(full):
            (self.state if kind == "buffer" else self.frozen).add(tensor.untyped_storage().data_ptr())
        self.bounds[self.storage(full)] = bounds
        self.values.append(full)
        if kind == "buffer":
            self.buffers.append(full)
        return full

    def input(self, name: str, tensors: Sequence[torch.Tensor], bounds: Bounds) -> None:
        """An argument of forward, of each signature."""
        for environment, tensor in zip(self.environments, tensors, strict=True):
            environment[name] = tensor
        if tensors[0].numel():
            self.bounds[self.storage(name)] = bounds
        self.values.append(name)
        self.inputs.append(name)

    def number_input(self, name: str, numbers: Sequence[int]) -> None:
        """An argument of forward that is an int."""
        for environment, number in zip(self.environments, numbers, strict=True):
            environment[name] = number
        self.numbers.append(name)

    def _live_storages(self) -> set[int]:
        return {self.storage(name) for name in self.values}

    def _execute(self, line: str, names: Sequence[str]) -> None:
        code = compile(line, "<forward>", "exec")
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for environment in self.environments:
                    exec(code, _NAMES, environment)
            for name in names:
                self._check(name)
        except (RuntimeError, IndexError, ValueError, TypeError, AttributeError) as error:
            self._forget(names)
            raise Refused(str(error)) from error
        except Refused:
            self._forget(names)
            raise

    def _forget(self, names: Sequence[str]) -> None:
        for environment in self.environments:
            for name in names:
                environment.pop(name, None)

    def _check(self, name: str) -> None:
        tensors = self.tensors(name)
        if not all(isinstance(tensor, torch.Tensor) for tensor in tensors):
            raise Refused("not a tensor")
        if len({(tensor.dim(), tensor.dtype) for tensor in tensors}) > 1 or tensors[0].dtype not in ALL:
            raise Refused("another kind of tensor in another signature")
        if max(tensor.numel() for tensor in tensors) > MOST_ELEMENTS:
            raise Refused("large")
