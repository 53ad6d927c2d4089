"""A case: a random module, the inputs it takes, how it becomes a program, and what a caller then does with that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from .draws import Draws
from .maker import ALL, FLOATS, SMALL, STATE, TRUTH, ModuleMaker, Refused
from .schedules import Step, Together, draw_steps
from .sums import WRITES
from .words import WORDS

LEAST = 5  # of a size that varies: torch.export refuses to tell smaller ones from the sizes that a module fixes
LAYOUTS = ("dense", "dense", "dense", "transposed", "strided", "offset", "expanded")


@dataclass(frozen=True)
class Input:
    """An argument of forward: a tensor of this shape, in which a letter stands for a size of the signature."""

    name: str
    dtype: torch.dtype
    dims: tuple[int | str, ...]
    layout: str

    def tensor(self, sizes: Mapping[str, int], seed: int) -> torch.Tensor:
        """With numbers from the seed: quarters in [-4, 4], small integers, or truth values."""
        return self._laid_out(sizes, seed).data  # no view of another tensor, whose shape torch.export would guard

    def _laid_out(self, sizes: Mapping[str, int], seed: int) -> torch.Tensor:
        shape = [sizes[dim] if isinstance(dim, str) else dim for dim in self.dims]
        generator = torch.Generator().manual_seed(seed)
        if self.layout == "expanded" and shape and isinstance(self.dims[0], int):
            return self._numbers([1, *shape[1:]], generator).expand(shape)
        if self.layout == "transposed":
            return self._numbers(shape[::-1], generator).permute(list(range(len(shape)))[::-1])
        if self.layout == "strided" and shape:
            return self._numbers([*shape[:-1], 2 * shape[-1]], generator)[..., ::2]
        if self.layout == "offset":
            return self._numbers([torch.Size(shape).numel() + 1], generator)[1:].view(shape)
        return self._numbers(shape, generator)

    def _numbers(self, shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
        low, high = (0, 9) if self.dtype == torch.uint8 else (-16, 17) if self.dtype in (*FLOATS, torch.complex64) else (-8, 9)
        if self.dtype == torch.complex64:
            return torch.view_as_complex(torch.randint(low, high, (*shape, 2), generator=generator).to(torch.float32) / 4)
        numbers = torch.randint(low, high, tuple(shape), generator=generator)
        if self.dtype == torch.bool:
            return numbers > 0
        return numbers.to(self.dtype) / 4 if self.dtype in FLOATS else numbers.to(self.dtype)


@dataclass(frozen=True)
class Build:
    """How the module becomes a program: through torch.export.save and tenure.load, or tenure.compile."""

    plain: bool
    backend: bool = False  # the null engine takes parts
    min_block_size: int = 1
    torch_executed_ops: tuple[str, ...] = ()
    split_seed: int | None = None  # of a backend that refuses operators at random
    unowned: bool = False  # declare the first engine's outputs unowned
    options: tuple[tuple[str, int], ...] = ()  # of the session


@dataclass(frozen=True)
class Case:
    """All that a run of a random program depends on."""

    source: str
    inputs: tuple[Input, ...]
    signatures: tuple[Mapping[str, int], ...]
    build: Build
    steps: tuple[Step, ...]
    writes_state: bool
    data_dependent: bool
    dense: bool  # an engine's dense outputs have the strides that eager's have

    def model(self) -> torch.nn.Module:
        """A new one, its state as at first."""
        names: dict = {"torch": torch, "F": torch.nn.functional}
        exec(compile(self.source, "<soak>", "exec"), names)
        return names["Model"]().eval()

    def arguments(self, signature: int, seed: int) -> list[torch.Tensor]:
        """Of forward; the same for the same seed, in memory of their own."""
        return [each.tensor(self.signatures[signature], seed * 8 + k) for k, each in enumerate(self.inputs)]

    def dynamic_shapes(self) -> list[dict] | None:
        """As torch.export takes them; None if all sizes are fixed."""
        letters = sorted({dim for each in self.inputs for dim in each.dims if isinstance(dim, str)})
        if not letters:
            return None
        dims = {letter: torch.export.Dim(letter, min=LEAST, max=64) for letter in letters}
        return [{k: dims[dim] for k, dim in enumerate(each.dims) if isinstance(dim, str)} for each in self.inputs]

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
        return f"{self.source}\n# inputs\n{inputs}\n# signatures {list(self.signatures)}\n# {self.build}\n# steps\n{steps}"


_OPERATORS = ("add", "sub", "mul", "relu", "sum", "view", "clamp", "where", "cat", "copy", "slice_scatter", "neg", "abs", "linear")


def draw_case(draws: Draws) -> Case:
    """A random case. Raises Refused if no operators could be found for it."""
    plain = draws.chance(45)
    exact = not plain or draws.chance(50)
    signatures = _signatures(draws)
    maker = ModuleMaker(draws, len(signatures), exact, plain)
    inputs = _inputs(draws, maker, signatures)
    _buffers(draws, maker)
    _statements(draws, maker, draws.integer(3, 14))
    result = _result(draws, maker)
    writes_state = bool(maker.state & maker.written)
    writes_inputs = any(maker.storage(name) in maker.written for name in maker.inputs)
    build = _build(draws, plain)
    steps = draw_steps(draws, len(signatures), len(inputs), may_thread=not writes_state)
    return Case(
        source=_source(maker, inputs, result),
        inputs=inputs,
        signatures=tuple(signatures),
        build=build,
        steps=tuple(steps),
        writes_state=writes_state,
        data_dependent=bool(maker.unbacked),
        dense=maker.dense and not writes_inputs,
    )


def _signatures(draws: Draws) -> list[dict[str, int]]:
    if not draws.chance(50):
        return [{}]
    first = draws.integer(LEAST, LEAST + 3)
    sizes = [first, *draws.choice([[first + 2], [LEAST - 1 + first], [first + 4, LEAST], [LEAST + 4, first + 5]])]
    return [{"b": size} for size in sizes]


def _inputs(draws: Draws, maker: ModuleMaker, signatures: list[dict[str, int]]) -> tuple[Input, ...]:
    base: list[int | str] = [draws.weighted([(1, 0), (2, 1), (4, 2), (4, 3), (4, 4)]) for _ in range(draws.integer(1, 3))]
    if signatures[0]:
        base[0] = "b"
    inputs = []
    for k in range(draws.integer(1, 3)):
        dims = tuple(draws.choice([base, base, base, base[::-1], base[1:], base[:1], [*base, 2]]))
        dtype = draws.weighted(
            [
                (10, torch.float32),
                (4, torch.int64),
                (2, torch.bool),
                (1, torch.int32),
                (1, torch.float64),
                (1, torch.complex64),
                (1, torch.uint8),
            ]
        )
        inputs.append(Input(f"x{k}", dtype, dims, draws.choice(LAYOUTS)))
    if signatures[0] and not any("b" in each.dims for each in inputs):
        inputs[0] = Input("x0", inputs[0].dtype, tuple(base), inputs[0].layout)
    for k, each in enumerate(inputs):
        maker.input(each.name, [each.tensor(sizes, k) for sizes in signatures], SMALL)
        if each.layout == "expanded":
            maker.frozen.update(tensor.untyped_storage().data_ptr() for tensor in maker.tensors(each.name))
    return tuple(inputs)


def _buffers(draws: Draws, maker: ModuleMaker) -> None:
    shapes = [
        list(maker.tensor(name).shape[len(maker.tensor(name).shape) - len(maker.fixed_dims(name)) :]) for name in maker.inputs
    ]
    for k in range(draws.weighted([(5, 0), (4, 1), (2, 2)])):
        shape = draws.choice([*shapes, [1], [4, 3], [3, 2, 2]])
        dtype = draws.weighted([(5, torch.float32), (3, torch.int64), (1, torch.bool)])
        count = torch.Size(shape).numel()
        maker.member(
            f"buffer{k}",
            f"torch.arange({count}).remainder(5).reshape({shape}).to({dtype})",
            "buffer",
            STATE if dtype in FLOATS else TRUTH,
        )
    if draws.chance(20):
        maker.member("constant", "torch.tensor([[1.0, 2.0], [3.0, -1.0]])", "constant", SMALL)


def _statements(draws: Draws, maker: ModuleMaker, wanted: int) -> None:
    wanted += len(maker.lines)
    for _ in range(8 * wanted):
        if len(maker.lines) >= wanted:
            return
        try:
            draws.weighted(WRITES if draws.chance(25) else WORDS)(maker)
        except Refused:
            continue
    if not maker.lines:
        raise Refused("no statement")


def _result(draws: Draws, maker: ModuleMaker) -> str:
    made = [name for name in maker.values if name.startswith("v")] or maker.values
    leaves = [made[-1]] if draws.chance(80) else []
    for _ in range(draws.integer(0 if leaves else 1, 5)):
        leaves.append(draws.choice(made if draws.chance(75) else maker.values))
    forms = [
        f"({', '.join(leaves)},)",
        f"[{', '.join(leaves)}]",
        "{" + ", ".join(f'"{k}": {leaf}' for k, leaf in enumerate(leaves)) + "}",
        f"({leaves[0]}, [{', '.join(leaves[1:])}])",
        f"({', '.join(leaves)}, None)",
    ]
    return leaves[0] if len(leaves) == 1 and draws.chance(50) else draws.choice(forms)


def _build(draws: Draws, plain: bool) -> Build:
    options = [(name, draws.integer(1, 3)) for name in ("max_frames", "max_plan_bytes", "max_output_slots") if draws.chance(12)]
    if draws.chance(15):
        options.append(("check_ownership", True))
    if plain:
        return Build(plain=True, options=tuple(options))
    return Build(
        plain=False,
        backend=not draws.chance(10),
        min_block_size=draws.integer(1, 2),
        torch_executed_ops=tuple(f"aten.{name}" for name in draws.subset(_OPERATORS, 15)),
        split_seed=draws.integer(0, 9999) if draws.chance(40) else None,
        unowned=draws.chance(15),
        options=tuple(options),
    )


def _source(maker: ModuleMaker, inputs: tuple[Input, ...], result: str) -> str:
    names = ", ".join(each.name for each in inputs)
    lines = ["class Model(torch.nn.Module):"]
    if maker.set_up:
        lines += ["    def __init__(self):", "        super().__init__()", *(f"        {line}" for line in maker.set_up), ""]
    lines += [f"    def forward(self, {names}):", *(f"        {line}" for line in maker.lines), f"        return {result}"]
    return "\n".join(lines) + "\n"


__all__ = ["ALL", "Build", "Case", "Input", "draw_case"]
