"""The file that a program was made from, kept open."""

from __future__ import annotations

import json
import os
import threading
import weakref
import zipfile
from collections.abc import Iterator

import torch
from torch.export.pt2_archive._package import PT2ArchiveWriter

from .atomic_file import replacing
from .errors import Error

_CHUNK = 1 << 24  # bytes
MANIFEST_RECORD = "data/tenure/manifest.json"
_WRITERS_OWN = (".data/", "version", "byteorder", ".format_version", ".storage_alignment", "archive_version", "archive_format")


class StoredFile:
    """A program's file. It can be copied even when its name is gone or stands for another file. Thread-safe."""

    def __init__(self, path: str | os.PathLike[str]):
        """Opens the file. Raises Error(not found)."""
        self.name = os.fspath(path)
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            code = "not found" if isinstance(error, FileNotFoundError) else "invalid argument"
            raise Error(code, f"cannot be opened: {error.strerror}", [f"file {self.name}"]) from None
        weakref.finalize(self, os.close, self._descriptor)
        self._lock = threading.Lock()  # reading a record moves the descriptor's position
        self._state = self._read_state()

    def custom_op_libraries(self) -> list[str]:
        """What the manifest names, or nothing if there is no manifest that can be read: loading will then say what is wrong."""
        try:
            return [str(name) for name in json.loads(self.record(MANIFEST_RECORD)).get("custom_op_libraries", [])]
        except Exception:
            return []

    def record(self, name: str) -> bytes:
        """A record of the archive. Raises Error if it cannot be read."""
        self.check_unchanged()
        try:
            with self._lock, open(self._descriptor, "rb", closefd=False) as file, zipfile.ZipFile(file) as archive:
                return archive.read(next(each for each in archive.namelist() if each.endswith(f"/{name}")))
        except (StopIteration, zipfile.BadZipFile, OSError) as error:
            raise Error("bad file", f"its record {name} cannot be read: {error!r}", [f"file {self.name}"]) from error

    def content(self) -> bytes:
        """The whole file. Raises Error if it was written to since it was opened."""
        content = b"".join(self._chunks())
        self.check_unchanged()
        return content

    def check_unchanged(self) -> None:
        """Raises Error if the file was written to since it was opened."""
        if self._read_state() != self._state:
            raise Error("bad file", "it was changed while the program was in use; compile or load it again", [f"file {self.name}"])

    def copy_to(self, path: str | os.PathLike[str]) -> None:
        """Writes a copy, whole or not at all. Raises Error."""
        with replacing(path) as target:
            for chunk in self._chunks():
                target.write(chunk)
            self.check_unchanged()

    def copy_with(self, path: str | os.PathLike[str], name: str, content: bytes) -> None:
        """Writes a copy with another content of one record, whole or not at all. Raises Error."""
        with replacing(path) as target, self._lock, open(self._descriptor, "rb", closefd=False) as file:
            file.seek(0)
            reader = torch._C.PyTorchFileReader(file)
            with PT2ArchiveWriter(target) as writer:
                written = set(writer.archive_file.get_all_written_records())
                for record in reader.get_all_records():
                    if record not in written and not record.startswith(_WRITERS_OWN):
                        writer.write_bytes(record, content if record == name else reader.get_record(record))
            self.check_unchanged()

    def _chunks(self) -> Iterator[bytes]:
        position = 0
        while chunk := os.pread(self._descriptor, _CHUNK, position):
            position += len(chunk)
            yield chunk

    def _read_state(self) -> tuple[int, int]:
        state = os.fstat(self._descriptor)
        return state.st_size, state.st_mtime_ns
