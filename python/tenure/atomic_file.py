"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .errors import Error


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file that becomes `path` when the block ends, complete and on disk; if the block fails, nothing has changed.

    It is written in the same folder under another name. A symbolic link at `path` stays, and what it points at is replaced. Raises
    Error with the context "file PATH" if the folder does not exist or cannot be written.
    """
    where = [f"file {os.fspath(path)}"]
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise Error("invalid argument", "this is a folder; give the path of the file to write", where)
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        with open(part, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
        _sync_folder(target.parent)
    except OSError as error:
        code = "not found" if isinstance(error, FileNotFoundError) else "invalid argument"
        raise Error(code, f"cannot write here: {error.strerror or error}", where) from error
    finally:
        part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
