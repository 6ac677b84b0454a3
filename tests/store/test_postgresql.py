"""What is about PostgreSQL alone: its lock, its settings, a connection that is lost, a server that is killed."""

from __future__ import annotations

import asyncio
import itertools
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homefire.config.schema import StoreSettings
from homefire.errors import (
    ConfigError,
    HomefireError,
    HomeInUse,
    StoreError,
    StoreFenced,
    StoreReadOnly,
    StoreUnreachable,
)
from homefire.home import Home
from homefire.store import projections
from homefire.store.database import choose_database
from homefire.store.driver import Connection
from homefire.store.events import Event
from homefire.store.postgresql import PostgreSQL, column_type
from homefire.store.postgresql_connection import PostgresConnection, translate
from homefire.store.store import Store, open_store
from homefire.store.writer import Writer
from homefire.world import World
from tests.store.backends import SQLITE_ONLY, PostgresBackend
from tests.store.samples import turn, whole_turn
from tests.store.test_projections import any_event
from tests.support.postgresql import PostgresServer

Open = Callable[..., Store]


@pytest.fixture
def place(postgres: PostgresServer) -> Iterator[PostgresBackend]:
    backend = PostgresBackend(postgres)
    yield backend
    backend.remove()


@pytest.fixture
def own_server(postgres: PostgresServer) -> Iterator[PostgresServer]:
    """A server that may be stopped and killed."""
    server = postgres.another()
    yield server
    server.remove()


@pytest.fixture
def open_at(tmp_path: Path) -> Iterator[Open]:
    """Opens stores on a URL, each in a home of its own name."""
    opened: list[Store] = []

    def open_it(url: str, *, name: str = "home", **values: Any) -> Store:
        chosen = StoreSettings.model_validate({"url": url, "reserve_bytes": 0, **values})
        store = open_store(Home(tmp_path / name), chosen, World())
        opened.append(store)
        return store

    yield open_it
    for store in opened:
        store.close()


def kill_backends(server: PostgresServer, purpose: str) -> None:
    """End the server's processes of these connections, as an administrator or a broken network does."""
    with server.connect() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name LIKE %s",
            [f"homefire {purpose}%"],
        )


# The list of what runs on SQLite only


def test_every_exception_of_the_contract_names_a_test_that_exists() -> None:
    folder = Path(__file__).parent
    for name in SQLITE_ONLY:
        module, _, function = name.partition("::")
        text = (folder / f"{module}.py").read_text()
        assert not function or f"def {function}(" in text, name


# Statements


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1", ("SELECT 1", ())),
        ("WHERE a = :a AND b = :b OR c = :a", ("WHERE a = $1 AND b = $2 OR c = $1", ("a", "b"))),
        ("SELECT ':a', 'it''s :b', :c::int", ("SELECT ':a', 'it''s :b', $1::int", ("c",))),
        ("a LIKE 'v%' AND b = :b", ("a LIKE 'v%' AND b = $1", ("b",))),
    ],
)
def test_named_parameters_become_numbers(sql: str, expected: tuple[str, tuple[str, ...]]) -> None:
    assert translate(sql) == expected


def test_types_are_those_of_the_server() -> None:
    assert column_type("INTEGER PRIMARY KEY") == "BIGINT PRIMARY KEY"
    assert column_type("TEXT NOT NULL UNIQUE") == 'TEXT COLLATE "C" NOT NULL UNIQUE'
    assert column_type("REAL") == "DOUBLE PRECISION"
    assert column_type("BLOB NOT NULL") == "BYTEA NOT NULL"


# Where it is, and its password


def test_a_password_in_the_url_is_refused_and_not_shown(home: Home) -> None:
    for url in (
        "postgresql://me:open-sesame@localhost/a",
        "postgresql://me@localhost/a?password=open-sesame",
    ):
        with pytest.raises(ConfigError, match="HOMEFIRE_DATABASE_PASSWORD") as caught:
            choose_database(home, StoreSettings(url=url))
        assert "sesame" not in str(caught.value)


def test_what_is_no_url_is_refused(home: Home) -> None:
    with pytest.raises(ConfigError, match="not the URL"):
        choose_database(home, StoreSettings(url="mysql://localhost/a"))


def test_the_password_comes_from_the_credentials_folder(
    own_server: PostgresServer, open_at: Open, tmp_path: Path
) -> None:
    with own_server.connect() as connection:
        connection.execute("ALTER ROLE homefire PASSWORD 'open sesame @:/'")
    own_server.require_password()
    with pytest.raises(StoreUnreachable, match="password"):
        open_at(own_server.url())
    credentials = Home(tmp_path / "home").credentials
    (credentials / "database_password").write_text("open sesame @:/\n")
    (credentials / "database_password").chmod(0o600)
    store = open_at(own_server.url())
    store.append_sync(turn("1"))
    assert "sesame" not in store.database.where


def test_a_server_that_is_not_there_is_named(open_at: Open) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with pytest.raises(StoreUnreachable, match=f"{port}"):
        open_at(f"postgresql://homefire@127.0.0.1:{port}/homefire")


# What durability rests on


@pytest.mark.parametrize(
    ("line", "error", "words"),
    [
        ("fsync = off", StoreError, "fsync = off"),
        ("default_transaction_read_only = on", StoreReadOnly, "takes no writes"),
    ],
)
def test_a_server_that_cannot_keep_the_promise_is_refused(
    own_server: PostgresServer, open_at: Open, line: str, error: type[StoreError], words: str
) -> None:
    own_server.stop()
    own_server.configure(line)
    own_server.start()
    with pytest.raises(error, match=words):
        open_at(own_server.url())


def test_commits_are_flushed_also_where_the_role_does_without(place: PostgresBackend, open_at: Open) -> None:
    with place.server.connect() as connection:
        connection.execute("ALTER ROLE homefire SET synchronous_commit = off")
    try:
        store = open_at(place.url)
        seen: list[str] = []
        store._writer.run_job(lambda it: seen.append(it.execute("SHOW synchronous_commit").fetchone()[0]))
        assert seen == ["on"]
    finally:
        with place.server.connect() as connection:
            connection.execute("ALTER ROLE homefire RESET synchronous_commit")


def test_a_database_in_another_encoding_is_refused(own_server: PostgresServer, open_at: Open) -> None:
    with own_server.connect() as connection:
        connection.execute("CREATE DATABASE old ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'")
    with pytest.raises(StoreError, match="LATIN1"):
        open_at(own_server.url("old"))


def test_a_commit_that_became_a_rollback_is_an_error(place: PostgresBackend, open_at: Open) -> None:
    """The server answers COMMIT of a failed transaction with ROLLBACK, and calls that a success."""
    store = open_at(place.url)
    connection = store.database.open_reader()
    connection.execute("BEGIN")
    with pytest.raises(psycopg.Error):
        connection.execute("SELECT 1/0")
    with pytest.raises(psycopg.Error, match="ROLLBACK"):
        store.database.commit(connection)
    connection.close()


# One writer


def test_a_second_home_on_the_same_database_is_told_who_holds_it(
    place: PostgresBackend, open_at: Open
) -> None:
    first = open_at(place.url)
    with pytest.raises(HomeInUse, match=f"homefire writer .* {socket.gethostname()[:20]}"):
        open_at(place.url, name="other", busy_timeout_ms=50)
    first.append_sync(turn("1"))
    first.close()
    assert open_at(place.url, name="other").turns.get("turn-1") is not None


def test_two_homes_in_two_schemas_of_one_database_do_not_meet(
    postgres: PostgresServer, open_at: Open
) -> None:
    one, other = PostgresBackend(postgres), PostgresBackend(postgres)
    first, second = open_at(one.url), open_at(other.url, name="other")
    first.append_sync(turn("1"))
    assert second.turns.get("turn-1") is None
    first.close()
    second.close()
    one.remove()
    other.remove()


def overtaken(place: PostgresBackend, open_at: Open) -> tuple[Store, Store]:
    """Two servers that both believe to own the database: the first lost its connection, the second came."""
    first = open_at(place.url, busy_timeout_ms=200)
    first.append_sync(turn("1"))
    kill_backends(place.server, "writer")
    second = open_at(place.url, name="other")
    second.append_sync(turn("2", session="s2"))
    return first, second


def test_the_overtaken_server_can_record_nothing_any_more(place: PostgresBackend, open_at: Open) -> None:
    first, second = overtaken(place, open_at)
    with pytest.raises(StoreFenced, match="took over"):
        first.append_sync(turn("3", session="s3"))
    with pytest.raises(StoreFenced):
        first.append_sync(turn("4", session="s4"))
    second.append_sync(turn("5", session="s5"))
    assert [event.event.turn_id for event in second.events()] == ["turn-1", "turn-2", "turn-5"]  # type: ignore[union-attr]
    assert second.check().is_sound


# A lost connection


def test_a_lost_connection_is_made_again_and_nothing_is_lost(
    place: PostgresBackend, open_at: Open, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_at(place.url)
    store.append_sync(turn("1"))
    kill_backends(place.server, "")
    with caplog.at_level(logging.WARNING):
        store.append_sync(turn("2", session="s2"))
    assert "is lost" in caplog.text
    assert "Connected again" in caplog.text
    assert store.failure is None
    assert store.turns.get("turn-2") is not None
    assert store.check().is_sound


def test_reads_go_on_after_their_connections_were_ended(place: PostgresBackend, open_at: Open) -> None:
    store = open_at(place.url)
    store.append_sync(turn("1"))
    assert store.turns.get("turn-1") is not None
    kill_backends(place.server, "reader")
    assert store.turns.get("turn-1") is not None


def test_while_the_server_is_away_it_is_said_and_nothing_waits(
    own_server: PostgresServer, open_at: Open
) -> None:
    store = open_at(own_server.url(), busy_timeout_ms=0)
    store.append_sync(turn("1"))
    own_server.stop()
    with pytest.raises(StoreUnreachable):
        store.append_sync(turn("2", session="s2"))
    assert isinstance(store.failure, StoreUnreachable)
    with pytest.raises(StoreUnreachable):
        store.append_sync(turn("3", session="s3"))
    with pytest.raises(StoreUnreachable):
        store.turns.get("turn-1")
    own_server.start()
    until(lambda: store.failure is None)
    store.append_sync(turn("4", session="s4"))
    assert [name for name in "1234" if store.turns.get(f"turn-{name}")] == ["1", "4"]
    assert store.check().is_sound


def test_a_read_that_finds_the_server_gone_wakes_the_supervision(
    own_server: PostgresServer, open_at: Open
) -> None:
    store = open_at(own_server.url(), busy_timeout_ms=0)
    store.append_sync(turn("1"))
    own_server.stop()
    with pytest.raises(StoreUnreachable):
        store.turns.get("turn-1")
    until(lambda: store.failure is not None)
    own_server.start()
    until(lambda: store.failure is None)
    assert store.turns.get("turn-1") is not None


def test_appends_wait_for_a_server_that_comes_back_soon(own_server: PostgresServer, open_at: Open) -> None:
    store = open_at(own_server.url(), busy_timeout_ms=60_000)
    store.append_sync(turn("1"))
    own_server.stop()
    waiting = threading.Thread(target=store.append_sync, args=(turn("2", session="s2"),))
    waiting.start()
    until(lambda: store.failure is not None)
    own_server.start()
    waiting.join(60)
    assert store.turns.get("turn-2") is not None
    assert store.last_seq == 2


def test_closing_while_the_server_is_away_ends(own_server: PostgresServer, open_at: Open) -> None:
    store = open_at(own_server.url(), busy_timeout_ms=0)
    own_server.stop()
    with pytest.raises(StoreUnreachable):
        store.append_sync(turn("1"))
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.append_sync(turn("1"))


def until(condition: Callable[[], bool]) -> None:
    """Wait for another thread; the test's time limit ends what never comes."""
    event = threading.Event()
    while not condition():
        event.wait(0.01)


# A connection lost in the middle of COMMIT: the outcome is read, not guessed


class LosesCommit:
    """Loses the connection when it is asked to commit: before the server has it, or after it was done."""

    def __init__(self, patch: pytest.MonkeyPatch, *, after: bool) -> None:
        self.num_left = 0
        commit = PostgreSQL.commit

        def lose(database: PostgreSQL, connection: Connection) -> None:
            if not self.num_left:
                commit(database, connection)
                return
            self.num_left -= 1
            if after:
                commit(database, connection)
            connection.close()
            raise psycopg.OperationalError("server closed the connection unexpectedly")

        patch.setattr(PostgreSQL, "commit", lose)


def recorded_after_lost_commits(store: Store, losses: LosesCommit) -> list[str]:
    """What is recorded when the commits of two of four appends are lost; each is appended once, acknowledged."""
    for number in range(4):
        losses.num_left = number % 2
        (recorded,) = store.append_sync(turn(str(number), session=f"s{number}"))
        assert recorded.seq == number + 1
    return [one.event.turn_id for one in store.events()]  # type: ignore[union-attr]


EACH_ONCE = ["turn-0", "turn-1", "turn-2", "turn-3"]


@pytest.mark.parametrize("after", [False, True])
def test_the_outcome_of_a_lost_commit_is_read_from_the_log(
    place: PostgresBackend, open_at: Open, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    losses = LosesCommit(monkeypatch, after=after)
    store = open_at(place.url)
    assert recorded_after_lost_commits(store, losses) == EACH_ONCE
    assert store.check().is_sound


@pytest.mark.parametrize(("after", "guess"), [(False, True), (True, False)])
def test_planted_bug_an_outcome_that_is_guessed_is_noticed(
    place: PostgresBackend, open_at: Open, monkeypatch: pytest.MonkeyPatch, after: bool, guess: bool
) -> None:
    losses = LosesCommit(monkeypatch, after=after)
    monkeypatch.setattr("homefire.store.reconnect._has", lambda connection, log, last: guess)
    store = open_at(place.url)
    with pytest.raises((AssertionError, HomefireError)):
        assert recorded_after_lost_commits(store, losses) == EACH_ONCE


def test_a_commit_lost_twice_is_refused_and_not_recorded(
    place: PostgresBackend, open_at: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = LosesCommit(monkeypatch, after=False)
    store = open_at(place.url)
    losses.num_left = 2
    with pytest.raises(StoreUnreachable):
        store.append_sync(turn("1"))
    store.append_sync(turn("2", session="s2"))
    assert store.last_seq == 1
    assert store.turns.get("turn-1") is None


def test_an_overtaken_server_still_learns_that_its_commit_was_recorded(
    place: PostgresBackend, open_at: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = LosesCommit(monkeypatch, after=True)
    first = open_at(place.url, busy_timeout_ms=200)
    reconnect = Writer._reconnect

    def overtaken_first(self: Writer, *arguments: Any, **named: Any) -> Any:
        self._connection.close()
        monkeypatch.setattr(Writer, "_reconnect", reconnect)
        open_at(place.url, name="other").append_sync(turn("2", session="s2"))
        return reconnect(self, *arguments, **named)

    monkeypatch.setattr(Writer, "_reconnect", overtaken_first)
    losses.num_left = 1
    (recorded,) = first.append_sync(turn("1"))
    assert recorded.seq == 1
    with pytest.raises(StoreFenced):
        first.append_sync(turn("3", session="s3"))


# A server that is killed in the middle of appends


def appended_across_kills(
    store: Store, server: PostgresServer, *, num_kills: int
) -> tuple[set[str], list[str]]:
    """`(acknowledged, recorded)` turns of three lanes that append while the server is killed and started."""
    acknowledged: set[str] = set()
    enough, progress = asyncio.Event(), asyncio.Condition()

    async def lane(number: int) -> None:
        for count in itertools.count():
            if enough.is_set():
                return
            name = f"{number}-{count}"
            try:
                await store.append(*whole_turn(name, session=f"s{number}"))
            except StoreUnreachable:
                await asyncio.sleep(0)
            else:
                acknowledged.add(f"turn-{name}")
                async with progress:
                    progress.notify_all()

    async def kill_and_start() -> None:
        for _ in range(num_kills):
            await more(20)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
        await more(5)
        enough.set()

    async def more(num_turns: int) -> None:
        goal = len(acknowledged) + num_turns
        async with progress:
            await progress.wait_for(lambda: len(acknowledged) >= goal)

    async def everything() -> None:
        await asyncio.gather(*(lane(number) for number in range(3)), kill_and_start())

    asyncio.run(everything())
    recorded, after_seq = [], 0
    while batch := store.events(after_seq=after_seq):
        recorded += [one.event.turn_id for one in batch if type(one.event).__name__ == "TurnAsked"]  # type: ignore[union-attr]
        after_seq = batch[-1].seq
    return acknowledged, recorded


def faults(acknowledged: set[str], recorded: list[str]) -> list[str]:
    lost = [f"{name} is lost" for name in sorted(acknowledged - set(recorded))]
    return lost + [f"{name} is there twice" for name in recorded if recorded.count(name) > 1]


def check_after_kills(store: Store, server: PostgresServer, *, num_kills: int) -> None:
    """What was acknowledged is there, nothing twice, and the store is whole."""
    acknowledged, recorded = appended_across_kills(store, server, num_kills=num_kills)
    assert len(acknowledged) >= 20 * num_kills + 5
    assert faults(acknowledged, recorded) == []
    assert store.check().is_sound


def test_no_acknowledged_event_is_lost_or_doubled_when_the_server_is_killed(
    own_server: PostgresServer, open_at: Open
) -> None:
    store = open_at(own_server.url(), busy_timeout_ms=30_000)
    check_after_kills(store, own_server, num_kills=2)
    tables = projections_of(store)
    store.rebuild()
    assert projections_of(store) == tables


def test_planted_bug_acknowledging_before_the_commit_is_noticed(
    own_server: PostgresServer, open_at: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, commit, num_commits = PostgreSQL.begin, PostgreSQL.commit, itertools.count(1)

    def begin_once(self: PostgreSQL, connection: Connection, *, is_new: bool = False) -> None:
        if not connection.in_transaction:
            begin(self, connection, is_new=is_new)

    def commit_seldom(self: PostgreSQL, connection: Connection) -> None:
        number = next(num_commits)
        if number <= 3 or number % 50 == 0:
            commit(self, connection)

    monkeypatch.setattr(PostgreSQL, "begin", begin_once)
    monkeypatch.setattr(PostgreSQL, "commit", commit_seldom)
    store = open_at(own_server.url(), busy_timeout_ms=30_000)
    with pytest.raises((AssertionError, HomefireError)):
        check_after_kills(store, own_server, num_kills=1)


def projections_of(store: Store) -> dict[str, list[Any]]:
    """All rows of all tables that are folded from the log."""
    with store._connections.use() as connection:
        return {
            table.name: connection.execute(
                f"SELECT * FROM {table.name} ORDER BY {', '.join(table.key)}"
            ).fetchall()
            for table in projections.TABLES
        }


# Both databases do the same


@given(calls=st.lists(st.lists(any_event, min_size=1, max_size=3), max_size=12))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_both_databases_say_and_hold_the_same_whatever_happens(
    postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory, calls: list[list[Event]]
) -> None:
    place = PostgresBackend(postgres)
    folder = tmp_path_factory.mktemp("homes")
    with (
        open_store(Home(folder / "one"), StoreSettings(reserve_bytes=0), SameWorld()) as one,
        open_store(Home(folder / "other"), StoreSettings(url=place.url), SameWorld()) as other,
    ):
        for events in calls:
            assert answer(one, events) == answer(other, events)
        assert one.events() == other.events()
        assert projections_of(one) == projections_of(other)
        assert one._writer._tail == other._writer._tail, "the chains agree to the last bit"
        other.rebuild()
        assert projections_of(one) == projections_of(other)
    place.remove()


class SameWorld(World):
    """The same time for both databases, and the same nonces."""

    def __init__(self) -> None:
        super().__init__(clock=StandingClock())

    def random_bytes(self, num_bytes: int) -> bytes:
        return bytes(range(num_bytes))


class StandingClock:
    def now_s(self) -> float:
        return 1795293160.25

    def monotonic_s(self) -> float:
        return 0.0


def answer(store: Store, events: list[Event]) -> object:
    try:
        return store.append_sync(*events)
    except HomefireError as error:
        return type(error)


def test_a_reader_gives_up_on_a_server_that_does_not_answer(place: PostgresBackend, open_at: Open) -> None:
    store = open_at(place.url, read_timeout_ms=50)
    with (
        pytest.raises(StoreUnreachable, match="read_timeout_ms"),
        store._connections.use() as it,
    ):
        it.execute("SELECT pg_sleep(30)")
    assert store.turns.get("turn-1") is None, "the next read is answered"


def test_a_connection_with_news_is_still_usable(place: PostgresBackend, open_at: Open) -> None:
    connection = open_at(place.url).database.open_reader()
    assert isinstance(connection, PostgresConnection)
    assert connection.is_usable()
    connection.close()
    assert not connection.is_usable()


def test_a_server_that_is_told_to_stop_quickly_recovers(own_server: PostgresServer, open_at: Open) -> None:
    store = open_at(own_server.url(), busy_timeout_ms=30_000)
    store.append_sync(turn("1"))
    own_server.stop(signal.SIGQUIT)
    own_server.start()
    store.append_sync(turn("2", session="s2"))
    assert store.last_seq == 2
