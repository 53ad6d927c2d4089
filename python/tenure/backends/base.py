"""What Tenure wants of a backend ahead of time: which nodes it takes, and a blob per part, which tenure/engine/ runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch.export import ExportedProgram
from torch.fx import Node


class Backend(ABC):
    """Compiles parts to engines of one kind. One object may be used by one thread at a time.

    `name` is what the saved file calls the backend, and what the C++ registry must know to run the file. Where several ways lead
    to engines of one name, `way` tells them apart for options and reports.
    """

    name: str

    @property
    def way(self) -> str:
        """What the caller's options and the report call it."""
        return self.name

    @abstractmethod
    def why_not(self, node: Node) -> str | None:
        """None if an engine can hold the node, else why not. Only called for functional operators with tensor results."""

    @abstractmethod
    def compile(self, part: ExportedProgram, options: Mapping[str, str]) -> bytes:
        """The part as a blob: tensors in, tensors out, in the part's own order, types and sizes, all dense.

        The part's buffers are weights that may be folded into the blob. Sizes may be symbolic; `options` come from `full_options`.
        Any exception means that this part stays PyTorch operators; its text is what the report gives as the reason.
        """

    def full_options(self, options: Mapping[str, str]) -> dict[str, str]:
        """The caller's options over the backend's defaults: what the file keeps. Raises Error for an option it does not know."""
        return dict(options)
