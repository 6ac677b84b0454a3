"""What goes wrong inside the writing thread is told to those it concerns, and ends nothing else."""

from __future__ import annotations

import errno
import logging
from concurrent.futures import Future
from pathlib import Path

import pytest

from homefire.errors import HomefireError, StoreError, StoreFenced, StorePoisoned
from homefire.store.fence import Fence
from homefire.store.waiting import Append
from homefire.store.writer import Writer
from homefire.world import Files, World
from tests.store.backends import Backend
from tests.store.conftest import Opener
from tests.store.samples import alias, model, turn


def meets(patch: pytest.MonkeyPatch, error: Exception) -> None:
    """The next transaction meets this error, once."""
    left, check = [error], Fence.check

    def failing(self: Fence, connection: object) -> None:
        if left:
            raise left.pop()
        check(self, connection)  # type: ignore[arg-type]

    patch.setattr(Fence, "check", failing)


def answers_around(open_here: Opener, patch: pytest.MonkeyPatch) -> list[str]:
    """What an append is told whose transaction meets the error, and the one after it."""
    store = open_here()
    store.append_sync(turn("before"))
    meets(patch, OSError(errno.EIO, "Input/output error"))
    told = []
    for name in ("first", "second"):
        try:
            store.append_sync(turn(name, session=name))
        except HomefireError as refusal:
            told.append(type(refusal).__name__)
        else:
            told.append("recorded")
    assert store.turns.get("turn-before") is not None
    return [*told, "stopped" if store.failure else "works"]


def test_an_error_of_the_system_in_a_commit_is_told_and_ends_nothing(
    open_here: Opener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        assert answers_around(open_here, monkeypatch) == [StoreError.__name__, "recorded", "works"]
    assert "Input/output error" in caplog.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_planted_bug_an_error_of_the_system_that_ends_the_thread_is_noticed(
    open_here: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up(self: Writer, error: Exception) -> HomefireError:
        raise error

    monkeypatch.setattr(Writer, "_to_failure", give_up)
    assert answers_around(open_here, monkeypatch) == [StorePoisoned.__name__] * 2 + ["stopped"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_store_whose_thread_ended_is_closed_and_opened_again(
    open_here: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_here()
    store.append_sync(turn("before"))
    with monkeypatch.context() as patch:
        patch.setattr(Writer, "_gather", lambda self, first: 1 / 0)
        with pytest.raises(StorePoisoned, match="ZeroDivisionError"):
            store.append_sync(turn("after", session="s2"))
    assert isinstance(store.failure, StorePoisoned)
    store.close()
    again = open_here()
    again.append_sync(turn("after", session="s2"))
    assert again.check().is_sound


def failure_after_the_thread_ended(open_here: Opener, patch: pytest.MonkeyPatch) -> StoreError | None:
    """What the store says of itself once an error that nobody foresaw has ended its thread."""
    store = open_here()
    patch.setattr(Writer, "_gather", lambda self, first: 1 / 0)
    store._writer.submit(Append((turn("1"),), Future()))
    store._writer._thread.join()
    return store.failure


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_says_why(open_here: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "ZeroDivisionError" in str(failure_after_the_thread_ended(open_here, monkeypatch))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_planted_bug_a_thread_that_ends_in_silence_is_noticed(
    open_here: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Writer, "_end_unexpectedly", lambda self, error, item: None)
    assert failure_after_the_thread_ended(open_here, monkeypatch) is None


def is_refused(open_here: Opener, backend: Backend) -> bool:
    """Whether a rebuild is refused, and changes nothing, once another process has taken over."""
    store = open_here()
    store.append_sync(model(), alias("fast", "ember"))
    backend.execute("DELETE FROM aliases")
    backend.take_over()
    try:
        store.rebuild()
    except StoreFenced:
        assert isinstance(store.failure, StoreFenced)
        return backend.rows("SELECT * FROM aliases") == []
    return False


def test_a_rebuild_that_is_not_fenced_is_refused(open_here: Opener, backend: Backend) -> None:
    assert is_refused(open_here, backend)


def test_planted_bug_a_rebuild_that_does_not_look_at_the_fence_is_noticed(
    open_here: Opener, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fence, "check", lambda self, connection: None)
    assert not is_refused(open_here, backend)


class RecordingFiles(Files):
    """The real file operations, which remember what each flushed directory held."""

    def __init__(self, *, forgets: Path | None = None) -> None:
        self.flushed: list[tuple[Path, set[str]]] = []
        self._forgets = forgets

    def fsync_directory(self, path: Path) -> None:
        if path != self._forgets:
            self.flushed.append((path, {child.name for child in path.iterdir()}))
            super().fsync_directory(path)


def is_name_flushed(files: RecordingFiles, database: Path) -> bool:
    """Whether the directory of the database was flushed when it was in there."""
    return any(path == database.parent and database.name in held for path, held in files.flushed)


def test_the_name_of_a_new_database_is_flushed_before_anything_is_acknowledged(open_here: Opener) -> None:
    files = RecordingFiles()
    store = open_here(world=World(files=files))
    assert is_name_flushed(files, store.home.database)


def test_planted_bug_a_first_start_that_does_not_flush_the_directory_is_noticed(
    open_here: Opener, tmp_path: Path
) -> None:
    files = RecordingFiles(forgets=tmp_path / "home")
    store = open_here(world=World(files=files))
    assert not is_name_flushed(files, store.home.database)
