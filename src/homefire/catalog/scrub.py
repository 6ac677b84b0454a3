"""Reads all stored files again, slowly and on a schedule, so that bits that flipped on the disk are found.

Each pass hashes every file of models and versions, the converted files in the cache and all blobs, from the disk
and not from memory, at a limited rate and the lowest priority, on a thread of its own. What it finds is logged,
kept in `cache/scrub.json`, shown in the status and by `homefire doctor`; a damaged file is hashed again before its
next use, which repairs it (versions, converted files) or refuses it. A pass that was interrupted continues where it
was. A failure of the scrub itself is logged, shown, and tried again after an hour.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import msgspec

from homefire.machine.hashing import FileVerifier
from homefire.store.durable import write_file
from homefire.world import World

SCRUB_FILE = "scrub.json"
"""In the cache folder."""
RETRY_S = 3600.0
LONGEST_SLEEP_S = 60.0
_LOWEST_PRIORITY = 19
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ScrubTarget:
    """A file and the hash it must have; `name` is what people call it."""

    name: str
    path: Path
    sha256: str


class ScrubReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The last pass, whole or under way; what is kept between starts."""

    started_at_s: float
    finished_at_s: float | None = None
    position: str = ""
    """The path up to which a pass under way has read."""
    num_files: int = 0
    num_bytes: int = 0
    damaged: tuple[str, ...] = ()
    """`<model>: <file>` of each file that is not what was written."""


class ScrubStatus(msgspec.Struct, frozen=True, kw_only=True):
    """For the status: the last pass, and why there is none now."""

    report: ScrubReport | None
    is_running: bool
    failure: str | None
    """Why the scrub itself failed; it is tried again."""


class Scrub:
    """Belongs to one event loop; `run` until it is cancelled."""

    def __init__(
        self,
        targets: Callable[[], Iterable[ScrubTarget]],
        *,
        state_file: Path,
        verifier: FileVerifier,
        interval_s: float,
        bytes_per_s: float,
        world: World,
    ) -> None:
        """`interval_s` lies between the ends of two passes; 0: never."""
        self._targets, self._state_file, self._verifier = targets, state_file, verifier
        self._interval_s, self._bytes_per_s, self._world = interval_s, bytes_per_s, world
        self._report = read_report(state_file)
        self._is_running = False
        self._failure: str | None = None

    def status(self) -> ScrubStatus:
        """Cheap."""
        return ScrubStatus(report=self._report, is_running=self._is_running, failure=self._failure)

    async def run(self) -> None:
        """A pass whenever one is due."""
        while self._interval_s:
            wait_s = self._due_at_s() - self._world.clock.now_s()
            if wait_s > 0:
                await asyncio.sleep(min(wait_s, LONGEST_SLEEP_S))
                continue
            try:
                await self.read_all()
                self._failure = None
            except Exception as error:  # noqa: BLE001 - it must not end the server, and must be seen
                self._failure = f"{type(error).__name__}: {error}"
                _log.exception("reading all files again failed; it is tried again in an hour")
                await asyncio.sleep(RETRY_S)

    def _due_at_s(self) -> float:
        last = self._report
        return last.finished_at_s + self._interval_s if last is not None and last.finished_at_s else 0.0

    async def read_all(self) -> ScrubReport:
        """One pass, or the rest of one that was interrupted."""
        stop = threading.Event()
        self._is_running = True
        with ThreadPoolExecutor(1, "scrub", initializer=_lower_priority) as thread:
            try:
                await asyncio.get_running_loop().run_in_executor(thread, self._read_all, stop)
            finally:
                stop.set()
                self._is_running = False
        assert self._report is not None
        return self._report

    def _read_all(self, stop: threading.Event) -> None:
        last = self._report
        if last is None or last.finished_at_s is not None:
            last = ScrubReport(started_at_s=self._world.clock.now_s())
        self._report = last
        for target in sorted(self._targets(), key=lambda target: str(target.path)):
            if stop.is_set():
                return
            if str(target.path) <= self._report.position:
                continue
            self._read(target, stop)
        if not stop.is_set():
            self._keep(finished_at_s=self._world.clock.now_s(), position="")

    def _read(self, target: ScrubTarget, stop: threading.Event) -> None:
        try:
            with _SlowFile(target.path, bytes_per_s=self._bytes_per_s, stop=stop) as opened:
                sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
                num_bytes = opened.tell()
        except FileNotFoundError:
            return  # removed since it was listed
        except OSError as error:
            sha256, num_bytes = f"unreadable ({error.strerror})", 0
        if stop.is_set():
            return
        assert self._report is not None
        damaged = self._report.damaged
        if sha256 != target.sha256.removeprefix("sha256:"):
            _log.error("%s is damaged on the disk: %s", target.name, target.path)
            self._verifier.evict(target.path)
            damaged = (*damaged, target.name)
        self._keep(
            position=str(target.path),
            num_files=self._report.num_files + 1,
            num_bytes=self._report.num_bytes + num_bytes,
            damaged=damaged,
        )

    def _keep(self, **changes: Any) -> None:
        assert self._report is not None
        self._report = msgspec.structs.replace(self._report, **changes)
        write_file(self._state_file, msgspec.json.encode(self._report), self._world)


def read_report(state_file: Path) -> ScrubReport | None:
    """The last pass; None where there was none, or its file is not readable."""
    try:
        return msgspec.json.decode(state_file.read_bytes(), type=ScrubReport)
    except (OSError, msgspec.DecodeError):
        return None


class _SlowFile(FileIO):
    """Reads from the disk, at a limited rate, and leaves no trace in the page cache. Ends early when stopped."""

    def __init__(self, path: Path, *, bytes_per_s: float, stop: threading.Event) -> None:
        super().__init__(path, "rb")
        self._bytes_per_s, self._stop = bytes_per_s, stop
        self._drop_pages()

    def readinto(self, buffer: Any) -> int:
        num_bytes = 0 if self._stop.is_set() else super().readinto(buffer)
        if num_bytes:
            self._stop.wait(num_bytes / self._bytes_per_s)
        return num_bytes or 0

    def close(self) -> None:
        if not self.closed:
            self._drop_pages()
        super().close()

    def _drop_pages(self) -> None:
        # Pages that an engine has mapped stay: the kernel drops only what nobody uses.
        with contextlib.suppress(OSError):
            os.posix_fadvise(self.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _lower_priority() -> None:
    """Of this thread alone: priorities belong to threads on Linux."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST_PRIORITY)
