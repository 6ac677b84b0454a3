from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from homefire.errors import StoreError, StoreFull, StoreReadOnly
from homefire.store import durable
from homefire.store.durable import make_directory, replace_directory, write_file
from homefire.world import Files, World
from tests.store.samples import PowerCutFiles


class FailingFiles(Files):
    """Fails one operation with this error number."""

    def __init__(self, operation: str, code: int) -> None:
        self._operation, self._code = operation, code
        self.num_flushes = 0

    def fsync_file(self, path: Path) -> None:
        self.num_flushes += 1
        self._maybe_fail("fsync_file")
        super().fsync_file(path)

    def fsync_directory(self, path: Path) -> None:
        self._maybe_fail("fsync_directory")
        super().fsync_directory(path)

    def replace(self, source: Path, target: Path) -> None:
        self._maybe_fail("replace")
        super().replace(source, target)

    def _maybe_fail(self, operation: str) -> None:
        if operation == self._operation:
            raise OSError(self._code, os.strerror(self._code))


def contents_after_each_cut(folder: Path) -> set[bytes | None]:
    """What `file` holds after a power cut before each operation of a replacement of `old` by `new`."""
    found: set[bytes | None] = set()
    for cut_before in range(10):
        place = folder / str(cut_before)
        place.mkdir()
        files = PowerCutFiles(cut_before=None)
        write_file(place / "file", b"old", World(files=files))
        files.settle(place)
        files._cut_before = len(files.operations) + cut_before
        try:
            durable.write_file(place / "file", b"new", World(files=files))
        except KeyboardInterrupt:
            found.add(files.survivors(place).get("file"))
            continue
        found.add(files.survivors(place).get("file"))
        return found
    raise AssertionError("write_file has more operations than were cut")


def test_a_power_cut_at_any_moment_leaves_the_old_or_the_new_content(tmp_path: Path) -> None:
    assert contents_after_each_cut(tmp_path) == {b"old", b"new"}


def test_a_completed_write_survives_a_power_cut(tmp_path: Path) -> None:
    files = PowerCutFiles()
    write_file(tmp_path / "file", b"new", World(files=files))
    assert files.survivors(tmp_path) == {"file": b"new"}


def test_planted_bug_a_write_without_its_flush_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(path: Path, data: bytes, world: World) -> None:
        temporary = path.with_name("temporary")
        temporary.write_bytes(data)
        world.files.replace(temporary, path)
        world.files.fsync_directory(path.parent)

    monkeypatch.setattr(durable, "write_file", careless)
    assert contents_after_each_cut(tmp_path) != {b"old", b"new"}


def test_planted_bug_a_rename_without_the_directory_flush_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PowerCutFiles, "fsync_directory", lambda self, path: None)
    files = PowerCutFiles()
    write_file(tmp_path / "file", b"new", World(files=files))
    assert files.survivors(tmp_path) == {}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (errno.ENOSPC, StoreFull),
        (errno.EDQUOT, StoreFull),
        (errno.EROFS, StoreReadOnly),
        (errno.EIO, StoreError),
    ],
)
@pytest.mark.parametrize("operation", ["fsync_file", "replace"])
def test_a_failed_write_is_typed_and_changes_nothing(
    tmp_path: Path, operation: str, code: int, expected: type[StoreError]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(expected) as caught:
        write_file(path, b"new", World(files=FailingFiles(operation, code)))
    assert type(caught.value) is expected
    assert str(path) in caught.value.message
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def num_flushes_of_a_failing_write(path: Path) -> int:
    files = FailingFiles("fsync_file", errno.EIO)
    with pytest.raises(StoreError):
        durable.write_file(path, b"new", World(files=files))
    return files.num_flushes


def test_a_failed_flush_is_not_tried_again(tmp_path: Path) -> None:
    assert num_flushes_of_a_failing_write(tmp_path / "file") == 1


def test_planted_bug_a_write_that_is_tried_again_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stubborn(path: Path, data: bytes, world: World) -> None:
        try:
            write_file(path, data, world)
        except StoreError:
            write_file(path, data, world)

    monkeypatch.setattr(durable, "write_file", stubborn)
    assert num_flushes_of_a_failing_write(tmp_path / "file") == 2


def test_written_files_are_private(tmp_path: Path) -> None:
    write_file(tmp_path / "file", b"", World())
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


def test_a_missing_directory_is_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_file(tmp_path / "missing" / "file", b"", World())


def test_a_directory_gets_its_name_when_everything_in_it_is_flushed(tmp_path: Path) -> None:
    source = tmp_path / "aside"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "b").write_bytes(b"b")
    (source / "a").write_bytes(b"a")
    files = PowerCutFiles()
    replace_directory(source, tmp_path / "final", World(files=files))
    assert files.operations == [
        ("fsync", "b"),
        ("fsync-directory", "deep"),
        ("fsync", "a"),
        ("fsync-directory", "aside"),
        ("replace", "final"),
        ("fsync-directory", tmp_path.name),
    ]
    assert (tmp_path / "final" / "deep" / "b").read_bytes() == b"b"


def test_a_directory_replaces_an_older_one(tmp_path: Path) -> None:
    (tmp_path / "final").mkdir()
    (tmp_path / "final" / "old").touch()
    (tmp_path / "aside").mkdir()
    (tmp_path / "aside" / "new").touch()
    replace_directory(tmp_path / "aside", tmp_path / "final", World())
    assert [path.name for path in tmp_path.rglob("*")] == ["final", "new"]


def test_a_new_directory_is_flushed_into_its_parent(tmp_path: Path) -> None:
    files = PowerCutFiles()
    make_directory(tmp_path / "one", World(files=files))
    make_directory(tmp_path / "one", World(files=files))
    assert files.operations == [("fsync-directory", tmp_path.name)]
