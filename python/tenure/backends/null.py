"""The reference backend: an engine that is the part itself, run by PyTorch operators. Its use is to test the engine seam."""

from __future__ import annotations

import io
from collections.abc import Mapping

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from ..errors import Error
from .base import Backend


class NullBackend(Backend):
    """Takes every functional aten operator. The blob is a PT2 archive of the part, as torch.export.save writes it."""

    name = "null"

    def why_not(self, node: Node) -> str | None:
        namespace = getattr(node.target, "namespace", "aten")
        return None if namespace == "aten" else f"a custom operator of {namespace}"

    def compile(self, part: ExportedProgram, options: Mapping[str, str]) -> bytes:
        blob = io.BytesIO()
        torch.export.save(part, blob)
        return blob.getvalue()

    def full_options(self, options: Mapping[str, str]) -> dict[str, str]:
        if options:
            raise Error("invalid argument", f"the null backend has no options, and was given {', '.join(sorted(options))}")
        return {}
