"""Promise 1 over power loss: a real ext4 file system is shut down without flushing while a process appends.

The shutdown request of ext4 drops everything that was not flushed, as a power cut does (it does not model
torn sectors or drives that lie about flushes).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from homefire.config.schema import StoreSettings
from homefire.errors import CorruptData, NotFound
from homefire.home import Home
from homefire.store.store import open_store
from homefire.world import World

EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
SIZE_BYTES = 48 << 20

CHILD = """
import asyncio, itertools, sys
from pathlib import Path
from homefire.config.schema import StoreSettings
from homefire.errors import StoreError
from homefire.home import Home
from homefire.store.store import open_store
from homefire.world import World
from tests.store.samples import turn

async def main():
    store = open_store(Home(Path(sys.argv[1])), StoreSettings(reserve_bytes=0), World())
    first = store.last_seq
    for number in itertools.count():
        name = f"{first}-{number}"
        try:
            digest = store.blobs.put_bytes(name.encode() * 500)
            await store.append(turn(name, session=name, served_digest=digest))
        except StoreError as error:
            print("failed", type(error).__name__, flush=True)
            return
        print(name, digest, flush=True)

asyncio.run(main())
"""

UNFLUSHED_COMMITS = """
from homefire.store import sqlite
sqlite.check_durability = lambda connection: None
sqlite.WRITER_PRAGMAS = tuple(
    (name, "NORMAL" if name == "synchronous" else value) for name, value in sqlite.WRITER_PRAGMAS
)
"""

UNFLUSHED_FILES = """
from homefire.world import Files
Files.fsync_file = lambda self, path: None
Files.fsync_directory = lambda self, path: None
"""


@dataclass(frozen=True)
class Disk:
    """A small file system on a loop device."""

    image: Path
    place: Path

    def mount(self) -> None:
        subprocess.run(["mount", "-o", "loop", str(self.image), str(self.place)], check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", str(self.place)], check=True)

    def cut_power(self) -> None:
        descriptor = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(descriptor)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if any(shutil.which(tool) is None for tool in ("mount", "umount", "mkfs.ext4")):
        pytest.skip("mount or mkfs.ext4 is not installed")
    disk = Disk(tmp_path / "image", tmp_path / "disk")
    disk.place.mkdir()
    with disk.image.open("wb") as image:
        image.truncate(SIZE_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(disk.image)], check=True)
    try:
        disk.mount()
    except subprocess.CalledProcessError:
        pytest.skip("a loop device cannot be mounted here")
    yield disk
    disk.unmount()


def append_until_cut(disk: Disk, num_acknowledged: int, *, plant: str = "") -> list[tuple[str, str]]:
    """Names and blobs that a child had acknowledged when the power went; the disk is mounted again."""
    child = subprocess.Popen(
        [sys.executable, "-c", plant + CHILD, str(disk.place / "home")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert child.stdout is not None
    with child.stdout as output:
        lines = [output.readline() for _ in range(num_acknowledged)]
        disk.cut_power()
        lines += list(output)
    child.wait()
    disk.unmount()
    disk.mount()
    told = [line.split() for line in lines]
    return [(name, digest) for name, digest in told if name != "failed"]


def count_lost(disk: Disk, acknowledged: list[tuple[str, str]]) -> tuple[int, int]:
    """How many acknowledged turns and blobs are gone or damaged."""
    store = open_store(Home(disk.place / "home"), StoreSettings(reserve_bytes=0), World())
    lost_turns = lost_blobs = 0
    for name, digest in acknowledged:
        lost_turns += store.turns.get(f"turn-{name}") is None
        try:
            store.blobs.verify(digest)
        except (NotFound, CorruptData):
            lost_blobs += 1
    assert [problem for problem in store.check().problems if "manifest" not in problem] == []
    store.close()
    return lost_turns, lost_blobs


def test_what_was_acknowledged_survives_power_cuts(disk: Disk) -> None:
    acknowledged: list[tuple[str, str]] = []
    for num_acknowledged in (1, 10, 25):
        acknowledged += append_until_cut(disk, num_acknowledged)
        assert count_lost(disk, acknowledged) == (0, 0)
    assert len(acknowledged) >= 36


def test_planted_bug_commits_without_a_flush_are_noticed(disk: Disk) -> None:
    append_until_cut(disk, 1)
    lost_turns, _ = count_lost(disk, append_until_cut(disk, 30, plant=UNFLUSHED_COMMITS + UNFLUSHED_FILES))
    assert lost_turns


def test_planted_bug_blobs_without_a_flush_are_noticed(disk: Disk) -> None:
    append_until_cut(disk, 1)
    _, lost_blobs = count_lost(disk, append_until_cut(disk, 30, plant=UNFLUSHED_FILES))
    assert lost_blobs
