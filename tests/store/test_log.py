from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homefire.errors import CorruptData, InvalidRequest
from homefire.store.driver import Connection, driver
from homefire.store.events import Event
from homefire.store.log import FIRST_HASH, EventLog, LogTail, encode_event, hash_row
from homefire.store.noun import Recent
from homefire.store.nouns.feedback import FeedbackGiven
from homefire.store.nouns.keys import KeyCreated
from homefire.store.packing import pack
from homefire.store.schema import create_schema
from homefire.store.sqlite import SQLite
from homefire.store.store import Store
from tests.store.backends import Backend
from tests.store.conftest import Opener
from tests.store.samples import turn


def key(number: int, name: str = "laptop") -> KeyCreated:
    return KeyCreated(key_id=f"key-{number}", name=name, sha256=f"{number:064d}")


def thing(number: int, name: str) -> Event:
    """Now an event with a body, now one without."""
    return corrected(number, name) if number % 2 else key(number, name)


def corrected(number: int, text: str) -> FeedbackGiven:
    return FeedbackGiven(
        feedback_id=f"f-{number}", turn_id=None, verdict="correction", text=text, principal="local"
    )


def new_database(path: Path | str = ":memory:") -> Connection:
    connection = driver.connect(path, isolation_level=None)
    create_schema(connection, SQLite(Path(path), busy_timeout_ms=0))
    return connection


def fill(connection: Connection, names: list[str]) -> LogTail:
    log, tail = EventLog(secrets.token_bytes), LogTail(0, FIRST_HASH)
    for number, name in enumerate(names):
        encoded = encode_event(thing(number, name))
        tail, _ = log.add(connection, tail, at_s=number / 3, encoded=encoded, recent=Recent())
    return tail


@given(
    names=st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40), max_size=12
    )
)
@settings(max_examples=50, deadline=None)
def test_any_log_verifies_and_reads_back(names: list[str]) -> None:
    connection = new_database()
    tail = fill(connection, names)
    log = EventLog(secrets.token_bytes)
    assert log.verify(connection) == tail == log.tail(connection)
    assert [one.event for one in log.read(connection, after_seq=0, limit=99)] == [
        thing(number, name) for number, name in enumerate(names)
    ]
    assert [entry.seq for _, entry in log.replay(connection)] == list(range(1, len(names) + 1))


EVENT_EDITS = (
    "UPDATE events SET payload = CAST('0{}' AS BLOB) WHERE seq = ?",
    "UPDATE events SET payload = x'31' WHERE seq = ?",
    "UPDATE events SET at_s = at_s + 1 WHERE seq = ?",
    "UPDATE events SET hash = zeroblob(32) WHERE seq = ?",
    "UPDATE events SET seq = seq + 100 WHERE seq = ?",
    "DELETE FROM events WHERE seq = ?",
    "INSERT INTO bodies SELECT (? << 20) + 7, x'302222', zeroblob(16), NULL",
)
BODY_EDITS = (
    "UPDATE bodies SET content = CAST('0\"other\"' AS BLOB) WHERE body >> 20 = ?",
    "UPDATE bodies SET content = x'39' WHERE body >> 20 = ?",
    "UPDATE bodies SET nonce = zeroblob(16) WHERE body >> 20 = ?",
    "UPDATE bodies SET nonce = NULL WHERE body >> 20 = ?",
    "UPDATE bodies SET content = x'', seal = zeroblob(32) WHERE body >> 20 = ?",
    "UPDATE bodies SET content = x'' WHERE body >> 20 = ?",
    "UPDATE bodies SET body = body + 1 WHERE body >> 20 = ?",
    "DELETE FROM bodies WHERE body >> 20 = ?",
)


def allow_edits(connection: Connection) -> None:
    """As someone with a database browser could."""
    for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")


@given(
    num_events=st.integers(2, 8),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_any_edit_of_any_row_is_noticed(num_events: int, data: st.DataObject) -> None:
    connection = new_database()
    fill(connection, [f"name {number}" for number in range(num_events)])
    allow_edits(connection)
    edit = data.draw(st.sampled_from([*EVENT_EDITS, *BODY_EDITS]))
    with_body = st.sampled_from(range(2, num_events + 1, 2))
    seq = data.draw(with_body if edit in BODY_EDITS else st.integers(1, num_events - 1))
    connection.execute(edit, (seq,))
    with pytest.raises(CorruptData, match="log"):
        EventLog(secrets.token_bytes).verify(connection)


def test_a_row_that_was_edited_with_its_hash_breaks_the_next_one() -> None:
    connection = new_database()
    fill(connection, ["a", "b", "c"])
    allow_edits(connection)
    (at_s,) = connection.execute("SELECT at_s FROM events WHERE seq = 2").fetchone()
    (previous,) = connection.execute("SELECT hash FROM events WHERE seq = 1").fetchone()
    payload = encode_event(key(1, "forged")).payload
    forged = hash_row(previous, seq=2, at_s=at_s, payload=payload, seals=())
    connection.execute("UPDATE events SET payload = ?, hash = ? WHERE seq = 2", (pack(payload), forged))
    connection.execute("DELETE FROM bodies")
    with pytest.raises(CorruptData, match=r"Event 3 .* written after event 2"):
        EventLog(secrets.token_bytes).verify(connection)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET at_s = 0",
        "DELETE FROM events",
        "UPDATE bodies SET content = nonce",
        "UPDATE bodies SET content = ''",
        "UPDATE bodies SET seal = nonce",
        "DELETE FROM bodies",
    ],
)
def test_the_database_itself_refuses_to_edit_or_delete_events(
    store: Store, backend: Backend, statement: str
) -> None:
    store.append_sync(thing(0, "a"), thing(1, "b"))
    with pytest.raises(Exception, match="append-only"):
        backend.execute(statement)
    assert store.check().is_sound


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE events SET payload = hash WHERE seq = 2",
        "UPDATE events SET at_s = at_s + 1 WHERE seq = 3",
        "UPDATE events SET hash = payload WHERE seq = 4",
        "UPDATE events SET seq = seq + 100 WHERE seq = 3",
        "DELETE FROM events WHERE seq = 2",
        "UPDATE bodies SET content = nonce WHERE body >> 20 = 2",
        "UPDATE bodies SET nonce = content WHERE body >> 20 = 2",
        "UPDATE bodies SET content = '', seal = nonce WHERE body >> 20 = 2",
        "DELETE FROM bodies WHERE body >> 20 = 4",
    ],
)
def test_an_edit_behind_the_store_is_noticed_at_the_next_start(
    open_here: Opener, backend: Backend, edit: str
) -> None:
    store = open_here()
    for number in range(4):
        store.append_sync(thing(number, "laptop"))
    store.close()
    backend.unlock_log()
    backend.execute(edit)
    with pytest.raises(CorruptData, match="log"):
        open_here()


def test_an_end_that_was_cut_off_is_noticed_and_not_forgotten(open_here: Opener, backend: Backend) -> None:
    store = open_here()
    for number in range(4):
        store.append_sync(key(number))
    store.close()
    backend.unlock_log()
    backend.execute("DELETE FROM events WHERE seq > 2", "UPDATE schema_state SET projections = 'old'")
    (loss,) = open_here().losses.list()
    assert (loss.last_seq, loss.witnessed_seq, loss.num_events) == (2, 4, 2)


@pytest.mark.parametrize("forgets", ["payload", "seals"])
def test_planted_bug_a_chain_that_leaves_something_out_misses_an_edit(
    monkeypatch: pytest.MonkeyPatch, forgets: str
) -> None:
    real = hash_row
    monkeypatch.setattr(
        "homefire.store.log.hash_row",
        lambda previous, **parts: real(previous, **{**parts, forgets: b"" if forgets == "payload" else ()}),
    )
    connection = new_database()
    fill(connection, ["a", "b"])
    allow_edits(connection)
    if forgets == "payload":
        connection.execute("UPDATE events SET payload = CAST('0{}' AS BLOB) WHERE seq = 1")
    else:
        connection.execute("UPDATE bodies SET content = CAST('0\"other\"' AS BLOB)")
    EventLog(secrets.token_bytes).verify(connection)


def test_the_end_of_the_log_is_verified_at_open(open_here: Opener, backend: Backend) -> None:
    store = open_here()
    store.append_sync(turn("1"))
    store.close()
    backend.unlock_log()
    backend.execute("UPDATE bodies SET content = nonce")
    with pytest.raises(CorruptData, match="Event 1 of the log"):
        open_here()


@pytest.mark.parametrize("last", [1, 2, 3, 4, 100])
def test_only_the_last_rows_can_be_verified(last: int) -> None:
    connection = new_database()
    tail = fill(connection, ["a", "b", "c", "d"])
    assert EventLog(secrets.token_bytes).verify(connection, last=last) == tail
    allow_edits(connection)
    connection.execute("UPDATE bodies SET content = CAST('0\"x\"' AS BLOB) WHERE body >> 20 = 4")
    with pytest.raises(CorruptData):
        EventLog(secrets.token_bytes).verify(connection, last=last)


def test_an_event_of_a_newer_program_is_named(store: Store) -> None:
    with pytest.raises(CorruptData, match=r"Event 7 .*newer"):
        EventLog(secrets.token_bytes).decode(b'{"kind":"comet.seen"}', seq=7)


@pytest.mark.parametrize("breaking", ["\ud800", "a\udfff"])
def test_half_a_character_is_refused(breaking: str) -> None:
    with pytest.raises(InvalidRequest, match="surrogate"):
        encode_event(key(1, breaking))
    with pytest.raises(InvalidRequest, match="surrogate"):
        encode_event(corrected(1, breaking))


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
    base = {"seq": 1, "at_s": 1.5, "payload": b"b", "seals": (b"s",)}
    others = [
        {**base, "seq": 2},
        {**base, "at_s": 1.25},
        {**base, "payload": b"c"},
        {**base, "payload": b"bs", "seals": ()},
        {**base, "seals": (b"t",)},
    ]
    make: Callable[..., bytes] = hash_row
    assert len({make(FIRST_HASH, **one) for one in [base, *others]} | {make(b"x" * 32, **base)}) == 7


def test_the_same_text_twice_has_two_seals() -> None:
    """So a short text cannot be guessed from what is left of it."""
    connection = new_database()
    fill(connection, ["", "yes", "", "yes"])
    (one,), (other,) = connection.execute("SELECT nonce FROM bodies").fetchall()
    assert one != other
    assert len(one) == 16
