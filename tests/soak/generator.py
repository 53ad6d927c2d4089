"""Draws a case."""

from __future__ import annotations

from typing import Any

import torch

from . import arithmetic, views, writes  # noqa: F401  # each adds to the vocabulary
from .cases import LAYOUTS, LEAST, Build, Case, Input
from .draws import Draws
from .maker import FLOATS, SMALL, STATE, TRUTH, ModuleMaker, Refused
from .schedules import draw_steps
from .vocabulary import WORDS, WRITES

_DTYPES = (
    (10, torch.float32),
    (4, torch.int64),
    (2, torch.bool),
    (1, torch.int32),
    (1, torch.float64),
    (1, torch.complex64),
    (1, torch.uint8),
)
_OPERATORS = ("add", "sub", "mul", "relu", "sum", "view", "clamp", "where", "cat", "copy", "slice_scatter", "neg", "abs", "linear")


def draw_case(draws: Draws) -> Case:
    """A random case. Raises Refused if no operators could be found for it."""
    plain = draws.chance(40)
    exact = not plain or draws.chance(50)
    signatures = _signatures(draws)
    maker = ModuleMaker(draws, len(signatures), exact, plain)
    inputs = _inputs(draws, maker, signatures)
    _members(draws, maker)
    _statements(draws, maker)
    result = _result(draws, maker)
    writes_state = bool(maker.state & maker.written)
    writes_inputs = any(maker.storage(name) in maker.written for name in maker.inputs)
    build = _build(draws, plain)
    return Case(
        source=_source(maker, inputs, result),
        inputs=inputs,
        signatures=tuple(signatures),
        build=build,
        steps=tuple(draw_steps(draws, len(signatures), may_thread=not writes_state)),
        writes_state=writes_state,
        writes_inputs=writes_inputs,
        data_dependent=bool(maker.unbacked),
    )


def _signatures(draws: Draws) -> list[dict[str, int]]:
    """Sizes by letter: "b" of tensors, "n" of ints."""
    if not draws.chance(50):
        return [{"n": 3}]
    first = draws.integer(LEAST, LEAST + 3)
    sizes = [first, *draws.choice([[first + 2], [LEAST - 1 + first], [first + 4, LEAST], [LEAST + 4, first + 5]])]
    return [{"b": size, "n": 3 + k} for k, size in enumerate(sizes)]


def _inputs(draws: Draws, maker: ModuleMaker, signatures: list[dict[str, int]]) -> tuple[Input, ...]:
    base: list[int | str] = [draws.weighted([(4, 2), (4, 3), (4, 4), (2, 1), (1, 0)]) for _ in range(draws.integer(1, 3))]
    varies = "b" in signatures[0]
    if varies:
        base[0] = "b"
    inputs = []
    for k in range(draws.integer(1, 3)):
        dims = tuple(draws.choice([base, base, base, base[::-1], base[1:], base[:1], [*base, 2]]))
        if varies and k == 0 and "b" not in dims:
            dims = tuple(base)
        inputs.append(Input(f"x{k}", draws.weighted(_DTYPES), dims, draws.choice(LAYOUTS)))
    for k, each in enumerate(inputs):
        maker.input(each.name, [each.value(sizes, k) for sizes in signatures], SMALL)
        if each.layout == "expanded":
            maker.frozen.update(tensor.untyped_storage().data_ptr() for tensor in maker.tensors(each.name))
    if draws.chance(15):
        inputs.append(Input("n", None, ("n",)))
        maker.number_input("n", [sizes["n"] for sizes in signatures])
    return tuple(inputs)


def _members(draws: Draws, maker: ModuleMaker) -> None:
    shapes: list[Any] = [
        [maker.tensor(name).size(dim) for dim in maker.fixed_dims(name) if dim or maker.draws.chance(50)] for name in maker.inputs
    ]
    for k in range(draws.weighted([(5, 0), (4, 1), (2, 2)])):
        shape = draws.choice([*shapes, [1], [4, 3], [3, 2, 2]])
        dtype = draws.weighted([(5, torch.float32), (3, torch.int64), (1, torch.bool)])
        numbers = f"torch.arange({torch.Size(shape).numel()}).remainder(5).reshape({shape}).to({dtype})"
        maker.member(f"buffer{k}", numbers, "buffer", STATE if dtype in FLOATS else TRUTH)
    if draws.chance(20):
        maker.member("constant", "torch.tensor([[1.0, 2.0], [3.0, -1.0]])", "constant", SMALL)


def _statements(draws: Draws, maker: ModuleMaker) -> None:
    wanted = draws.integer(3, 14)
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
    leaves += [draws.choice(made if draws.chance(75) else maker.values) for _ in range(draws.integer(0 if leaves else 1, 5))]
    others = ["None", f"{leaves[0]}.dim()", *(f"{name} + 1" for name in maker.numbers)]
    others += [f"{name}.size(0)" for name in maker.inputs if maker.tensor(name).dim()]
    forms = [
        f"({', '.join(leaves)},)",
        f"[{', '.join(leaves)}]",
        "{" + ", ".join(f'"{k}": {leaf}' for k, leaf in enumerate(leaves)) + "}",
        f"({leaves[0]}, [{', '.join(leaves[1:])}])",
        f"({', '.join(leaves)}, {draws.choice(others)})",
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
        backend=not draws.chance(5),
        min_block_size=draws.weighted([(3, 1), (1, 2)]),
        torch_executed_ops=tuple(f"aten.{name}" for name in draws.subset(_OPERATORS, 10)),
        split_seed=draws.integer(0, 9999) if draws.chance(40) else None,
        unowned=draws.chance(15),
        options=tuple(options),
    )


def _source(maker: ModuleMaker, inputs: tuple[Input, ...], result: str) -> str:
    lines = ["class Model(torch.nn.Module):"]
    if maker.set_up:
        lines += ["    def __init__(self):", "        super().__init__()", *(f"        {line}" for line in maker.set_up), ""]
    lines += [f"    def forward(self, {', '.join(each.name for each in inputs)}):"]
    lines += [*(f"        {line}" for line in maker.lines), f"        return {result}"]
    return "\n".join(lines) + "\n"
