"""The one exception type of the package; the C++ layers raise the same class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class Error(RuntimeError):
    """What went wrong, where, and what to do.

    `code` is one of "invalid argument", "bad file", "unsupported", "not found", "engine", "operator", "runtime assertion",
    "ownership" (what the session option check_ownership finds), "internal"; `message` says what is wrong and what to do; `context`
    says where, outermost first (file, node, engine).
    """

    def __init__(self, code: str, message: str, context: Sequence[str] = ()):
        super().__init__(code, message, context)
        self.code = code
        self.message = message
        self.context = list(context)

    def __str__(self) -> str:
        return ": ".join([*self.context, self.message])


@contextmanager
def error_context(where: str) -> Iterator[None]:
    """An Error that leaves the block gains the outer context `where`."""
    try:
        yield
    except Error as error:
        error.context.insert(0, where)
        raise
