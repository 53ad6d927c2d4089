"""Between a model's own arguments and results and the flat lists that the runtime takes and gives."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import torch
from torch.utils import _pytree as pytree

from .errors import Error


@dataclass(frozen=True)
class ValueSpec:
    """What is known of an input or output before a run."""

    name: str
    kind: str  # "tensor", "int", "float", "bool", or "constant": a value that the export fixed
    dtype: torch.dtype | None = None
    sizes: list[int | str] | None = None  # per dimension: an int, or an expression over symbols such as "2*s0 + 1"
    device: str | None = None
    constant: Any = None

    def __str__(self) -> str:
        return f"{self.name}: {self.type_text()}"

    def type_text(self) -> str:
        """Such as "float32[s0, 3]"; a constant's is its value."""
        if self.kind == "constant":
            return repr(self.constant)
        return self.kind if self.dtype is None or self.sizes is None else _tensor_text(self.dtype, self.sizes)


class CallStructure:
    """The structure that a program was exported with: how arguments flatten and results unflatten. Immutable, thread-safe."""

    def __init__(self, in_spec: str, out_spec: str, inputs: Sequence[ValueSpec]):
        """The specs are those of torch.utils._pytree as JSON; empty ones stand for flat arguments and results."""
        self._inputs = inputs
        self._in_spec = _load_spec(in_spec, "arguments") if in_spec else _flat_call(len(inputs))
        out = _load_spec(out_spec, "result") if out_spec else None
        self.unflatten: Callable[[list[Any]], Any] = _result_maker(out)
        args, kwargs = self._in_spec.children()
        is_plain = all(child.is_leaf() for child in args.children()) and not kwargs.num_leaves
        # Arguments of this number and no keywords are flat already; None if the structure needs more than that.
        self.plain_args: int | None = args.num_children if is_plain else None
        self._positional = list(_positional_names(args, inputs))

    def flatten(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Any]:
        """The flat inputs, in the exported order; keywords come in any order, positional arguments also by name. Raises Error."""
        bound = list(args)
        rest = dict(kwargs)
        for name in self._positional[len(args) :]:
            if name is None or name not in rest:
                break
            bound.append(rest.pop(name))
        try:
            return self._in_spec.flatten_up_to((tuple(bound), rest))
        except ValueError as reason:
            raise Error("invalid argument", self._mismatch(args, kwargs, reason)) from None

    def describe(self) -> str:
        """The expected call: "program(x: float32[s0, 3], mask=bool[s0])"."""
        leaves = iter([each.type_text() for each in self._inputs])
        args, kwargs = self._in_spec.children()
        texts = [
            f"{name}: {_spec_text(child, leaves)}" if name else _spec_text(child, leaves)
            for name, child in zip(self._positional, args.children(), strict=True)
        ]
        texts += [f"{name}={_spec_text(child, leaves)}" for name, child in zip(kwargs.context, kwargs.children(), strict=True)]
        return f"program({', '.join(texts)})"

    def _mismatch(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], reason: ValueError) -> str:
        texts = [_given_text(each) for each in args] + [f"{name}={_given_text(each)}" for name, each in kwargs.items()]
        return (
            "the arguments do not have the structure that the program was exported with\n"
            f"  expected: {self.describe()}\n"
            f"  given:    program({', '.join(texts)})\n"
            f"  {reason}"
        )


def _name_return_types() -> None:
    """Names what torch.topk and its kind return, for files: PyTorch flattens these types, but has no name to write them under."""
    for kind in torch.return_types.all_return_types:
        entry = pytree.SUPPORTED_SERIALIZED_TYPES.get(kind)
        if entry is not None and entry.serialized_type_name == pytree.NO_SERIALIZED_TYPE_NAME_FOUND:
            name = f"torch.return_types.{kind.__name__}"
            pytree.SUPPORTED_SERIALIZED_TYPES[kind] = entry._replace(serialized_type_name=name)
            pytree.SERIALIZED_TYPE_TO_PYTHON_TYPE[name] = kind


_name_return_types()


def _load_spec(text: str, what: str) -> pytree.TreeSpec:
    try:
        return pytree.treespec_loads(text)
    except NotImplementedError as error:
        raise Error(
            "not found",
            f"the program's {what} have a type that this process does not know ({error}); import the module that defines and "
            "registers it (torch.export.register_dataclass, with a serialized_type_name) before calling the program, or use "
            "program.run with flat inputs and outputs",
        ) from None
    except Exception as error:
        raise Error("bad file", f"the structure of the program's {what} cannot be read: {error}") from error


def _flat_call(count: int) -> pytree.TreeSpec:
    return pytree.tree_structure((tuple(range(count)), {}))


def _positional_names(args: pytree.TreeSpec, inputs: Sequence[ValueSpec]) -> Iterator[str | None]:
    """Each positional argument's name where the file tells it: the input's, for an argument that is one input."""
    position = 0
    for child in args.children():
        yield inputs[position].name if child.is_leaf() and position < len(inputs) else None
        position += child.num_leaves


def _result_maker(spec: pytree.TreeSpec | None) -> Callable[[list[Any]], Any]:
    if spec is None:
        return lambda outputs: outputs[0] if len(outputs) == 1 else tuple(outputs)
    if spec.is_leaf():
        return itemgetter(0)
    if all(child.is_leaf() for child in spec.children()) and spec.type in (tuple, list):
        return spec.type
    return spec.unflatten


def _tensor_text(dtype: torch.dtype, sizes: Sequence[int | str]) -> str:
    return f"{str(dtype).removeprefix('torch.')}[{', '.join(map(str, sizes))}]"


def _given_text(value: Any) -> str:
    leaves, spec = pytree.tree_flatten(value)
    return _spec_text(spec, (_leaf_text(leaf) for leaf in leaves))


def _leaf_text(leaf: Any) -> str:
    return _tensor_text(leaf.dtype, leaf.shape) if isinstance(leaf, torch.Tensor) else type(leaf).__name__


def _spec_text(spec: pytree.TreeSpec, leaves: Iterator[str]) -> str:
    if spec.is_leaf():
        return next(leaves, "?")
    children = [_spec_text(child, leaves) for child in spec.children()]
    if spec.type is list:
        return f"[{', '.join(children)}]"
    if spec.type is tuple:
        return f"({', '.join(children)}{',' if len(children) == 1 else ''})"
    if spec.type in pytree.STANDARD_DICT_TYPES:
        keys = spec.context if isinstance(spec.context, list) else spec.context[1]
        return "{" + ", ".join(f"{key!r}: {child}" for key, child in zip(keys, children, strict=True)) + "}"
    name = spec.context.__name__ if spec.type is namedtuple else spec.type.__name__
    return f"{name}({', '.join(children)})"
