from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homefire.errors import CorruptData, InvalidRequest
from homefire.store.driver import Connection, driver
from homefire.store.log import FIRST_PREV_HASH, EventLog, LogTail, encode_event, hash_row
from homefire.store.nouns.keys import KeyCreated
from homefire.store.schema import create_schema
from homefire.store.sqlite import SQLite
from homefire.store.store import Store
from tests.store.backends import Backend
from tests.store.conftest import Opener
from tests.store.samples import turn


def key(number: int, name: str = "laptop") -> KeyCreated:
    return KeyCreated(key_id=f"key-{number}", name=name, sha256=f"{number:064d}")


def new_database(path: Path | str = ":memory:") -> Connection:
    connection = driver.connect(path, isolation_level=None)
    create_schema(connection, SQLite(Path(path), busy_timeout_ms=0))
    return connection


def fill(connection: Connection, names: list[str]) -> LogTail:
    log, tail = EventLog(counter=SQLite.counter), LogTail(0, FIRST_PREV_HASH)
    for number, name in enumerate(names):
        kind, payload = encode_event(key(number, name))
        tail = log.add(connection, tail, at_s=number / 3, kind=kind, payload=payload)
    return tail


@given(names=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), max_size=12))
@settings(max_examples=50, deadline=None)
def test_any_log_verifies_and_reads_back(names: list[str]) -> None:
    connection = new_database()
    tail = fill(connection, names)
    log = EventLog(counter=SQLite.counter)
    assert log.verify(connection) == tail == log.tail(connection)
    assert [one.event for one in log.replay(connection)] == [
        key(number, name) for number, name in enumerate(names)
    ]


@given(
    num_events=st.integers(2, 8),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_any_edit_of_any_row_is_noticed(num_events: int, data: st.DataObject) -> None:
    connection = new_database()
    fill(connection, [f"name {number}" for number in range(num_events)])
    connection.execute("DROP TRIGGER events_are_never_edited")
    connection.execute("DROP TRIGGER events_are_never_deleted")
    seq = data.draw(st.integers(1, num_events))
    edit = data.draw(
        st.sampled_from(
            [
                "UPDATE events SET payload = replace(payload, 'name', 'nome') WHERE seq = ?",
                "UPDATE events SET at_s = at_s + 1 WHERE seq = ?",
                "UPDATE events SET kind = 'key.revoked' WHERE seq = ?",
                "UPDATE events SET hash = zeroblob(32) WHERE seq = ?",
                "UPDATE events SET prev_hash = x'01' WHERE seq = ?",
                "UPDATE events SET seq = seq + 100 WHERE seq = ?",
                "DELETE FROM events WHERE seq = ?",
            ]
        )
    )
    connection.execute(edit, (seq,))
    with pytest.raises(CorruptData, match="log"):
        EventLog(counter=SQLite.counter).verify(connection)


def test_a_row_that_was_edited_with_its_hash_breaks_the_next_one() -> None:
    connection = new_database()
    fill(connection, ["a", "b", "c"])
    connection.execute("DROP TRIGGER events_are_never_edited")
    at_s, kind, prev_hash = connection.execute(
        "SELECT at_s, kind, prev_hash FROM events WHERE seq = 2"
    ).fetchone()
    payload = encode_event(key(1, "forged"))[1]
    forged = hash_row(prev_hash, seq=2, at_s=at_s, kind=kind, payload=payload)
    connection.execute("UPDATE events SET payload = ?, hash = ? WHERE seq = 2", (payload, forged))
    with pytest.raises(CorruptData, match=r"Event 3 .* does not continue event 2"):
        EventLog(counter=SQLite.counter).verify(connection)


def test_the_database_itself_refuses_to_edit_or_delete_events(store: Store, backend: Backend) -> None:
    store.append_sync(key(1))
    for statement in ("UPDATE events SET kind = 'x'", "DELETE FROM events"):
        with pytest.raises(Exception, match="append-only"):
            backend.execute(statement)
    assert store.check().is_sound


EDITS = (
    "UPDATE events SET payload = replace(payload, 'laptop', 'Laptop') WHERE seq = 2",
    "UPDATE events SET at_s = at_s + 1 WHERE seq = 3",
    "UPDATE events SET kind = 'key.revoked' WHERE seq = 1",
    "UPDATE events SET hash = prev_hash WHERE seq = 2",
    "UPDATE events SET seq = seq + 100 WHERE seq = 3",
    "DELETE FROM events WHERE seq = 2",
    "DELETE FROM events WHERE seq = 3",
)


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_behind_the_store_is_noticed_at_the_next_start(
    open_here: Opener, backend: Backend, edit: str
) -> None:
    store = open_here()
    for number in range(3):
        store.append_sync(key(number))
    store.close()
    backend.unlock_log()
    backend.execute(edit)
    with pytest.raises(CorruptData, match="log"):
        open_here()


def test_planted_bug_a_chain_without_the_payload_misses_an_edit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "homefire.store.log.hash_row", lambda prev_hash, *, seq, at_s, kind, payload: bytes([seq]) * 32
    )
    connection = new_database()
    fill(connection, ["a", "b"])
    connection.execute("DROP TRIGGER events_are_never_edited")
    connection.execute("UPDATE events SET payload = replace(payload, 'a', 'x') WHERE seq = 1")
    EventLog(counter=SQLite.counter).verify(connection)


def test_the_end_of_the_log_is_verified_at_open(open_here: Opener, backend: Backend) -> None:
    store = open_here()
    store.append_sync(turn("1"))
    store.close()
    backend.unlock_log()
    backend.execute("UPDATE events SET payload = replace(payload, 'question', 'Question')")
    with pytest.raises(CorruptData, match="Event 1 of the log"):
        open_here()


@pytest.mark.parametrize("last", [1, 2, 3, 4, 100])
def test_only_the_last_rows_can_be_verified(last: int) -> None:
    connection = new_database()
    tail = fill(connection, ["a", "b", "c", "d"])
    assert EventLog(counter=SQLite.counter).verify(connection, last=last) == tail
    connection.execute("DROP TRIGGER events_are_never_edited")
    connection.execute("UPDATE events SET payload = replace(payload, 'a', 'x') WHERE seq = 4")
    with pytest.raises(CorruptData):
        EventLog(counter=SQLite.counter).verify(connection, last=last)


def test_an_event_of_a_newer_program_is_named(store: Store) -> None:
    with pytest.raises(CorruptData, match=r"Event 7 .*newer"):
        EventLog(counter=SQLite.counter).decode('{"kind":"comet.seen"}', seq=7, kind="comet.seen")


@pytest.mark.parametrize("breaking", ["\ud800", "a\udfff"])
def test_half_a_character_is_refused(breaking: str) -> None:
    with pytest.raises(InvalidRequest, match="surrogate"):
        encode_event(key(1, breaking))


def test_events_are_read_by_their_place(store: Store) -> None:
    for number in range(3):
        store.append_sync(key(number), turn(str(number), session=f"s{number}"))
    assert [one.seq for one in store.events()] == [1, 2, 3, 4, 5, 6]
    assert [one.seq for one in store.events(after_seq=2, limit=2)] == [3, 4]
    assert store.events()[0].event == key(0)


def test_a_recorded_event_says_when_it_was(store: Store) -> None:
    before_s = store.world.clock.now_s()
    (recorded,) = store.append_sync(key(1))
    assert before_s <= recorded.at_s <= store.world.clock.now_s()
    assert store.events() == [recorded]


def test_the_hash_depends_on_every_part() -> None:
    base = {"seq": 1, "at_s": 1.5, "kind": "a", "payload": "b"}
    others = [{**base, "seq": 2}, {**base, "at_s": 1.25}, {**base, "kind": "c"}, {**base, "payload": "c"}]
    make: Callable[..., bytes] = hash_row
    assert len({make(FIRST_PREV_HASH, **one) for one in [base, *others]} | {make(b"x" * 32, **base)}) == 6
