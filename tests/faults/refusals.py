"""Refusals of the operating system, for one process and below one folder: from the nth file operation on, for a while.

Opening, making, renaming, listing and removing are refused by an audit hook of the interpreter, so that nothing that
goes through Python is missed (SQLite's own files are: `tests/store` refuses those). Flushes and the question for free
space, which raise no audit event, are refused by a `World` of this module.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homefire.world import Files, World

ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EMFILE)
_WRITING = {"os.mkdir", "os.rename", "os.symlink", "os.link", "os.truncate", "fsync"}
_OPENING = {"open", "os.listdir", "os.scandir", "subprocess.Popen"}
_SEEN = _WRITING | _OPENING | {"os.remove", "os.rmdir", "free_bytes"}


@dataclass
class Refusals:
    """Armed, it counts the operations below `root`; the nth and the `num_refused - 1` after it fail."""

    root: Path
    number: int
    """0: only count."""
    error: int
    num_refused: int
    only: str = ""
    """Part of the path of what is counted and refused; empty: everything."""
    num_seen: int = 0
    num_failed: int = 0
    is_over: bool = False
    what: str = ""

    def look_at(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Called for every operation of this process; raises the error where it is to fail."""
        if self.is_over or event not in _SEEN or not self._is_ours(event, arguments):
            return
        self.num_seen += 1
        if not self.number or self.num_seen < self.number or not self._fits(event, arguments):
            return
        self.num_failed += 1
        self.is_over = self.num_failed >= self.num_refused
        path = next((str(one) for one in arguments if isinstance(one, (str, os.PathLike))), event)
        self.what = self.what or f"{event} {path}"
        raise OSError(self.error, os.strerror(self.error), path)

    def _is_ours(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event == "subprocess.Popen":
            return not self.only
        paths = [os.fspath(one) for one in arguments if isinstance(one, (str, os.PathLike))]
        return any(
            isinstance(path, str) and path.startswith(str(self.root)) and self.only in path for path in paths
        )

    def _fits(self, event: str, arguments: tuple[Any, ...]) -> bool:
        """Whether the system gives this error for such an operation."""
        if self.error == errno.EMFILE:
            return event in _OPENING
        if event == "subprocess.Popen":
            return False
        if self.error == errno.ENOSPC:
            is_write = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
            return event in _WRITING or bool(is_write)
        return True


class _Hook:
    """The one audit hook of the process: hooks cannot be taken away, so it is told what to do."""

    def __init__(self) -> None:
        self.refusals: Refusals | None = None
        self._is_installed = False
        self._here = threading.local()

    def install(self) -> None:
        if not self._is_installed:
            self._is_installed = True
            sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.refusals is not None and not getattr(self._here, "is_looking", False):
            self._here.is_looking = True
            try:
                self.refusals.look_at(event, arguments)
            finally:
                self._here.is_looking = False


_HOOK = _Hook()


class RefusingFiles(Files):
    """The machine's files, refused where the refusals of the moment say so."""

    def fsync_file(self, path: Path) -> None:
        _HOOK("fsync", (path,))
        super().fsync_file(path)

    def fsync_directory(self, path: Path) -> None:
        _HOOK("fsync", (path,))
        super().fsync_directory(path)

    def free_bytes(self, path: Path) -> int:
        _HOOK("free_bytes", (path,))
        return super().free_bytes(path)


def refusing_world() -> World:
    """A world in which everything can be refused."""
    return World(files=RefusingFiles())


@contextmanager
def refused(refusals: Refusals) -> Iterator[Refusals]:
    """Within the block the refusals hold, in every thread of this process."""
    _HOOK.install()
    _HOOK.refusals = refusals
    try:
        yield refusals
    finally:
        _HOOK.refusals = None
