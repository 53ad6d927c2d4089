"""Small models for test_aliasing.py, one for each way in which PyTorch shares memory: forward(m, x), where m is the module."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

library = torch.library.Library("tenure_hidden", "DEF")


def define(schema: str, run: Callable, fake: Callable) -> None:
    """An operator whose schema admits to no alias."""
    name = schema.split("(")[0]
    library.define(schema)
    for key in ("CPU", "CUDA"):
        library.impl(name, run, key)
    torch.library.register_fake(f"tenure_hidden::{name}", fake, lib=library)


define("same(Tensor x) -> Tensor", lambda x: x, torch.empty_like)
define("window(Tensor x) -> Tensor", lambda x: x[1:], lambda x: x[1:].clone())
define("halves(Tensor x) -> (Tensor, Tensor)", lambda x: (x[:2], x[2:]), lambda x: (x[:2].clone(), x[2:].clone()))
define("rows(Tensor x) -> Tensor[]", lambda x: list(x), lambda x: [row.clone() for row in x])
define("sometimes(Tensor x) -> Tensor", lambda x: x if x.flatten()[0] > 0 else x.clone(), torch.empty_like)
define("either(Tensor x, Tensor y) -> Tensor", lambda x, y: x if x.flatten()[0] > 0 else y, lambda x, y: torch.empty_like(x))
hidden = torch.ops.tenure_hidden


class Model(nn.Module):
    """forward(self, *args) is the function given; it may use a buffer `w`, a parameter `p` and a constant `c`."""

    def __init__(self, forward, device: str = "cpu"):
        super().__init__()
        torch.manual_seed(0)
        self.function = forward
        self.register_buffer("w", torch.randn(4, 6, device=device))
        self.p = nn.Parameter(torch.randn(4, 6, device=device), requires_grad=False)
        self.c = torch.arange(6.0, device=device)

    def forward(self, *args):
        return self.function(self, *args)


CASES: dict[str, Callable] = {
    "a chain of views": lambda m, x: (x * 2).view(24).view(2, 12).t()[3:],
    "a chain of views that stays inside": lambda m, x: (x * 2).view(24).view(2, 12).t()[3:].cos().sum(),
    "every link of a chain": lambda m, x: [y := x.sin(), z := y.view(24), z[3:]],
    "a link of a chain, the rest inside": lambda m, x: (y := x.sin().view(24), y.view(4, 6).cos()),
    "a mixed chain and its base": lambda m, x: (y := x.sin(), y.t()[1:].unsqueeze(0)),
    "as_strided": lambda m, x: x.sin().as_strided((3, 2), (6, 1), 2),
    "as_strided that overlaps itself": lambda m, x: x.sin().as_strided((4, 3), (1, 1), 0),
    "as_strided of an input": lambda m, x: x.as_strided((3, 2), (6, 1), 2),
    "as_strided of a view, and the base": lambda m, x: (y := x.sin(), y[1:].as_strided((2, 2), (6, 1), 1)),
    "expand": lambda m, x: x.sum(1, keepdim=True).expand(4, 6),
    "expand and its base": lambda m, x: (y := x.sum(1, keepdim=True), y.expand(4, 6)),
    "expand that stays inside": lambda m, x: x.sum(1, keepdim=True).expand(4, 6) * x,
    "expand of an input": lambda m, x: (x.broadcast_to(2, 4, 6), x[0].expand(3, 6)),
    "views of all kinds": lambda m, x: [
        y := x.sin(),
        *(y.select(0, 1), y.narrow(1, 2, 3), y.diagonal(), y.unfold(0, 2, 1), y.movedim(0, 1), y.mT, y.view_as(x), y[None, :, 3]),
        *(y.unflatten(1, (2, 3)), y.permute(1, 0), y.squeeze(), y.expand_as(x), y[1, 2], y.view(torch.int32), +y),
    ],
    "views of one tensor without it": lambda m, x: ((y := x.sin())[0], y[1:], *y.unbind(1)),
    "a view without elements": lambda m, x: ((y := x.sin())[4:], y),
    "a scalar and its views": lambda m, x: (y := x.sum(), y.view(1), y.expand(3)),
    "reshape as a view": lambda m, x: x.sin().reshape(24),
    "reshape as a view, and its base": lambda m, x: (y := x.sin(), y.reshape(2, 12), y.reshape(24).flatten().ravel()),
    "reshape as a copy": lambda m, x: x.sin().t().reshape(24),
    "reshape as a copy, and its base": lambda m, x: (y := x.sin(), y.t().reshape(24), y.t().flatten()),
    "reshape both ways, without the base": lambda m, x: ((y := x.sin()).reshape(24), y.view(2, 12), y.t().reshape(24)),
    "reshape of an input": lambda m, x: (x.reshape(24), x.t().reshape(24)),
    "contiguous": lambda m, x: ((y := x.sin()).contiguous(), y.t().contiguous(), y.contiguous().view(24)),
    "contiguous that stays inside": lambda m, x: (x.sin().contiguous().cos(), x.cos().t().contiguous().sin()),
    "contiguous of an input": lambda m, x: (x.contiguous(), x.t().contiguous()),
    "to": lambda m, x: (y := x.sin(), y.to(torch.float32), y.to(torch.float64), y.to(torch.float32, copy=True), y.type_as(x)),
    "to that stays inside": lambda m, x: x.sin().to(torch.float32).cos().to(torch.float64).sin(),
    "to of an input": lambda m, x: (x.to(torch.float32), x.to("cpu"), x.float(), x.double(), x.type_as(x)),
    "split": lambda m, x: x.sin().split(2),
    "split, some returned and some kept": lambda m, x: ((p := x.sin().split([1, 2, 1]))[0], p[1].cos(), p[2].t()),
    "split that stays inside": lambda m, x: torch.cat([p.cos() for p in x.sin().split(2, dim=1)]),
    "split of an input": lambda m, x: (*x.split(2), *x.unbind()),
    "chunk, one returned": lambda m, x: ((p := x.sin().chunk(3, 1))[2], p[0].contiguous() + p[1]),
    "chunk, then views": lambda m, x: x.sin().chunk(2)[1].view(12).unsqueeze(0),
    "tensor_split, hsplit, vsplit": lambda m, x: (x.sin().tensor_split(3, 1), torch.hsplit(x.cos(), 2), torch.vsplit(x.tan(), 2)),
    "the input": lambda m, x: x,
    "the input, twice and as views": lambda m, x: (x, x, x.t(), x[1:], x.view(torch.int32)),
    "the input beside a result": lambda m, x: (x, x.sin()),
    "a weight": lambda m, x: (m.w, m.w[1:], x + m.w),
    "a parameter": lambda m, x: (m.p, m.p.t()),
    "a constant": lambda m, x: (m.c, m.c[1:], x[0] + m.c),
    "a constant made in the model": lambda m, x: (y := torch.tensor([1.0, 2.0]), y[1:], x.sin()),
    "constants of factories": lambda m, x: (torch.ones(3), torch.arange(4)[1:], torch.zeros(2).expand(3, 2)),
    "two results on one storage": lambda m, x: (y := x.sin(), y[0], y.view(24), y.t()),
    "the same value twice": lambda m, x: (y := x.sin(), y, [y]),
    "the same view twice": lambda m, x: (y := x.sin()[1:], y),
    "detach": lambda m, x: (y := x.sin(), y.detach(), y[1:].detach()),
    "detach of an input": lambda m, x: (x.detach(), x.detach()[1:]),
    "a complex number as reals": lambda m, x: (z := torch.complex(x.sin(), x), z.real, z.imag, torch.view_as_real(z)),
    "reals as a complex number": lambda m, x: torch.view_as_complex(x.sin().view(4, 3, 2)),
    "an input as complex numbers": lambda m, x: (
        torch.view_as_complex(x.view(4, 3, 2)),
        torch.view_as_complex(x.view(4, 3, 2)).imag,
    ),
    "a conjugate that is pending": lambda m, x: (z := torch.complex(x.sin(), x), z.conj(), z.conj().imag),
    "a conjugate, resolved or not": lambda m, x: ((z := torch.complex(x.sin(), x)).conj().resolve_conj(), z.resolve_conj()),
    "a negation that is pending": lambda m, x: (torch._neg_view(x.sin()), torch._neg_view(x)),
    "the real part of a real": lambda m, x: torch.real(x.sin()),
    "operators that may return their operand": lambda m, x: [
        *(y := x.sin(), F.dropout(y, 0.5, training=False), y.sum_to_size(4, 6), y.sum_to_size(1, 6)),
        *(torch.atleast_2d(y), torch.atleast_3d(y), F.dropout(x, 0.5, training=False)),
    ],
    "operators that broadcast several": lambda m, x: (
        *torch.broadcast_tensors(x.sin(), x.cos()[0]),
        *torch.meshgrid(x[0].sin(), x[1].cos(), indexing="ij"),
    ),
    "pieces of a split, viewed further": lambda m, x: ((p := (x / 4).unbind(1))[1], p[0].unsqueeze(0), p[2].view(2, 2), p[3][1:]),
    "pieces of an expanded tensor": lambda m, x: ((p := x.sum(0).expand(3, 6).unbind(0))[0], p[1].view(2, 3), p[2].unsqueeze(0)),
    "pieces that are reshaped": lambda m, x: ((p := (x.mT @ x).split(3))[0], p[1].reshape(2, 9), p[1].mT.reshape(18)),
    "pieces of operators that deny it": lambda m, x: (torch.unsafe_chunk(y := x.sin(), 2), torch.unsafe_split(y, 1)[3], y),
    "results in another order of dimensions": lambda m, x: (y := x.t() * 2, y.t().view(24), y[1:], (x.view(2, 2, 6).mT + 1).cos()),
    "another order of dimensions that stays inside": lambda m, x: (x.t() * 2).cos() @ x.sin() + 1,
    "an expanded input, viewed": lambda m, x: x[0].expand(3, 6).reshape(18).sin(),
    "a conjugate left pending": lambda m, x: (
        (y := torch.fft.ifft(x)),
        y.clone(),
        torch.fft.ifft(x.cos()).clone(),
    ),
    "a conjugate of an input": lambda m, x: torch.view_as_complex(x.view(4, 3, 2)).conj(),
    "results of operators with several": lambda m, x: ((p := x.topk(2))[0], p[1][1:], x.max(0)[1] + 1),
}


def case(function: Callable) -> Callable:
    """Into the table, under the function's name."""
    CASES[function.__name__.replace("_", " ")] = function
    return function


@case
def in_place_on_an_intermediate(m, x):
    y = x * 2
    y.add_(1)
    y[0].mul_(3)
    return y, y[1:]


@case
def in_place_through_a_view(m, x):
    y = x * 2
    y.view(24)[5:].relu_()
    return y


@case
def in_place_on_what_stays_inside(m, x):
    y = x * 2
    z = y.cos()
    y.t().add_(z.t())
    return y.sin()


@case
def in_place_on_a_chunk(m, x):
    a, b = (x * 2).chunk(2)
    a.add_(b)
    return b, a.cos()


@case
def in_place_between_halves(m, x):
    y = x.sin()
    a, b = y[:2], y[2:]
    t = a.clone()
    a.copy_(b)
    b.copy_(t)
    return y


@case
def in_place_on_what_overlaps(m, x):
    y = x.sin()
    y[1:] += y[:1]
    return y, y[1:]


@case
def in_place_on_results(m, x):
    y = x + 1
    r = y.relu_()
    return y, r, r.clamp_(max=1.0)


@case
def in_place_on_a_detached_result(m, x):
    y = x.sin()
    return y, y.detach().add_(1)


@case
def axes_of_a_conjugate_swapped_in_place(m, x):
    y = torch.view_as_complex(x.view(4, 3, 2)).conj()
    y.swapaxes_(0, 1)
    z = torch.complex(x, x).conj()
    z.swapdims_(0, 1)
    return y, z, y + 1


@case
def zeroed_in_another_order_of_dimensions(m, x):
    y = x.t() * 2
    y.zero_()
    return y[1:], y + 1


@case
def in_place_after_the_last_read(m, x):
    y = x.sin()
    z = y + 1
    y.zero_()
    return z, y


@case
def a_view_read_after_a_write_to_its_base(m, x):
    y = x.sin()
    v = y[0]
    y.add_(1)
    return v, y.cos()


@case
def in_place_by_indices_and_masks(m, x):
    y = x.sin()
    y[torch.tensor([0, 2], device=x.device)] = 1.5
    y[:, 1] = x[:, 0]
    y[x > 0.5] = -1
    v = y.as_strided((2, 2), (6, 1), 7)
    v.fill_(9)
    y.masked_fill_(x > 1, 4)
    return y, v


@case
def in_place_by_scatter(m, x):
    y = torch.zeros_like(x)
    y.scatter_(1, (x > 0).long(), x)
    y.index_add_(0, torch.tensor([0, 1], device=x.device), x[2:])
    return y


@case
def in_place_on_pieces(m, x):
    y = torch.empty(2, 4, 6)
    y[0] = x
    y[1].copy_(x.t().contiguous().t())
    return y.unbind()


@case
def in_place_by_out_arguments_and_lists(m, x):
    y = torch.empty_like(x)
    torch.add(x, 1, out=y)
    a, b = x.sin(), x.cos()
    torch._foreach_add_([a, b[1:]], 1.0)
    return y, y[2], a, b


@case
def in_place_on_the_input(m, x):
    x.mul_(2)
    return x.sum()


@case
def in_place_on_parts_of_the_input(m, x):
    x[1].add_(1)
    x[:, 2:4].t().mul_(3)
    return x.sin()


@case
def in_place_on_the_input_that_is_returned(m, x):
    x.add_(1)
    return x, x.cos()


@case
def in_place_on_the_input_of_which_a_view_is_returned(m, x):
    x.add_(1)
    return x[1:], x.cos()


@case
def in_place_on_the_input_and_then_on_what_it_got(m, x):
    y = x.sin()
    x.copy_(y)
    y.add_(1)
    return y


@case
def sizes_changed_in_place(m, x):
    y = x.sin()
    z = y.view(24)
    y.transpose_(0, 1)
    y.squeeze_()
    return y, z, y.cos(), x.detach().t_(), x.cos().resize_(2, 3)


@case
def a_tensor_set_to_anothers_memory(m, x):
    y, z = x.sin(), x.cos()
    z.set_(y)
    return z, y, x.tan().set_(x)


HIDDEN: dict[str, Callable] = {
    "the operand": lambda m, x: hidden.same(x.sin()),
    "the operand, which is returned too": lambda m, x: (y := x.sin(), hidden.same(y)),
    "a view of the operand": lambda m, x: (hidden.window(x.sin()), x.cos()),
    "a view of the operand, which is returned too": lambda m, x: (y := x.sin(), hidden.window(y), x.cos()),
    "two views": lambda m, x: (hidden.halves(x.sin()), x.cos()),
    "a list of views": lambda m, x: hidden.rows(x.sin()),
    "a view that is viewed again": lambda m, x: hidden.same(x.sin()).view(24)[3:],
    "what stays inside": lambda m, x: hidden.window(x.sin()).cos(),
    "what stays inside and is read late": lambda m, x: (v := hidden.same(x.sin()), x.cos().exp().tanh().abs() + v)[1],
    "the input": lambda m, x: hidden.same(x),
    "a view of the input": lambda m, x: hidden.window(x),
    "a weight": lambda m, x: (hidden.same(m.w), x + m.w),
}
CASES |= {f"a hidden alias: {name}": forward for name, forward in HIDDEN.items()}
