"""A home moves from SQLite to PostgreSQL and back, and nothing is different afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from homefire.config.schema import StoreSettings
from homefire.errors import Conflict, CorruptData, HomeInUse, NotFound, PromiseBroken
from homefire.home import Home
from homefire.store import copy as copy_module
from homefire.store.copy import copy_store
from homefire.store.database import Database, choose_database
from homefire.store.store import Store, open_store
from homefire.world import World
from tests.store.backends import PostgresBackend, SQLiteBackend
from tests.store.samples import alias, dataset, example, model, run, turn, whole_turn
from tests.support.postgresql import PostgresServer

SETTINGS = StoreSettings(reserve_bytes=0)


@pytest.fixture
def place(postgres: PostgresServer) -> Iterator[PostgresBackend]:
    backend = PostgresBackend(postgres)
    yield backend
    backend.remove()


def opened(home: Home, url: str | None) -> Store:
    return open_store(home, SETTINGS.model_copy(update={"url": url}), World())


def database(home: Home, url: str | None) -> Database:
    return choose_database(home, SETTINGS.model_copy(update={"url": url}))


@pytest.fixture
def filled(home: Home) -> Home:
    with opened(home, None) as store:
        store.append_sync(model(), alias("live", "ember"), *whole_turn("1"), example("a"))
        store.append_sync(dataset("1", "a"), run("1", "1"))
        for number in range(2, 40):
            store.append_sync(*whole_turn(str(number), session=f"s{number}"))
    return home


def seen(store: Store) -> Any:
    """What readers see of it."""
    return (
        store.events(limit=10_000),
        [store.messages.path(row.tip_message_id or "") for row in store.sessions.list("local")],
        store.turns.get("turn-7"),
        store.aliases.list(),
        store.runs.list(),
        store.sessions.list("local"),
    )


def test_a_home_moves_to_postgresql_and_back(filled: Home, place: PostgresBackend) -> None:
    with opened(filled, None) as store:
        before = seen(store)
    num_events = copy_store(filled, database(filled, None), database(filled, place.url), World())
    assert num_events == len(before[0])
    with opened(filled, place.url) as store:
        assert seen(store) == before
        assert store.check().is_sound
        store.append_sync(turn("new", session="new"))
        after = seen(store)
    filled.database.rename(filled.root / "before.db")
    copy_store(filled, database(filled, place.url), database(filled, None), World())
    with opened(filled, None) as store:
        assert seen(store) == after
        assert store.check().is_sound
        assert store.append_sync(turn("newer", session="new"))[0].seq == num_events + 2


def test_nothing_is_copied_over_what_is_there(filled: Home, place: PostgresBackend) -> None:
    with opened(Home(filled.root.with_name("other")), place.url) as store:
        store.append_sync(turn("1"))
    before = place.contents()
    with pytest.raises(Conflict, match="holds 1 events already"):
        copy_store(filled, database(filled, None), database(filled, place.url), World())
    with pytest.raises(Conflict, match="uses already"):
        copy_store(filled, database(filled, None), database(filled, None), World())
    assert place.contents() == before


def test_nothing_is_copied_while_a_server_uses_the_home(filled: Home, place: PostgresBackend) -> None:
    with opened(filled, None), pytest.raises(HomeInUse):
        copy_store(filled, database(filled, None), database(filled, place.url), World())


def test_there_must_be_something_to_copy(home: Home, place: PostgresBackend) -> None:
    with pytest.raises(NotFound, match="nothing to copy"):
        copy_store(home, database(home, None), database(home, place.url), World())


def test_a_damaged_log_is_not_copied(filled: Home, place: PostgresBackend) -> None:
    damaged = SQLiteBackend(filled.database)
    damaged.unlock_log()
    damaged.execute("UPDATE events SET at_s = at_s + 1 WHERE seq = 3")
    with pytest.raises(CorruptData, match="Event 3"):
        copy_store(filled, database(filled, None), database(filled, place.url), World())
    assert place.rows("SELECT * FROM events") == []


def test_planted_bug_a_copy_that_leaves_out_the_last_event_is_noticed(
    filled: Home, place: PostgresBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = database(filled, None)
    monkeypatch.setattr(source, "stream", lambda connection, query: connection.execute(query).fetchall()[:-1])
    with pytest.raises((PromiseBroken, CorruptData)):
        copy_store(filled, source, database(filled, place.url), World())
    assert copy_module.LOG_CONTENT, "there is a log to copy"
    assert place.rows("SELECT * FROM events") == [], "nothing of it was committed"
