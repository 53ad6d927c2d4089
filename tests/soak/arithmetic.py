"""Statements that calculate: element by element, sums, products; each says how large its numbers become."""

from __future__ import annotations

import torch

from .maker import ANY_GRAIN, FLOATS, INTS, REALS, SMALL, TRUTH, Bounds, ModuleMaker, Refused
from .vocabulary import dim_of, fixed_dim, partner, word

_COMPARISONS = ("<", ">=", "==")


@word(12)
def combines_two(maker: ModuleMaker) -> None:
    a = maker.number()
    b = partner(maker, a)
    x, y = maker.bounds_of(a), maker.bounds_of(b)
    forms = [
        (f"{a} + {b}", (x | y).grown(1)),
        (f"{a} * {b}", x.times(y)),
        (f"{a} - {b}", (x | y).grown(1)),
        (maker.one_zero(f"torch.maximum({a}, {b})"), x | y),
        (maker.one_zero(f"torch.minimum({a}, {b})"), x | y),
        (f"torch.where({a} > 0, {a}, {b})", x | y),
        (f"{a} / ({b}.abs() + 1)", Bounds(max(x.magnitude, 8), ANY_GRAIN)),
    ]
    maker.let(*maker.draws.choice(forms))


@word(10)
def changes_each_number(maker: ModuleMaker) -> None:
    a = maker.number(unbacked=True)
    x = maker.bounds_of(a)
    forms = [
        (f"{a} + 1", (x | SMALL).grown(1)),
        (f"{a} * 2", x.grown(1)),
        (f"3 - {a}", (x | SMALL).grown(1)),
        (f"{a}.relu()", x),
        (f"{a}.neg()", x),
        (f"{a}.abs()", x),
        (f"{a}.clamp(0, 3)", Bounds(2, x.grain)),
        (f"{a}.sign()", TRUTH),
        (f"{a} * {a}", x.times(x)),
        (f"{a} / 4", Bounds(x.magnitude, x.grain + 2)),
        (f"{a}.abs().sqrt()", Bounds(x.magnitude, ANY_GRAIN)),
        (f"{a}.remainder(3)", Bounds(2, x.grain)),
        (f"F.leaky_relu({a}.clamp(-4, 4), 0.5)", Bounds(2, x.grain + 1)),
    ]
    expression, bounds = maker.draws.choice(forms)
    maker.let(expression, bounds, unbacked=a in maker.unbacked)


@word(3)
def takes_a_number(maker: ModuleMaker) -> None:
    """An int that the caller passes."""
    if not maker.numbers:
        raise Refused
    n = maker.draws.choice(maker.numbers)
    a = maker.number()
    bounds = maker.bounds_of(a).grown(4)
    forms = [f"{a} * {n}", f"{a} + {n}", f"{a}.clamp(0, {n})"]
    if maker.tensor(a).dim():
        forms.append(f"{a}.roll({n}, {dim_of(maker, a)})")
    maker.let(maker.draws.choice(forms), bounds)


@word(4)
def asks(maker: ModuleMaker) -> None:
    a = maker.number(REALS, unbacked=True)
    if maker.tensor(a).dtype == torch.bool:
        b = maker.pick((torch.bool,))
        form = maker.draws.choice([f"~{a}", f"{a} & {b}", f"{a} ^ {b}", f"{a}.logical_not()"])
        maker.let(form, TRUTH, unbacked=a in maker.unbacked)
    else:
        maker.let(f"{a} {maker.draws.choice(_COMPARISONS)} {maker.draws.integer(-1, 1)}", TRUTH, unbacked=a in maker.unbacked)


@word(4)
def becomes_another_dtype(maker: ModuleMaker) -> None:
    a = maker.number(REALS)
    dtype = maker.draws.choice([torch.float32, torch.int64, torch.float64, torch.int32, torch.uint8, torch.bool])
    old = maker.tensor(a).dtype
    if old in INTS and dtype in FLOATS:
        maker.let(f"{a}.remainder(8).to({dtype})", Bounds(3, 0))
    elif old in FLOATS and dtype in INTS:
        maker.let(f"{a}.abs().clamp(0, 100).to({dtype})", TRUTH)  # outside a dtype's range, casts are undefined
    elif old == torch.float64 and dtype == torch.float32:
        maker.let(f"{a}.to({dtype})", Bounds(maker.bounds_of(a).magnitude + 1, ANY_GRAIN))
    else:
        maker.let(f"{a}.to({dtype})", maker.bounds_of(a))


@word(3)
def multiplies_complex(maker: ModuleMaker) -> None:
    a = maker.pick((torch.complex64,))
    b = maker.pick((torch.complex64,))
    x, y = maker.bounds_of(a), maker.bounds_of(b)
    if x.magnitude + x.grain + y.magnitude + y.grain > 20:  # rounded products would depend on contraction
        maker.let(f"{a} + {b}", (x | y).grown(1))
    else:
        maker.let(maker.draws.choice([f"{a} * {b}", f"{a} * {b}.conj()"]), x.times(y).grown(1))


@word(7)
def reduces(maker: ModuleMaker) -> None:
    a = maker.number(REALS, unbacked=True)
    count = max(tensor.numel() for tensor in maker.tensors(a))
    a = maker.summable(64 * 64 if a in maker.unbacked else count, a)
    x = maker.bounds_of(a)
    rank = maker.tensor(a).dim()
    dim = "" if not rank or maker.draws.chance(30) else f"{dim_of(maker, a)}"
    keep = f"{dim}, keepdim=True" if dim and maker.draws.chance(30) else dim
    forms = [
        (f"{a}.sum({keep})", x.grown(12)),
        (maker.one_zero(f"{a}.amax({keep})"), x),
        (f"{a}.argmax({dim})", TRUTH),
        (f"{a}.any({keep})", TRUTH),
        (f"{a}.count_nonzero({dim})", TRUTH),
        (f"{a}.all({keep})", TRUTH),
    ]
    if dim:
        forms += [(f"{a}.cumsum({dim})", x.grown(12)), (f"{a}.sum({keep})", x.grown(12))]
    if maker.tensor(a).dtype in FLOATS:
        forms.append((f"{a}.mean({keep})", Bounds(x.magnitude, ANY_GRAIN)))
    expression, bounds = maker.draws.choice(forms)
    maker.let(expression, bounds, unbacked=a in maker.unbacked)


@word(3)
def gives_values_and_indices(maker: ModuleMaker) -> None:
    a = maker.number(rank=1)
    dim, _ = fixed_dim(maker, a)
    forms = [f"{a}.max({dim})", f"{a}.min({dim}, keepdim=True)", f"{a}.sort({dim}, stable=True)", f"{a}.cummax({dim})"]
    if a not in maker.unbacked:
        forms.append(f"torch.aminmax({a}, dim={dim})")
    maker.unpack(maker.draws.choice(forms), 2, maker.bounds_of(a))


@word(6)
def multiplies_matrices(maker: ModuleMaker) -> None:
    a = maker.number(FLOATS, rank=1)
    dim, size = maker.tensor(a).dim() - 1, maker.tensor(a).size(-1)
    if dim not in maker.fixed_dims(a):
        raise Refused
    a = maker.summable(size * 16, a)
    dtype = maker.tensor(a).dtype
    if maker.draws.chance(60):
        b = weight(maker, size, maker.draws.integer(1, 4), dtype)
        forms = [f"F.linear({a}, {b})", f"{a} @ {b}.t()", f"torch.matmul({a}, {b}.t())"]
    else:
        b = maker.summable(size * 16, maker.number((dtype,), rank=2))
        forms = [f"{a} @ {b}", f"{a} @ {b}.mT", f"torch.einsum('...i,...i->...', {a}, {a})"]
    x, y = maker.bounds_of(a), maker.bounds_of(b)
    if maker.exact and x.magnitude + x.grain + y.magnitude + y.grain > 16:
        raise Refused
    maker.let(maker.one_zero(maker.draws.choice(forms)), x.times(y).grown(6))


def weight(maker: ModuleMaker, inputs: int, outputs: int, dtype: torch.dtype) -> str:
    """A new parameter of small numbers."""
    name = f"weight{sum(value.startswith('self.weight') for value in maker.values)}"
    expression = f"(torch.arange({inputs * outputs}, dtype={dtype}).remainder(7) - 3).reshape({outputs}, {inputs})"
    return maker.member(name, expression, "parameter", Bounds(2, 0))


@word(3)
def rounds(maker: ModuleMaker) -> None:
    """Operators whose last bits depend on how their operands lie in memory."""
    if maker.exact:
        raise Refused
    a = maker.number((torch.float32,), rank=1, where=lambda name: maker.tensor(name).numel() > 0)
    dim, size = dim_of(maker, a), maker.tensor(a).size(-1)
    forms = [
        f"{a}.clamp(-4, 4).softmax({dim})",
        f"{a}.clamp(-4, 4).exp()",
        f"{a}.sin()",
        f"{a}.tanh()",
        f"F.gelu({a})",
        f"{a}.sigmoid()",
        f"{a}.clamp(-4, 4).logsumexp({dim})",
    ]
    if maker.tensor(a).dim() - 1 in maker.fixed_dims(a):
        forms.append(f"F.layer_norm({a}.clamp(-4, 4), ({size},))")
    maker.let(maker.draws.choice(forms), Bounds(max(8, maker.bounds_of(a).magnitude + 1), ANY_GRAIN))
