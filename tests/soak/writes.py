"""Statements that write in place: into intermediate values, inputs and buffers, whole, in part and by index."""

from __future__ import annotations

import torch

from .maker import ALL, ANY_GRAIN, FLOATS, INTS, MOST, NUMBERS, SMALL, TRUTH, Bounds, ModuleMaker, Refused
from .vocabulary import fixed_dim, index_below, partner, writing


@writing(16)
def writes_numbers(maker: ModuleMaker) -> None:
    a = maker.target(NUMBERS)
    real = maker.tensor(a).dtype in FLOATS
    x = maker.bounds_of(a)
    if x.magnitude > MOST - 10:
        raise Refused
    forms = [
        (f"{a}.clamp_(-2, 3)", SMALL),
        (f"{a}.zero_()", TRUTH),
        (f"{a}.fill_({maker.draws.integer(0, 3)})", SMALL),
        (f"{a}.abs_()", TRUTH),
        (f"{a}.neg_()" if maker.tensor(a).dtype != torch.uint8 else f"{a}.relu_()", TRUTH),
        (f"{a}.masked_fill_({a} > 0, 2)", SMALL),
    ]
    if real:
        forms.append((f"{a}.mul_(0.5)", Bounds(x.magnitude, x.grain + 1)))
    if not maker.is_state(a):
        forms += [
            (f"{a}.add_(1)", x.grown(1)),
            (f"{a}.mul_(2)", x.grown(1)),
            (f"{a} += 1", x.grown(1)),
            (f"F.relu({a}, inplace=True)", x),
            (f"{a}.sub_({a})", x.grown(1)),
        ]
    elif not real:
        forms += [(f"{a}.add_(1)", TRUTH)] * 3
    maker.write(a, *maker.draws.choice(forms))


@writing(12)
def writes_from_another(maker: ModuleMaker) -> None:
    a = maker.target(NUMBERS)
    b = partner(maker, a)
    if not maker.may_read(a, b):
        raise Refused
    x, y = maker.bounds_of(a), maker.bounds_of(b)
    if x.magnitude > MOST - 10:
        raise Refused
    if maker.is_state(a) and maker.tensor(a).dtype in FLOATS:
        if y.magnitude > 3:
            b = maker.let(f"{b}.clamp(-4, 4)", Bounds(2, y.grain))
            y = maker.bounds_of(b)
        forms = [f"{a}.copy_({b})", f"{a}.mul_(0.5).add_({b})", f"{a}[...] = {b}"]
        maker.write(a, maker.draws.choice(forms), Bounds(y.magnitude, ANY_GRAIN))
    else:
        forms = [
            (f"{a}.add_({b})", (x | y).grown(1)),
            (f"{a}.copy_({b})", y),
            (f"{a}.mul_({b})", x.times(y)),
            (f"{a}.sub_({b})", (x | y).grown(1)),
            (f"{a}[...] = {b}", y),
        ]
        maker.write(a, *maker.draws.choice(forms))


@writing(8)
def writes_a_part(maker: ModuleMaker) -> None:
    a = maker.target(ALL, rank=1)
    dim, size = fixed_dim(maker, a)
    start = maker.draws.integer(0, size - 1)
    stop = maker.draws.integer(start + 1, size)
    place = f"{':, ' * dim}{start}:{stop}"
    number = maker.draws.integer(0, 2)
    forms = [(f"{a}[{place}] = {number}", SMALL), (f"{a}[{':, ' * dim}{start}].fill_({number})", SMALL)]
    dtype = maker.tensor(a).dtype
    b = maker.pick((dtype,), where=lambda name: maker.may_read(a, name))
    y = maker.bounds_of(b)
    if maker.is_state(a) and y.magnitude > 4:
        raise Refused
    forms += [(f"{a}[{place}] = {b}", y), (f"{a}.select({dim}, {start}).copy_({b})", y)]
    maker.write(a, *maker.draws.choice(forms))


@writing(6)
def writes_by_index(maker: ModuleMaker) -> None:
    a = maker.target(NUMBERS, rank=1)
    dim, size = fixed_dim(maker, a)
    index = index_below(maker, size, rank=1, most_rank=1)
    length = maker.tensor(index).numel()
    front = ":, " * dim
    number = maker.draws.integer(0, 2)
    sizes = [str(length) if d == dim else f"{a}.size({d})" for d in range(maker.tensor(a).dim())]
    forms = [
        (f"{a}.index_fill_({dim}, {index}, {number})", SMALL),
        (f"{a}[{front}{index}] = {number}", SMALL),
        (f"{a}.index_copy_({dim}, {index}, {a}.new_full(({', '.join(sizes)},), {number}))", SMALL),
    ]
    maker.write(a, *maker.draws.choice(forms))


@writing(3)
def writes_truth(maker: ModuleMaker) -> None:
    a = maker.target((torch.bool,))
    form = maker.draws.choice([f"{a}.logical_not_()", f"{a}.fill_(True)", f"{a}.zero_()"])
    maker.write(a, form, TRUTH)


@writing(3)
def changes_shape_in_place(maker: ModuleMaker) -> None:
    a = maker.target(where=lambda name: not name.startswith("self.") and name not in maker.inputs)
    forms = [f"{a}.unsqueeze_(0)", f"{a}.squeeze_()"]
    if maker.tensor(a).dim() > 1:
        forms += [f"{a}.transpose_(0, -1)", f"{a}.swapaxes_(0, 1)"]
    if maker.tensor(a).dim() == 2:
        forms.append(f"{a}.t_()")
    maker.write(a, maker.draws.choice(forms), TRUTH)


@writing(5)
def advances_a_buffer(maker: ModuleMaker) -> None:
    """In place, or by assignment, which torch.export turns into a write."""
    if not maker.buffers:
        raise Refused
    a = maker.draws.choice(maker.buffers)
    if maker.tensor(a).dtype in FLOATS:
        next_one, bounds = f"{a} * 0.5 + 1", Bounds(4, ANY_GRAIN)
    elif maker.tensor(a).dtype in INTS:
        next_one, bounds = f"{a} + 1", TRUTH
    else:
        next_one, bounds = f"~{a}", TRUTH
    if maker.draws.chance(50):
        maker.assign(a, next_one, bounds)
    else:
        maker.write(a, f"{a}.copy_({next_one})", bounds)
