"""What one call of a model did, and in what two such calls differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from op_memory import content, same_bits
from torch.utils import _pytree as pytree


@dataclass(frozen=True)
class Leaf:
    """A tensor at the moment of the observation, or another value."""

    layout: tuple[tuple[str, Any], ...]
    content: torch.Tensor | None  # None: not a tensor, or not looked at
    value: Any = None


@dataclass(frozen=True)
class Effect:
    """What a call did: its results, its inputs afterwards, and which of them share memory."""

    results: list[Any]  # the results themselves, which are kept
    seen: list[Leaf]
    inputs: list[Leaf]
    aliases: list[str]
    structure: pytree.TreeSpec

    def changed(self) -> Iterator[str]:
        """Results that are not any more what they were when the call returned."""
        for number, (leaf, result) in enumerate(zip(self.seen, self.results, strict=True)):
            if leaf.content is not None and not same_bits(leaf.content, content(result)):
                yield f"result {number}: changed after it was returned"


@dataclass(frozen=True)
class Difference:
    """`what` is the same for all differences of a kind; `detail` is this one."""

    what: str
    detail: str


def effect_of(call: Callable[..., Any], args: tuple, kwargs: dict[str, Any], values: bool = True) -> Effect:
    """Calls it. The arguments are the call's own: it may write to them. `values`: look at what the results hold."""
    given = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    with torch.no_grad():
        out = call(*args, **kwargs)
    results, structure = pytree.tree_flatten(out)
    return Effect(
        results,
        [_leaf(result, values) for result in results],
        [_leaf(tensor, values) for tensor in given],
        [_aliases(result, results, given) for result in results],
        structure,
    )


def _leaf(value: Any, look: bool) -> Leaf:
    if not isinstance(value, torch.Tensor):
        return Leaf((("type", type(value).__name__),), None, value)
    layout = {"dtype": value.dtype, "sizes": tuple(value.shape), "memory layout": value.layout}
    if value.layout == torch.strided:
        layout |= {"strides": value.stride(), "storage offset": value.storage_offset()}
        layout |= {"conjugate bit": value.is_conj(), "negative bit": value.is_neg()}
    return Leaf(tuple(layout.items()), content(value) if look else None)


def _aliases(result: Any, results: Sequence[Any], inputs: Sequence[torch.Tensor]) -> str:
    """Of one result, in words: the first input or earlier result that is the same object, and those on the same storage."""
    if not isinstance(result, torch.Tensor):
        return ""
    others = [(f"input {k}", tensor) for k, tensor in enumerate(inputs)]
    for k, other in enumerate(results):
        if other is result:
            break
        others.append((f"result {k}", other))
    same = next((f"is {name}" for name, other in others if other is result), "")
    shared = [name for name, other in others if _shares(result, other)]
    return "; ".join(filter(None, [same, "shares " + ", ".join(shared) if shared else ""])) or "own memory"


def _shares(a: torch.Tensor, b: Any) -> bool:
    if not isinstance(b, torch.Tensor) or a.layout != torch.strided or b.layout != torch.strided:
        return False
    storage = a.untyped_storage()
    return storage.nbytes() > 0 and storage.data_ptr() == b.untyped_storage().data_ptr()


def differences(got: Effect, want: Effect, effective_strides: bool = False) -> list[Difference]:
    """In what `got` differs from `want`, worst first. Effective are strides of dimensions that have more than one element."""
    if got.structure != want.structure:
        return [Difference("structure of the result", f"{got.structure} where eager has {want.structure}")]
    found = [
        *_leaf_differences("result", got.seen, want.seen, effective_strides),
        *_leaf_differences("input", got.inputs, want.inputs, effective_strides),
    ]
    for number, (a, b) in enumerate(zip(got.aliases, want.aliases, strict=True)):
        if a != b:
            found.append(Difference("aliasing", f"result {number}: {a} where eager: {b}"))
    return found


def _leaf_differences(role: str, got: Sequence[Leaf], want: Sequence[Leaf], effective_strides: bool) -> Iterator[Difference]:
    for number, (a, b) in enumerate(zip(got, want, strict=True)):
        where = f"{role} {number}"
        for (name, ours), (_, eager) in zip(a.layout, b.layout, strict=False):
            if effective_strides and name == "strides" and _effective(a) == _effective(b):
                continue
            if ours != eager:
                yield Difference(f"{name} of {_article(role)}", f"{where}: {ours} where eager has {eager}")
        if len(a.layout) != len(b.layout):
            continue
        if a.content is None or b.content is None:
            same, texts = same_value(a.value, b.value), (repr(a.value), repr(b.value))
        else:
            same = (a.content.dtype, a.content.shape) != (b.content.dtype, b.content.shape) or same_bits(a.content, b.content)
            texts = (_sample(a.content), _sample(b.content))
        if not same:
            yield Difference(f"values of {_article(role)}", f"{where}: {texts[0]} where eager has {texts[1]}")


def _effective(leaf: Leaf) -> list[int]:
    layout = dict(leaf.layout)
    sizes_and_strides = zip(layout["sizes"], layout["strides"], strict=True)
    return [stride for size, stride in sizes_and_strides if size > 1] if 0 not in layout["sizes"] else []


def _article(role: str) -> str:
    return f"an {role}" if role[0] in "aeiou" else f"a {role}"


def same_value(a: Any, b: Any) -> bool:
    return a is b or a == b or (a != a and b != b)


def _sample(tensor: torch.Tensor) -> str:
    values = tensor.flatten()[:4].tolist()
    return f"{values}{' ...' if tensor.numel() > 4 else ''}"
