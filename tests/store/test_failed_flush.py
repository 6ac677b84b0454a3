"""A failed flush is never tried again (promise 8), and "disk full" is never taken for a commit (promise 9)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from homefire.errors import HomefireError, StoreFull, StorePoisoned
from homefire.store.driver import driver
from homefire.store.store import Store
from homefire.store.writer import Writer
from tests.store.conftest import Opener
from tests.store.samples import IOERR_FSYNC, FaultyConnection, turn

SQLITE_FULL = 13
Plant = Callable[[pytest.MonkeyPatch], None]


def tried_after_a_failed_flush(
    store: Store, connection: FaultyConnection, *, statement: str = "COMMIT"
) -> list[str]:
    """What the store still sends to the disk after `statement` failed once (rolling back is no writing), and
    what it says of appends that are not recorded."""

    async def append_many() -> list[object]:
        return list(
            await asyncio.gather(
                *(store.append(turn(str(n), session=f"s{n}")) for n in range(10)), return_exceptions=True
            )
        )

    connection.fail(statement, IOERR_FSYNC)
    before = len(connection.executed)
    answers = asyncio.run(append_many())
    try:
        answers.append(store.append_sync(turn("after", session="after")))
    except HomefireError as error:
        answers.append(error)
    executed = connection.executed[before:]
    failed = next(place for place, sql in enumerate(executed) if sql.startswith(statement))
    tried = [sql for sql in executed[failed + 1 :] if sql != "ROLLBACK"]
    return tried + [f"answered {answer!r}" for answer in answers if not isinstance(answer, StorePoisoned)]


@pytest.mark.parametrize("statement", ["COMMIT", "INSERT INTO events", "BEGIN"])
def test_a_failed_flush_stops_the_store_and_is_never_retried(
    open_here: Opener, faulty: list[FaultyConnection], statement: str
) -> None:
    store = open_here()
    store.append_sync(turn("before"))
    assert tried_after_a_failed_flush(store, faulty[0], statement=statement) == []
    with pytest.raises(StorePoisoned, match="restart"):
        store.append_sync(turn("after", session="s2"))
    assert store.turns.get("turn-before") is not None, "reads go on"
    store.close()
    again = open_here()
    again.append_sync(turn("after", session="s2"))
    assert again.check().is_sound


def test_a_checkpoint_that_fails_stops_the_store(
    open_here: Opener, faulty: list[FaultyConnection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("homefire.store.writer.CHECKPOINT_BATCHES", 1)
    store = open_here()
    faulty[0].fail("PRAGMA wal_checkpoint", IOERR_FSYNC)
    store.append_sync(turn("1"))
    store.close()
    assert isinstance(store.failure, StorePoisoned)


def go_on(patch: pytest.MonkeyPatch) -> None:
    """The failure is answered and then forgotten."""
    patch.setattr(Writer, "_note", lambda self, failure: None)


def commit_once_more(patch: pytest.MonkeyPatch) -> None:
    """A commit that fails is tried a second time, which the kernel answers with success."""
    execute = FaultyConnection.execute

    def stubborn(self: FaultyConnection, sql: str, *parameters: Any) -> Any:
        try:
            return execute(self, sql, *parameters)
        except driver.OperationalError:
            return execute(self, sql, *parameters)

    patch.setattr(FaultyConnection, "execute", stubborn)


@pytest.mark.parametrize(("plant", "first"), [(go_on, "BEGIN IMMEDIATE"), (commit_once_more, "COMMIT")])
def test_planted_bug_a_writer_that_tries_again_is_noticed(
    open_here: Opener,
    faulty: list[FaultyConnection],
    monkeypatch: pytest.MonkeyPatch,
    plant: Plant,
    first: str,
) -> None:
    plant(monkeypatch)
    tried = tried_after_a_failed_flush(open_here(), faulty[0])
    assert tried[0] == first
    assert any(one.startswith("answered (Recorded(") for one in tried)


# A full disk


def lost_at_a_full_disk(open_here: Opener, connections: list[FaultyConnection], statement: str) -> list[str]:
    """The turns that were acknowledged around a disk that is full for two commits, and are not recorded."""
    store, acknowledged, num_refused = open_here(), [], 0
    for number in range(6):
        if number == 2:
            connections[-1].fail(statement, SQLITE_FULL, num_times=2)
        try:
            store.append_sync(turn(str(number), session=f"s{number}"))
            acknowledged.append(f"turn-{number}")
        except StoreFull:
            num_refused += 1
    assert len(acknowledged) + num_refused == 6, "every append is answered"
    assert {"turn-0", "turn-1", "turn-4", "turn-5"} <= set(acknowledged), "it goes on when there is room"
    assert store.failure is None
    return [name for name in acknowledged if store.turns.get(name) is None]


@pytest.mark.parametrize("statement", ["COMMIT", "INSERT INTO events"])
def test_a_full_disk_refuses_and_recovers(
    open_here: Opener, faulty: list[FaultyConnection], statement: str
) -> None:
    assert lost_at_a_full_disk(open_here, faulty, statement) == []


def test_planted_bug_a_full_disk_taken_for_a_commit_is_noticed(
    open_here: Opener, faulty: list[FaultyConnection], monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = FaultyConnection.execute

    def deaf(self: FaultyConnection, sql: str, *parameters: Any) -> Any:
        try:
            return execute(self, sql, *parameters)
        except driver.OperationalError:
            return execute(self, "ROLLBACK")

    monkeypatch.setattr(FaultyConnection, "execute", deaf)
    assert lost_at_a_full_disk(open_here, faulty, "COMMIT") == ["turn-2", "turn-3"]
