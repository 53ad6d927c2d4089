"""Statements that look at memory in another way: views, views that may be copies, splits; and joins, copies, selections."""

from __future__ import annotations

import torch

from .maker import FLOATS, REALS, SMALL, TRUTH, ModuleMaker, Refused
from .vocabulary import dim_of, fixed_dim, index_below, view, word


@word(4)
def moves_dimensions(maker: ModuleMaker) -> None:
    a = maker.pick(rank=1, unbacked=True)
    rank = maker.tensor(a).dim()
    i, j = dim_of(maker, a), dim_of(maker, a)
    order = sorted(range(rank), key=lambda _: maker.draws.integer(0, 99))
    forms = [
        f"{a}.transpose({i}, {j})",
        f"{a}.permute({order})",
        f"{a}.movedim({i}, {j})",
        f"{a}.mT" if rank > 1 else f"{a}.detach()",
    ]
    view(maker, a, maker.draws.choice(forms))


@word(3)
def adds_or_drops_a_dimension(maker: ModuleMaker) -> None:
    a = maker.pick(unbacked=True)
    rank = maker.tensor(a).dim()
    if rank < 4 and maker.draws.chance(60):
        view(maker, a, f"{a}.unsqueeze({maker.draws.integer(0, rank)})")
    else:
        view(maker, a, f"{a}.squeeze({dim_of(maker, a)})")


@word(6)
def takes_a_slice(maker: ModuleMaker) -> None:
    a = maker.pick(rank=1)
    dim, size = fixed_dim(maker, a)
    start = maker.draws.integer(0, size - 1)
    length = maker.draws.integer(0 if maker.draws.chance(10) else 1, size - start)
    step = maker.draws.integer(1, 3)
    front = ":, " * dim
    forms = [
        f"{a}.narrow({dim}, {start}, {length})",
        f"{a}[{front}{start}:{start + length}]",
        f"{a}[{front}{start}::{step}]",
        f"{a}[..., {start - size}:]" if dim == maker.tensor(a).dim() - 1 else f"{a}[{front}:{start + 1}]",
    ]
    view(maker, a, maker.draws.choice(forms))


@word(2)
def slices_a_varying_dimension(maker: ModuleMaker) -> None:
    a = maker.pick(rank=1, where=lambda name: len(maker.fixed_dims(name)) < maker.tensor(name).dim())
    dim = next(dim for dim in range(maker.tensor(a).dim()) if dim not in maker.fixed_dims(a))
    form = maker.draws.choice(["1:", ":-1", "::2"])
    view(maker, a, f"{a}[{':, ' * dim}{form}]")


@word(4)
def selects(maker: ModuleMaker) -> None:
    a = maker.pick(rank=1)
    dim, size = fixed_dim(maker, a)
    index = maker.draws.integer(-size, size - 1)
    view(maker, a, maker.draws.choice([f"{a}.select({dim}, {index})", f"{a}[{':, ' * dim}{index}]"]))


@word(3)
def expands(maker: ModuleMaker) -> None:
    a = maker.pick(unbacked=False)
    rank = maker.tensor(a).dim()
    if rank < 4 and maker.draws.chance(50):
        view(maker, a, f"{a}.expand({maker.draws.integer(1, 3)}{', -1' * rank})")
    else:
        b = maker.pick()
        view(maker, a, f"{a}.expand_as({b})" if maker.draws.chance(50) else f"torch.broadcast_to({a}, {b}.shape)")


@word(2)
def takes_strides_apart(maker: ModuleMaker) -> None:
    a = maker.pick(rank=1, where=lambda name: len(maker.fixed_dims(name, 1)) == maker.tensor(name).dim())
    count = maker.tensor(a).untyped_storage().nbytes() // maker.tensor(a).element_size() - maker.tensor(a).storage_offset()
    if not maker.tensor(a).is_contiguous() or count < 2:
        raise Refused
    rows = maker.draws.integer(1, min(3, count))
    columns = maker.draws.integer(1, count // rows)
    step = maker.draws.integer(1, columns)
    view(maker, a, f"{a}.as_strided(({rows}, {columns}), ({step}, 1), {maker.tensor(a).storage_offset()})")


@word(3)
def looks_through_windows(maker: ModuleMaker) -> None:
    a = maker.pick(rank=1)
    rank = maker.tensor(a).dim()
    if rank > 1 and maker.draws.chance(60):
        i, j = maker.draws.integer(0, rank - 1), maker.draws.integer(0, rank - 1)
        view(maker, a, f"{a}.diagonal({maker.draws.integer(-1, 1)}, {i}, {j})")
    else:
        dim, size = fixed_dim(maker, a, 2)
        view(maker, a, f"{a}.unfold({dim}, {maker.draws.integer(1, size)}, {maker.draws.integer(1, 2)})")


@word(4)
def views_as_another_shape(maker: ModuleMaker) -> None:
    a = maker.pick(rank=1)
    shape = maker.tensor(a).shape
    dim = dim_of(maker, a) % len(shape)
    divisors = [d for d in (1, 2, 3, 4) if dim in maker.fixed_dims(a, 1) and shape[dim] % d == 0] or [1]
    split = ", ".join(f"{maker.draws.choice(divisors)}, -1" if k == dim else f"{a}.size({k})" for k in range(len(shape)))
    forms = [f"{a}.view(-1)", f"{a}.view({split})", f"{a}.unflatten({dim}, ({maker.draws.choice(divisors)}, -1))"]
    view(maker, a, maker.draws.choice(forms))


@word(8)
def may_or_may_not_copy(maker: ModuleMaker) -> None:
    a = maker.pick(unbacked=False)
    rank = maker.tensor(a).dim()
    first = maker.draws.integer(0, max(rank - 1, 0))
    last = maker.draws.integer(first, max(rank - 1, 0))
    forms = [
        f"{a}.reshape(-1)",
        f"{a}.contiguous()",
        f"{a}.flatten({first}, {last})",
        f"{a}.to({maker.tensor(a).dtype})",
        f"{a}.reshape({', '.join(f'{a}.size({dim})' for dim in reversed(range(rank)))})" if rank else f"{a}.reshape(1)",
        f"{a}.ravel()",
        f"{a}.expand_as({a}).contiguous()",
    ]
    view(maker, a, maker.draws.choice(forms))


@word(3)
def sees_what_a_schema_hides(maker: ModuleMaker) -> None:
    """Views, or the tensor itself, of operators whose schemas promise new tensors.

    Of state they are refused where written; of what is conjugated, torch.export's functional form makes copies first.
    """
    a = maker.pick(REALS, where=lambda name: not maker.is_state(name))
    rank = maker.tensor(a).dim()
    forms = [
        f"torch.atleast_2d({a})",
        f"{a}.type_as({a})",
        f"torch.broadcast_tensors({a}, {a})[0]",
        f"{a}.sum_to_size({a}.shape)",
        f"torch.positive({a})" if maker.tensor(a).dtype is not torch.bool else f"{a}.lift()",
    ]
    if maker.tensor(a).dtype in FLOATS:
        forms += [f"F.dropout({a}, training=False)", f"F.alpha_dropout({a}, training=False)"]
    if rank == 1:
        forms.append(f"torch.meshgrid({a}, {a}, indexing='ij')[{maker.draws.integer(0, 1)}]")
    if rank > 1:
        dim, size = fixed_dim(maker, a, 2)
        letters = "abcd"[:rank]
        forms.append(f"torch.unsafe_split({a}, {maker.draws.integer(1, size)}, {dim})[0]")
        forms.append(f"torch.unsafe_chunk({a}, 2, {dim})[-1]")
        if rank < 5 and maker.tensor(a).dtype is not torch.bool:
            forms.append(f"torch.einsum('{letters}->{letters[::-1]}', {a})")
    view(maker, a, maker.draws.choice(forms))


@word(3)
def aliases_as_it_is(maker: ModuleMaker) -> None:
    a = maker.pick(unbacked=True)
    forms = [f"{a}.detach()", f"{a}.view_as({a})", f"{a}[...]", f"torch.ops.aten.alias({a})"]
    view(maker, a, maker.draws.choice(forms))


@word(2)
def copies(maker: ModuleMaker) -> None:
    a = maker.pick(unbacked=True)
    forms = [f"{a}.clone()", f"{a}.clone(memory_format=torch.contiguous_format)", f"{a}.to({maker.tensor(a).dtype}, copy=True)"]
    view(maker, a, maker.draws.choice(forms))


@word(7)
def splits(maker: ModuleMaker) -> None:
    a = maker.pick(rank=1)
    dim, size = fixed_dim(maker, a, 2)
    part = maker.draws.integer(1, size)
    count = -(-size // part)
    forms = [
        (f"{a}.split({part}, {dim})", count),
        (f"{a}.chunk({part}, {dim})", len(maker.tensor(a).chunk(part, dim))),
        (f"{a}.unbind({dim})", size),
        (f"{a}.split([{part}, {size - part}], {dim})", 2),
        (f"{a}.tensor_split({part}, {dim})", part),
    ]
    expression, count = maker.draws.choice(forms)
    if not 2 <= count <= 4:
        raise Refused
    maker.unpack(expression, count, maker.bounds_of(a))


@word(3)
def sees_complex_numbers(maker: ModuleMaker) -> None:
    if maker.draws.chance(50):
        a = maker.pick((torch.complex64,))
        form = maker.draws.choice([f"torch.view_as_real({a})", f"{a}.real", f"{a}.imag", f"{a}.conj()", f"{a}.resolve_conj()"])
    else:
        a = maker.number((torch.float32,), rank=1)
        form = f"torch.view_as_complex({a})" if maker.tensor(a).size(-1) == 2 else f"torch.complex({a}, {a})"
    view(maker, a, form)


@word(1)
def sees_other_bits(maker: ModuleMaker) -> None:
    a = maker.pick((torch.float32, torch.int32))
    b = maker.let(f"{a}.view({torch.int32 if maker.tensor(a).dtype == torch.float32 else torch.uint8})", TRUTH)
    maker.frozen.update(tensor.untyped_storage().data_ptr() for tensor in maker.tensors(b))


@word(4)
def joins(maker: ModuleMaker) -> None:
    a = maker.pick(rank=1)
    dtype, dim = maker.tensor(a).dtype, dim_of(maker, a)
    rank = maker.tensor(a).dim()
    others = [maker.pick((dtype,), where=lambda name: maker.tensor(name).dim() == rank) for _ in range(maker.draws.integer(1, 2))]
    bounds = maker.bounds_of(a)
    for other in others:
        bounds = bounds | maker.bounds_of(other)
    form = maker.draws.choice(["cat", "cat", "stack"])
    maker.let(f"torch.{form}([{', '.join([a, *others])}], {dim})", bounds)


@word(3)
def rearranges(maker: ModuleMaker) -> None:
    a = maker.pick(rank=1)
    dim = dim_of(maker, a)
    count = maker.draws.integer(1, 3)
    forms = [
        f"{a}.flip({dim})",
        f"{a}.roll({count}, {dim})",
        f"F.pad({a}, ({count}, 1))",
        f"{a}.repeat_interleave({count}, {dim})",
        f"{a}.repeat({count}{', 1' * (maker.tensor(a).dim() - 1)})",
        f"{a}.tril()" if maker.tensor(a).dim() > 1 else f"{a}.diag_embed()",
    ]
    view(maker, a, maker.draws.choice(forms))


@word(4)
def makes_a_constant(maker: ModuleMaker) -> None:
    a = maker.pick(REALS)
    like = maker.tensor(a).dtype
    dims = [f"{a}.size({dim})" for dim in range(maker.tensor(a).dim())]
    shape = f"({', '.join(dims)}{',' if len(dims) == 1 else ''})"
    number = maker.draws.integer(0, 3)
    forms = [
        f"torch.zeros_like({a})",
        f"{a}.new_full({shape}, {number})",
        f"torch.zeros({shape}, dtype={like})",
        f"torch.tensor([{number}, {number + 1}])",
        f"torch.ones({shape}, dtype={like})",
        f"torch.arange({number + 1}, dtype=torch.float32)",
    ]
    maker.let(maker.draws.choice(forms), SMALL)


@word(4)
def looks_up(maker: ModuleMaker) -> None:
    a = maker.pick(rank=1)
    dim, size = fixed_dim(maker, a)
    index = index_below(maker, size, rank=1, most_rank=1)
    forms = [f"{a}.index_select({dim}, {index})", f"{a}[{':, ' * dim}{index}]", f"torch.take({a}, {index})"]
    if maker.tensor(a).dim() == 2 and dim == 0 and maker.tensor(a).dtype in FLOATS:
        forms.append(f"F.embedding({index}, {a})")
    view(maker, a, maker.draws.choice(forms))


@word(3)
def depends_on_data(maker: ModuleMaker) -> None:
    mask = maker.pick((torch.bool,), rank=1)
    forms = [f"{mask}.nonzero()", f"torch.where({mask})[0]"]
    bounds = TRUTH
    if maker.tensor(mask).dim() == 1 or maker.draws.chance(50):
        shape = [tensor.shape for tensor in maker.tensors(mask)]
        a = maker.pick(where=lambda name: [tensor.shape for tensor in maker.tensors(name)] == shape)
        forms += [f"{a}[{mask}]", f"{a}.masked_select({mask})", f"{a}[{mask}]"]
        bounds = maker.bounds_of(a)
    maker.let(maker.draws.choice(forms), bounds, unbacked=True)
