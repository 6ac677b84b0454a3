from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from homefire.errors import (
    Conflict,
    HomeInUse,
    InvalidRequest,
    NotFound,
    StoreError,
    StoreFenced,
    StoreFull,
)
from homefire.home import Home
from homefire.store import sqlite
from homefire.store.database import Database
from homefire.store.driver import driver
from homefire.store.fence import Fence
from homefire.store.lock import lock_holder
from homefire.store.nouns.keys import KeyCreated
from homefire.store.nouns.versions import VersionRemoved
from homefire.store.sqlite import SQLite
from homefire.store.store import Store
from homefire.types import Message
from homefire.world import World
from tests.store.backends import Backend
from tests.store.conftest import Opener
from tests.store.samples import (
    FaultyConnection,
    LimitedFiles,
    alias,
    model,
    turn,
    version,
)

SQLITE_BUSY, SQLITE_READONLY = 5, 8


def num_events(store: Store) -> int:
    return len(store.events())


# Appending


async def test_many_appends_share_commits_and_each_gets_its_own_place(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = []
    commit = type(store.database).commit

    def counted(self: Database, *arguments: Any, **named: Any) -> None:
        commits.append(1)
        commit(self, *arguments, **named)

    monkeypatch.setattr(type(store.database), "commit", counted)
    results = await asyncio.gather(
        *(store.append(turn(str(number), session=f"s{number}")) for number in range(100))
    )
    assert [one.seq for (one,) in results] == list(range(1, 101))
    assert len(commits) < 30
    assert num_events(store) == 100


async def test_a_refused_append_does_not_hurt_the_others_of_its_batch(store: Store) -> None:
    results = await asyncio.gather(
        *(
            store.append(
                turn(str(number), session=f"s{number}", parent_message_id="no" if number % 3 else None)
            )
            for number in range(30)
        ),
        return_exceptions=True,
    )
    refused = [one for one in results if isinstance(one, NotFound)]
    assert len(refused) == 20
    assert [one[0].seq for one in results if isinstance(one, tuple)] == list(range(1, 11))
    assert store.check().is_sound


def test_events_of_one_append_are_recorded_together_or_not_at_all(store: Store) -> None:
    recorded = store.append_sync(model(), alias("live", "ember"))
    assert [one.seq for one in recorded] == [1, 2]
    with pytest.raises(Conflict):
        store.append_sync(turn("1"), alias("live", "ember"))
    assert num_events(store) == 2
    assert store.turns.get("turn-1") is None
    assert store.append_sync() == ()


async def test_what_cannot_be_written_fails_at_once_and_alone(store: Store) -> None:
    with pytest.raises(InvalidRequest):
        await store.append(KeyCreated(key_id="k", name="\ud800", sha256="s"))
    await store.append(turn("1"))


async def test_an_append_whose_waiter_is_gone_is_recorded(store: Store) -> None:
    task = asyncio.ensure_future(store.append(turn("1")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await store.append(turn("2", session="s2"))
    assert num_events(store) == 2


def test_threads_append_and_read_side_by_side(store: Store) -> None:
    def work(number: int) -> None:
        for step in range(10):
            store.append_sync(turn(f"{number}-{step}", session=f"s{number}-{step}"))
            assert store.turns.get(f"turn-{number}-{step}") is not None

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert num_events(store) == 40


def test_what_was_appended_is_there_after_reopening(open_here: Opener) -> None:
    store = open_here()
    store.append_sync(turn("1"))
    store.close()
    again = open_here()
    assert again.turns.get("turn-1") is not None
    assert again.append_sync(turn("2", session="s2"))[0].seq == 2
    assert again.check().is_sound


def test_a_closed_store_says_so(store: Store) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.append_sync(turn("1"))
    with pytest.raises(StoreError, match="closed"):
        store.events()


def test_closing_commits_what_waits(open_here: Opener) -> None:
    async def append_and_leave(store: Store) -> None:
        waiting = [asyncio.ensure_future(store.append(turn(str(n), session=f"s{n}"))) for n in range(20)]
        await asyncio.sleep(0)
        store.close()
        await asyncio.gather(*waiting)

    asyncio.run(append_and_leave(open_here()))
    assert num_events(open_here()) == 20


def test_the_write_ahead_log_is_checkpointed_between_batches(
    home: Home, open_here: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("homefire.store.writer.CHECKPOINT_BATCHES", 3)
    store = open_here()
    size_bytes = home.database.stat().st_size
    for number in range(12):
        store.append_sync(turn(str(number), session=f"s{number}", route_reason="x" * 3000))
    assert home.database.stat().st_size > size_bytes


# Durability settings


def test_every_commit_is_flushed(home: Home, store: Store) -> None:
    writer = SQLite(home.database, busy_timeout_ms=100).open_writer()
    assert writer.execute("PRAGMA synchronous").fetchone() == (2,)
    assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert writer.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)
    writer.close()


def test_planted_bug_synchronous_normal_is_noticed(
    open_here: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    careless = tuple(
        (name, "NORMAL" if name == "synchronous" else value) for name, value in sqlite.WRITER_PRAGMAS
    )
    monkeypatch.setattr(sqlite, "WRITER_PRAGMAS", careless)
    with pytest.raises(StoreError, match="synchronous=1"):
        open_here()


def test_readers_cannot_write(store: Store) -> None:
    with store._connections.use() as connection, pytest.raises(store.database.Error, match=r"read-?only"):
        connection.execute("DELETE FROM turns")


# One writer


def test_a_second_opener_is_told_who_holds_the_home(home: Home, open_here: Opener) -> None:
    assert lock_holder(home) is None
    store = open_here()
    with pytest.raises(HomeInUse, match=str(os.getpid())) as caught:
        open_here()
    assert caught.value.details["pid"] == os.getpid() == lock_holder(home)
    store.close()
    assert lock_holder(home) is None
    open_here()


def test_a_second_process_is_refused_too(home: Home, store: Store) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom homefire.home import Home\n"
        "from homefire.store.lock import HomeLock\nfrom homefire.errors import HomeInUse\n"
        "try:\n    HomeLock(Home(Path(sys.argv[1])))\n"
        "except HomeInUse as error:\n    print(error.details['pid'])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(home.root)], capture_output=True, text=True, check=True
    )
    assert int(result.stdout) == os.getpid()


def test_the_older_of_two_writers_can_commit_nothing(backend: Backend, store: Store) -> None:
    store.append_sync(turn("1"))
    backend.take_over()
    for number in (2, 3):
        with pytest.raises(StoreFenced, match="took over") as caught:
            store.append_sync(turn(str(number), session="s2"))
        assert caught.value.details["current"] > caught.value.details["epoch"] > 0
    assert isinstance(store.failure, StoreFenced)
    assert num_events(store) == 1
    with pytest.raises(StoreFenced):
        store.rebuild()


def test_planted_bug_without_the_epoch_check_the_older_one_commits(
    backend: Backend, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fence, "check", lambda self, connection: None)
    backend.take_over()
    store.append_sync(turn("1"))
    assert num_events(store) == 1


# Failing disks


@pytest.mark.parametrize(
    ("code", "words"), [(SQLITE_BUSY, "Another program"), (SQLITE_READONLY, "cannot be written")]
)
def test_a_database_that_cannot_be_written_now_is_typed(
    open_here: Opener, faulty: list[FaultyConnection], code: int, words: str
) -> None:
    store = open_here()
    faulty[0].fail("BEGIN", code)
    with pytest.raises(StoreError, match=words):
        store.append_sync(turn("1"))
    store.append_sync(turn("1"))


def test_a_disk_that_cannot_be_asked_refuses_that_append_and_no_later_one(open_here: Opener) -> None:
    files = LimitedFiles(free_bytes=1 << 30)

    def fail(path: Path) -> int:
        del files.free_bytes  # type: ignore[method-assign]
        raise OSError(errno.EIO, "Input/output error")

    store = open_here(world=World(files=files))
    files.free_bytes = fail  # type: ignore[method-assign]
    with pytest.raises(StoreError, match="Input/output error"):
        store.append_sync(model())
    store.append_sync(model())
    assert store.failure is None


def test_below_the_reserve_only_what_cleans_up_is_recorded(open_here: Opener) -> None:
    files = LimitedFiles(free_bytes=1 << 30)
    store = open_here(world=World(files=files), reserve_bytes=1 << 20)
    manifest = store.blobs.put_bytes(b"manifest")
    store.append_sync(model(), version(manifest_sha256=manifest), turn("1"))
    files.free = 1 << 19
    with pytest.raises(StoreFull) as caught:
        store.append_sync(turn("2", session="s2"))
    assert caught.value.details == {"free_bytes": 1 << 19, "reserve_bytes": 1 << 20}
    store.append_sync(alias("live", "ember"))
    store.append_sync(VersionRemoved(version="v001", who="me", why="room"))
    assert store.turns.get("turn-1") is not None
    files.free = 1 << 20
    store.append_sync(turn("2", session="s2"))
    assert store.check().is_sound


def test_another_programs_lock_is_waited_for_then_named(home: Home, open_here: Opener) -> None:
    store = open_here(busy_timeout_ms=20)
    other = driver.connect(home.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="Another program"):
        store.append_sync(turn("1"))
    other.execute("ROLLBACK")
    other.close()
    store.append_sync(turn("1"))


# The character NUL, which PostgreSQL has in no text


def test_nul_in_what_people_say_is_kept(store: Store) -> None:
    said = (Message("user", "zero \0 \ufffd \\u0000 one"),)
    store.append_sync(turn("1", messages=said))
    question = store.turns.list("s1")[0].user_message_id
    assert question is not None
    row = store.messages.get(question)
    assert row is not None
    assert row.content == "zero \0 \ufffd \\u0000 one"
    session = store.sessions.get("s1")
    assert session is not None
    assert session.title == "zero \ufffd \\u0000 one"
    (recorded,) = store.events()
    assert recorded.event == turn("1", messages=said)
    assert store.check().is_sound


def test_nul_in_a_name_is_refused_by_its_field(store: Store) -> None:
    with pytest.raises(InvalidRequest, match="requested_model holds the character NUL"):
        store.append_sync(turn("1", requested_model="a\0b"))
    assert num_events(store) == 0


def test_nothing_has_a_name_with_nul(store: Store) -> None:
    store.append_sync(turn("1"))
    assert store.turns.get("turn-1\0") is None
    assert store.turns.list("s1\0") == []
