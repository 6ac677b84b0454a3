"""One server for one home: a file lock that dies with its process, and the process id for the message.

The lock keeps two healthy processes apart. Where it fails (a network file system, a deleted lock file), the
fencing epoch in the database (`fence.py`) still stops the older one from committing.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from homefire.errors import HomeInUse
from homefire.home import Home
from homefire.store.durable import translated_os_errors


class HomeLock:
    """Held from construction to `release`. Raises HomeInUse (with `pid`) when another process holds it."""

    def __init__(self, home: Home) -> None:
        self._descriptor = _acquire(home.lock_file, home)

    def release(self) -> None:
        """Give the home free; harmless when it was released."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1


def lock_holder(home: Home) -> int | None:
    """The process id of the server that holds this home; None when no one does."""
    try:
        descriptor = os.open(home.lock_file, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_pid(descriptor)
    finally:
        os.close(descriptor)
    return None


def _acquire(path: Path, home: Home) -> int:
    while True:
        with translated_os_errors(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_still_at(path, descriptor):
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
                    return descriptor
                os.close(descriptor)
            except BlockingIOError as error:
                pid = _read_pid(descriptor)
                os.close(descriptor)
                raise _in_use(home, pid) from error
            except OSError:
                os.close(descriptor)
                raise


def _in_use(home: Home, pid: int | None) -> HomeInUse:
    return HomeInUse(
        f"The home {home.root} is in use by another Homefire{f' (process {pid})' if pid else ''}.",
        hint="Talk to that one, stop it, or choose another home with HOMEFIRE_HOME.",
        pid=pid,
        home=str(home.root),
    )


def _is_still_at(path: Path, descriptor: int) -> bool:
    """Whether the locked file still has its name (it may have been deleted between open and lock)."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _read_pid(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
    return int(text) if text.isdigit() else None
