"""A file of JSON lines that grows with a run and is cut back to the checkpoint when the run is resumed.

A run does not stop for lines: with the disk full they wait in memory, until a checkpoint demands
that they be on disk. Promise: after `sync` returns the length, that many bytes are durable.
"""

from __future__ import annotations

import os
from pathlib import Path

from homefire.errors import StoreFull
from homefire.store.durable import translated_os_errors
from homefire.trainer.commit import flush_failure
from homefire.world import World


class Journal:
    """One such file, opened at `size_bytes` (what is beyond is dropped) and written by one process."""

    def __init__(self, path: Path, *, size_bytes: int, world: World) -> None:
        self._path = path
        self._world = world
        self._pending = b""
        with translated_os_errors(path):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            self._size_bytes = min(size_bytes, os.fstat(self._descriptor).st_size)
            os.ftruncate(self._descriptor, self._size_bytes)

    def append(self, line: bytes) -> None:
        """Add a line (with its newline); it may stay in memory while the disk is full."""
        self._pending += line
        try:
            self._write()
        except StoreFull:
            # Kept in memory; `sync` raises it where it matters.
            return

    def sync(self) -> int:
        """Flush everything; returns the length in bytes. Raises StoreFull, or StorePoisoned if the flush
        failed."""
        self._write()
        try:
            self._world.files.fsync_file(self._path)
        except OSError as error:
            raise flush_failure(self._path, error) from error
        return self._size_bytes

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _write(self) -> None:
        if not self._pending:
            return
        with translated_os_errors(self._path):
            view, position = memoryview(self._pending), self._size_bytes
            try:
                while view:
                    written = os.pwrite(self._descriptor, view, position)
                    view, position = view[written:], position + written
            except OSError:
                os.ftruncate(self._descriptor, self._size_bytes)
                raise
        self._size_bytes, self._pending = position, b""
