"""The outside world as one value: clock, randomness, and the file operations that durability rests on.

It is passed in, never imported as a global, so that a test can stop the clock, replay a seed, or make the
Nth fsync fail. The real one costs a method call.
"""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """Time as two readings: one for people, one for durations."""

    def now_s(self) -> float:
        """Seconds since the Unix epoch (may jump)."""
        ...

    def monotonic_s(self) -> float:
        """Seconds from an arbitrary start (never jumps)."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_s(self) -> float:
        return time.time()

    def monotonic_s(self) -> float:
        return time.monotonic()


class Files:
    """The file operations that promises rest on. Failures are the operating system's `OSError`s."""

    def fsync_file(self, path: Path) -> None:
        """Flush one file's bytes and metadata to the disk."""
        self._fsync(path, os.O_RDONLY)

    def fsync_directory(self, path: Path) -> None:
        """Flush a directory's entries, so that a rename or a new name in it survives power loss."""
        self._fsync(path, os.O_RDONLY | os.O_DIRECTORY)

    def replace(self, source: Path, target: Path) -> None:
        """Atomically give `source` the name `target`."""
        source.replace(target)

    def free_bytes(self, path: Path) -> int:
        """Bytes that this user may still write to the file system of `path`."""
        figures = os.statvfs(path)
        return figures.f_bavail * figures.f_frsize

    def _fsync(self, path: Path, flags: int) -> None:
        descriptor = os.open(path, flags)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class World:
    """Clock, randomness and files, together."""

    clock: Clock = field(default_factory=SystemClock)
    files: Files = field(default_factory=Files)

    def new_id(self, prefix: str) -> str:
        """A new identifier `prefix_<48 bits of milliseconds><64 random bits>` in hex: unique, sorts by time."""
        return f"{prefix}_{int(self.clock.now_s() * 1000):012x}{self.random_bytes(8).hex()}"

    def random_bytes(self, num_bytes: int) -> bytes:
        """Unpredictable bytes (keys, identifiers)."""
        return secrets.token_bytes(num_bytes)
