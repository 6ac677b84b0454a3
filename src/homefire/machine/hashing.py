"""SHA-256 of files, and the memory of which files were hashed and found right.

Promise of `FileVerifier`: a file is hashed at its first use in this process, and again whenever its inode, size,
time of change or time of status change is another. A bit that flips on the disk under a file that nobody writes
changes none of these: it is found at the first use after the next start, or by the scrub (`catalog/scrub.py`).
Hashing costs a read of the file (about 1 GB/s); a remembered file costs one `stat`.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

from homefire.errors import CorruptData

_RACY_NS = 50_000_000
"""A file that was changed this shortly ago may be changed again within the same tick of its clock."""
_Signature = tuple[int, int, int, int]


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes as they can be read now, in hex."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


class FileVerifier:
    """Any number of threads may ask. One for each server."""

    def __init__(self, *, hash_file: Callable[[Path], str] = hash_file) -> None:
        self._hash_file = hash_file
        self._verified: dict[Path, tuple[str, _Signature]] = {}
        self._lock = threading.Lock()

    def is_sound(self, path: Path, sha256: str) -> bool:
        """Whether the file has this hash. FileNotFoundError where there is none."""
        wanted = sha256.removeprefix("sha256:")
        before = _signature(path)
        with self._lock:
            if self._verified.get(path) == (wanted, before):
                return True
        sound = self._hash_file(path) == wanted
        after = _signature(path)
        with self._lock:
            self._verified.pop(path, None)
            if sound and before == after and time.time_ns() - after[3] > _RACY_NS:
                self._verified[path] = (wanted, after)
        return sound

    def check(self, path: Path, sha256: str) -> None:
        """CorruptData when the file is not the one that was registered."""
        try:
            sound = self.is_sound(path, sha256)
        except FileNotFoundError as error:
            raise CorruptData(f"The model file {path.name} is gone.", file=str(path)) from error
        if not sound:
            raise CorruptData(
                f"The bytes of {path.name} are not those that were registered; it was not loaded.",
                hint="Run `homefire doctor`, or add the model again.",
                file=str(path),
                expected=sha256.removeprefix("sha256:"),
            )

    def note(self, path: Path, sha256: str) -> None:
        """Remember what whoever wrote the file has just read back and hashed."""
        with self._lock:
            self._verified[path] = (sha256.removeprefix("sha256:"), _signature(path))

    def evict(self, path: Path) -> None:
        """Hash it again at its next use."""
        with self._lock:
            self._verified.pop(path, None)


def _signature(path: Path) -> _Signature:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
