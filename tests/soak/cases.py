"""A case: a random module, the inputs it takes, how it becomes a program, and what a caller then does with that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from .maker import FLOATS
from .schedules import Step, Together

LEAST = 5  # of a size that varies: torch.export refuses to tell smaller ones from the sizes that a module fixes


@dataclass(frozen=True)
class Input:
    """An argument of forward: a tensor of this shape, in which a letter is a size of the signature; or such a size as an int."""

    name: str
    dtype: torch.dtype | None  # None for an int
    dims: tuple[int | str, ...]
    layout: str = "dense"

    def value(self, sizes: Mapping[str, int], seed: int, layout: str | None = None) -> torch.Tensor | int:
        """With numbers from the seed: quarters in [-4, 4], small integers, or truth values. `layout`: another than its own."""
        if self.dtype is None:
            return sizes[self.dims[0]]
        return self._laid_out(
            sizes, seed, layout or self.layout
        ).data  # no view of another tensor, whose shape torch.export would guard

    def _laid_out(self, sizes: Mapping[str, int], seed: int, layout: str) -> torch.Tensor:
        shape = [sizes[dim] if isinstance(dim, str) else dim for dim in self.dims]
        generator = torch.Generator().manual_seed(seed)
        if layout == "expanded" and shape and isinstance(self.dims[0], int):
            return self._numbers([1, *shape[1:]], generator).expand(shape)
        if layout == "transposed":
            return self._numbers(shape[::-1], generator).permute(list(range(len(shape)))[::-1])
        if layout == "strided" and shape:
            return self._numbers([*shape[:-1], 2 * shape[-1]], generator)[..., ::2]
        if layout == "offset":
            return self._numbers([torch.Size(shape).numel() + 1], generator)[1:].view(shape)
        return self._numbers(shape, generator)

    def _numbers(self, shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
        if self.dtype == torch.complex64:
            return torch.view_as_complex(torch.randint(-16, 17, (*shape, 2), generator=generator).to(torch.float32) / 4)
        low, high = (0, 9) if self.dtype == torch.uint8 else (-16, 17) if self.dtype in FLOATS else (-8, 9)
        numbers = torch.randint(low, high, tuple(shape), generator=generator)
        if self.dtype == torch.bool:
            return numbers > 0
        return numbers.to(self.dtype) / 4 if self.dtype in FLOATS else numbers.to(self.dtype)


WRITABLE_LAYOUTS = ("dense", "transposed", "strided", "offset")
LAYOUTS = ("dense", "dense", *WRITABLE_LAYOUTS, "expanded")


@dataclass(frozen=True)
class Build:
    """How the module becomes a program: through torch.export.save and tenure.load, or tenure.compile."""

    plain: bool
    backend: bool = True  # the null engine takes parts
    min_block_size: int = 1
    torch_executed_ops: tuple[str, ...] = ()
    split_seed: int | None = None  # of a backend that refuses operators at random
    unowned: bool = False  # an engine's outputs are declared unowned
    options: tuple[tuple[str, int], ...] = ()  # of the session


@dataclass(frozen=True)
class Case:
    """All that a run of a random program depends on."""

    source: str
    inputs: tuple[Input, ...]
    signatures: tuple[Mapping[str, int], ...]  # sizes by letter
    build: Build
    steps: tuple[Step, ...]
    writes_state: bool
    writes_inputs: bool
    data_dependent: bool

    def model(self) -> torch.nn.Module:
        """A new one, its state as at first."""
        names: dict[str, Any] = {"torch": torch, "F": torch.nn.functional}
        exec(compile(self.source, "<soak>", "exec"), names)
        return names["Model"]().eval()

    def arguments(self, signature: int, seed: int, layouts: int | None = None) -> list[torch.Tensor | int]:
        """Of forward; the same for the same seed, in memory of their own. `layouts`: which layouts, instead of their own."""
        found = []
        for k, each in enumerate(self.inputs):
            layout = (
                None
                if layouts is None or each.layout == "expanded"
                else WRITABLE_LAYOUTS[(layouts + k * k) % len(WRITABLE_LAYOUTS)]
            )
            found.append(each.value(self.signatures[signature], seed * 8 + k, layout))
        return found

    def twins(self) -> tuple[int, int] | None:
        """Two inputs for which one tensor may be passed."""
        for k, one in enumerate(self.inputs):
            for j, other in enumerate(self.inputs[:k]):
                if one.dtype is not None and replace(one, name="") == replace(other, name="") and not self.writes_inputs:
                    return j, k
        return None

    def dynamic_shapes(self) -> list[Any]:
        """As torch.export takes them."""
        letters = {dim for each in self.inputs for dim in each.dims if isinstance(dim, str) and each.dtype is not None}
        dims = {letter: torch.export.Dim(letter, min=LEAST, max=64) for letter in letters}
        return [
            {k: dims[dim] for k, dim in enumerate(each.dims) if isinstance(dim, str)}
            if each.dtype is not None
            else torch.export.Dim.DYNAMIC
            for each in self.inputs
        ]

    @property
    def may_lie_otherwise(self) -> bool:
        """Whether runs may lay the inputs out otherwise than they were exported: as_strided asks how they lie, and engines keep the
        layout that was exported."""
        return self.build.plain or ".as_strided(" not in self.source

    @property
    def has_threads(self) -> bool:
        """Whether some runs are at once."""
        return any(isinstance(step, Together) for step in self.steps)

    def checking_ownership(self) -> Case:
        """The same with the checker of stale reads on."""
        options = (*(option for option in self.build.options if option[0] != "check_ownership"), ("check_ownership", True))
        return replace(self, build=replace(self.build, options=options))

    def __str__(self) -> str:
        inputs = "\n".join(f"#   {each}" for each in self.inputs)
        steps = "\n".join(f"#   {k}: {step}" for k, step in enumerate(self.steps))
        return f"{self.source}\n# inputs\n{inputs}\n# signatures {list(self.signatures)}\n# {self.build}\n# steps\n{steps}\n"
