"""A file is hashed once while it stays as it is, and again when it may be another."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from homefire.errors import CorruptData
from homefire.machine.hashing import FileVerifier, hash_file


class Counting:
    """Hashes, and counts how often."""

    def __init__(self) -> None:
        self.num_hashed = 0

    def __call__(self, path: Path) -> str:
        self.num_hashed += 1
        return hash_file(path)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file whose last change is long ago: the verifier's clock is ahead by a minute."""
    path = tmp_path / "weights"
    path.write_bytes(bytes(range(256)))
    now_ns = time.time_ns
    monkeypatch.setattr("homefire.machine.hashing.time.time_ns", lambda: now_ns() + 60_000_000_000)
    return path


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[7] ^= 1
    path.write_bytes(data)


def replace(path: Path) -> None:
    other = path.with_name("other")
    data = bytearray(path.read_bytes())
    data[7] ^= 1
    other.write_bytes(data)
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)


def flip_and_set_the_time_back(path: Path) -> None:
    before = path.stat()
    flip(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def grow(path: Path) -> None:
    with path.open("ab") as opened:
        opened.write(b"x")


def test_a_file_that_stays_is_hashed_once(file: Path) -> None:
    counting = Counting()
    verifier = FileVerifier(hash_file=counting)
    sha256 = hash_file(file)
    for _ in range(5):
        verifier.check(file, f"sha256:{sha256}")
    assert counting.num_hashed == 1
    verifier.evict(file)
    verifier.check(file, sha256)
    assert counting.num_hashed == 2


@pytest.mark.parametrize("change", [flip, replace, flip_and_set_the_time_back, grow])
def test_a_file_that_changed_is_hashed_again(file: Path, change: Callable[[Path], None]) -> None:
    verifier, sha256 = FileVerifier(), hash_file(file)
    verifier.check(file, sha256)
    change(file)
    with pytest.raises(CorruptData) as caught:
        verifier.check(file, sha256)
    assert caught.value.details["expected"] == sha256


def test_a_new_process_trusts_nothing_that_an_earlier_one_saw(file: Path) -> None:
    """Bits that flip under a file change no time of it: the memory must not outlive the process."""
    counting, sha256 = Counting(), hash_file(file)
    for _ in range(2):
        FileVerifier(hash_file=counting).check(file, sha256)
    assert counting.num_hashed == 2


def test_another_hash_is_not_taken_for_the_remembered_one(file: Path) -> None:
    verifier = FileVerifier()
    verifier.check(file, hash_file(file))
    assert not verifier.is_sound(file, "0" * 64)
    assert verifier.is_sound(file, hash_file(file))


def test_a_file_that_was_just_written_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its clock may not have moved when it is written again."""
    path = tmp_path / "weights"
    path.write_bytes(b"1")
    monkeypatch.setattr("homefire.machine.hashing.time.time_ns", lambda: path.stat().st_ctime_ns)
    counting = Counting()
    verifier = FileVerifier(hash_file=counting)
    for _ in range(2):
        verifier.check(path, hash_file(path))
    assert counting.num_hashed == 2


def test_what_its_writer_read_back_is_not_read_again(file: Path) -> None:
    counting = Counting()
    verifier = FileVerifier(hash_file=counting)
    verifier.note(file, hash_file(file))
    verifier.check(file, hash_file(file))
    assert counting.num_hashed == 0
    flip(file)
    with pytest.raises(CorruptData):
        verifier.check(file, "0" * 64)


def test_a_file_that_is_gone_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(CorruptData, match="gone"):
        FileVerifier().check(tmp_path / "nothing", "0" * 64)
