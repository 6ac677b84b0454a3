"""What is erased is in no file of the home any more, and everything else still verifies."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from homefire.errors import InvalidRequest
from homefire.home import Home
from homefire.store.digest import chain_all, root
from homefire.store.driver import driver
from homefire.store.log import seal_of
from homefire.store.nouns.erasures import BodiesErased
from homefire.store.packing import pack, unpack
from homefire.store.store import Store
from homefire.types import ERASED_TEXT, Erased, Message
from tests.store.backends import Backend
from tests.store.samples import ended, example, msg, turn, whole_turn

PLAIN = secrets.token_hex(40)
"""Random digits: what deflating makes of them is found in no other text."""


def traces(home: Home, text: str) -> list[str]:
    """Files of the home that hold the text, or most of what was stored of it."""
    stored = pack(f'"{text}"'.encode())
    needles = [text.encode(), *(stored[start : start + 16] for start in range(1, len(stored) - 16, 8))]
    return [
        str(path)
        for path in home.root.rglob("*")
        if path.is_file() and any(needle in path.read_bytes() for needle in needles)
    ]


def erased(*messages: str, **changes: object) -> BodiesErased:
    bodies = tuple(int(one.removeprefix("msg_"), 16) for one in messages)
    return BodiesErased(who="local", why="mine", subject="s1", erased=bodies, **changes)  # type: ignore[arg-type]


def said(name: str, text: str, **changes: object) -> object:
    return turn(name, messages=(Message("user", text),), **changes)


def talk(store: Store) -> None:
    """Two turns of a session, the first of which asks with `PLAIN`, among many others."""
    for number in range(60):
        store.append_sync(*whole_turn(f"before-{number}", session=f"b{number}"))
    store.append_sync(said("1", PLAIN), ended("1"))  # type: ignore[arg-type]
    store.append_sync(*whole_turn("2", parent_message_id=msg(122)))
    for number in range(60):
        store.append_sync(*whole_turn(f"after-{number}", session=f"a{number}"))


def test_what_is_erased_is_in_no_file_and_everything_still_verifies(home: Home, store: Store) -> None:
    talk(store)
    assert traces(home, PLAIN)
    store.append_sync(erased(msg(121)))
    assert traces(home, PLAIN) == []
    assert store.check(full=True).problems == ()
    store.rebuild()
    assert store.check(full=True).problems == ()
    store.close()
    assert traces(home, PLAIN) == []


def test_readers_show_that_something_was_erased(store: Store) -> None:
    talk(store)
    store.append_sync(erased(msg(121)))
    path = store.messages.path(msg(124))
    assert [row.message.text for row in path] == [ERASED_TEXT, "answer 1", "question 2", "answer 2"]
    assert path[0].content == (Erased(),)
    session = store.sessions.get("s1")
    assert session is not None
    assert session.title == ""
    (event,) = store.events(after_seq=120, limit=1)
    assert event.event.messages == (Message("user", (Erased(),)),)  # type: ignore[union-attr]
    (row,) = store.erasures.list()
    assert (row.who, row.why, row.subject, row.num_bodies) == ("local", "mine", "s1", 1)


def test_what_is_erased_is_in_no_table_and_everything_still_verifies(backend: Backend, store: Store) -> None:
    talk(store)
    stored = repr(pack(f'"{PLAIN}"'.encode()))[2:-1]
    assert stored in repr(backend.contents())
    store.append_sync(erased(msg(121)))
    left = repr(backend.contents())
    assert stored not in left
    assert PLAIN not in left
    assert store.check(full=True).problems == ()
    store.rebuild()
    assert store.check(full=True).problems == ()


def test_no_digest_gives_away_what_was_erased(home: Home, store: Store) -> None:
    """With the digests around it a short text could be guessed: also those of what follows go."""
    talk(store)
    conversation = [row.message for row in store.messages.path(msg(124))]
    digests = chain_all(root("local"), conversation)
    assert store.messages.by_digest("local", digests[3]) is not None
    store.append_sync(erased(msg(121)))
    assert store.messages.by_digest("local", digests[3]) is None
    with store._connections.use() as connection:
        left = {row[0] for row in connection.execute("SELECT digest FROM messages WHERE digest IS NOT NULL")}
    assert left.isdisjoint(digests)
    assert [digest for digest in digests if any(digest in path.read_bytes() for path in files_of(home))] == []
    store.append_sync(*whole_turn("3", parent_message_id=msg(124)))
    assert store.check().is_sound


def files_of(home: Home) -> list[Path]:
    return [path for path in home.root.rglob("homefire.db*") if path.is_file()]


def test_an_erased_example_keeps_its_place_among_others(store: Store) -> None:
    store.append_sync(example("a", prompt="x", answer="1"), example("b", prompt="x", answer="2"))
    store.append_sync(example("c", prompt="x", answer="3"))
    before = [(row.example_id, row.superseded_by) for row in store.examples.list()]
    store.append_sync(
        BodiesErased(
            who="local",
            why="",
            subject="ex-b",
            erased=(2 << 20,),
            superseded={"ex-a": "ex-b", "ex-b": "ex-c"},
        )
    )
    assert [(row.example_id, row.superseded_by) for row in store.examples.list()] == before
    row = store.examples.get("ex-b")
    assert row is not None
    assert row.is_erased
    assert (row.question, row.answer) == (ERASED_TEXT, ERASED_TEXT)
    assert store.check().is_sound
    store.rebuild()
    assert [(row.example_id, row.superseded_by) for row in store.examples.list()] == before


def test_a_content_that_goes_without_an_event_is_noticed(home: Home, store: Store) -> None:
    """Someone with a database browser empties a body and keeps its seal: the chain holds, the check does not."""
    talk(store)
    store.append_sync(erased(msg(121)))
    with driver.connect(home.database) as connection:
        (content, nonce) = connection.execute(
            "SELECT content, nonce FROM bodies WHERE body >> 20 = 123"
        ).fetchone()
        connection.execute(
            "UPDATE bodies SET content = x'', nonce = NULL, seal = ? WHERE body >> 20 = 123",
            (seal_of(nonce, unpack(content)),),
        )
    connection.close()
    assert any("no event says that it was erased" in problem for problem in store.check().problems)


def test_planted_bug_erasing_only_what_is_shown_is_noticed(
    home: Home, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write-ahead log keeps what was there before."""
    talk(store)
    monkeypatch.setattr("homefire.store.writer.BodiesErased", type("Nothing", (), {}))
    store.append_sync(erased(msg(121)))
    assert traces(home, PLAIN)


def test_planted_bug_a_log_that_does_not_empty_the_body_is_noticed(
    home: Home, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("homefire.store.log.EventLog._erase", lambda self, connection, bodies: None)
    talk(store)
    store.append_sync(erased(msg(121)))
    assert traces(home, PLAIN)
    assert any("was erased, and is there" in problem for problem in store.check().problems)


def test_nothing_that_does_not_exist_is_erased(store: Store) -> None:
    talk(store)
    with pytest.raises(InvalidRequest, match="no body"):
        store.append_sync(erased(msg(999)))
    assert store.check().is_sound
