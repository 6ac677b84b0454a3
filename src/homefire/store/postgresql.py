"""PostgreSQL as the database of a home: the log and the tables on a server, files and blobs in the home as before.

One writer: a session-level advisory lock on the server keeps a second Homefire out, and every transaction of the
writer locks the table `fence` and compares the epoch in it. The lock is also what makes a lost connection safe: a new
connection gets it only when the old one's transaction has ended, so that the log then says how.

Promise: a commit that returned is flushed on the server (`synchronous_commit`, and a server with `fsync = off` is
refused). Costs a round trip a statement; a read stops the event loop for one, at most `store.read_timeout_ms`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import socket
import statistics
import time
from collections.abc import Iterable, Sequence

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from homefire.config.secrets import Secret
from homefire.errors import ConfigError, HomeInUse, StoreError, StoreReadOnly
from homefire.home import Home
from homefire.store.database import Database
from homefire.store.driver import Connection
from homefire.store.failures import Failure, unreachable
from homefire.store.postgresql_connection import PostgresConnection
from homefire.store.sql import Row, Statement, Table
from homefire.world import World

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5
FAR_MS = 2.0
"""A round trip above this is said aloud: every read stops the event loop for as long."""
OLDEST_VERSION = 130000
"""13.0, as libpq writes it."""
_TYPES = {"INTEGER": "BIGINT", "REAL": "DOUBLE PRECISION", "BLOB": "BYTEA", "TEXT": 'TEXT COLLATE "C"'}
_CLASSES: dict[str, Failure] = {
    "08": "lost",  # connection exception
    "22": "refused",  # data exception
    "23": "conflict",  # integrity constraint violation
    "42": "refused",  # syntax error or access rule violation
    "54": "too_big",  # program limit exceeded
    "40": "busy",  # serialization failure, deadlock
}
_STATES: dict[str, Failure] = {
    "25006": "read_only",
    "42501": "read_only",  # insufficient privilege
    "53100": "full",
    "53200": "no_memory",
    "53300": "busy",  # too many connections
    "55P03": "busy",  # lock timeout
    "57014": "slow",  # statement timeout, cancelled
    "57P01": "lost",  # the server or this session is shut down
    "57P02": "lost",
    "57P03": "lost",  # the server starts or stops
    "57P05": "lost",  # idle session timeout
    "P0001": "conflict",  # raised by a trigger
    "XX001": "corrupt",
    "XX002": "corrupt",
}
"""SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html"""
_tables = Statement(
    "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() "
    "AND tablename NOT LIKE '%before_revision_%'"
)
_holder = Statement(
    "SELECT activity.pid, coalesce(activity.client_addr::text, 'this machine'), activity.application_name "
    "FROM pg_locks JOIN pg_stat_activity AS activity ON activity.pid = pg_locks.pid "
    "WHERE locktype = 'advisory' AND granted AND (classid::bigint << 32) + objid::bigint = :key "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


class PostgreSQL(Database):
    """The server, database and schema that `url` names (the first schema of the search path)."""

    name = "PostgreSQL"
    Error = psycopg.Error
    folds_in_place = False
    is_remote = True

    def __init__(
        self, url: str, *, password: Secret | None, busy_timeout_ms: int, read_timeout_ms: int
    ) -> None:
        """Raises ConfigError for a URL that is none, or that holds the password."""
        try:
            parts = conninfo_to_dict(url)
        except psycopg.Error as error:
            raise ConfigError(
                "store.url is not the URL of a PostgreSQL database.",
                hint="For example postgresql://homefire@127.0.0.1/homefire.",
                key="store.url",
            ) from error
        if parts.get("password"):
            raise ConfigError(
                "store.url holds the password. It is not shown here, and does not belong there.",
                hint="Take it out of the URL; set HOMEFIRE_DATABASE_PASSWORD, or put it into "
                "credentials/database_password.",
                key="store.url",
            )
        host = parts.get("host") or os.environ.get("PGHOST") or "the local socket"
        port = f":{parts['port']}" if parts.get("port") else ""
        self.where = f"the database {parts.get('dbname') or parts.get('user') or ''} at {host}{port}"
        self._conninfo = make_conninfo(url, **({} if password is None else {"password": password.reveal()}))
        self._busy_timeout_ms = busy_timeout_ms
        self._read_timeout_ms = read_timeout_ms
        self._last_writer_pid: int | None = None

    def exists(self) -> bool:
        try:
            connection = self._connect("doctor")
        except psycopg.Error as error:
            raise unreachable(error) from error
        try:
            return "events" in self.table_names(connection)
        finally:
            connection.close()

    def open_writer(self) -> PostgresConnection:
        """Connect, see that commits are durable, and take the lock.

        Raises StoreUnreachable, StoreError, StoreReadOnly, or HomeInUse when another Homefire holds the lock.
        """
        try:
            connection = self._connect("writer")
        except psycopg.Error as error:
            raise unreachable(error) from error
        try:
            connection.execute(f"SET lock_timeout = {self._busy_timeout_ms}")
            connection.execute("SET statement_timeout = 0")
            connection.execute("SET idle_in_transaction_session_timeout = 0")
            if connection.server_version >= 140000:
                connection.execute("SET idle_session_timeout = 0")
            check_durability(connection, self.where)
            self._lock(connection)
        except psycopg.Error as error:
            connection.close()
            raise (
                unreachable(error)
                if self.failure_of(error) == "lost"
                else StoreError(
                    f"{self.name} at {self.where} does not let Homefire write: {error}.",
                    hint="The role needs the right to connect, and to create tables in its schema.",
                )
            ) from error
        except BaseException:
            connection.close()
            raise
        self._last_writer_pid = connection.backend_pid
        return connection

    def open_reader(self) -> PostgresConnection:
        connection = self._connect("reader", timeout_ms=self._read_timeout_ms)
        connection.execute("SET default_transaction_read_only = on")
        connection.execute(f"SET statement_timeout = {self._read_timeout_ms}")
        return connection

    def is_usable(self, connection: Connection) -> bool:
        assert isinstance(connection, PostgresConnection)
        return connection.is_usable()

    def failure_of(self, error: Exception) -> Failure:
        state: str | None = getattr(error, "sqlstate", None)
        if state is not None:
            return _STATES.get(state) or _CLASSES.get(state[:2], "fatal")
        # Without a code it does not come from the server: what is operational is the connection.
        return "lost" if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) else "refused"

    def begin(self, connection: Connection, *, is_new: bool = False) -> None:
        """The lock on `fence` is what BEGIN IMMEDIATE is on SQLite: no other writer until the end."""
        assert isinstance(connection, PostgresConnection)
        connection.execute("BEGIN" if is_new else "BEGIN; LOCK TABLE fence IN EXCLUSIVE MODE")
        connection.defer()

    def settle(self, connection: Connection) -> None:
        assert isinstance(connection, PostgresConnection)
        connection.send_deferred()

    def commit(self, connection: Connection) -> None:
        """A commit that became a rollback (the server answers so, without an error) is an error."""
        assert isinstance(connection, PostgresConnection)
        said = connection.end("COMMIT")
        if said != "COMMIT":
            raise psycopg.errors.InFailedSqlTransaction(f"the server answered {said} to COMMIT")

    def begin_snapshot(self, connection: Connection) -> None:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = 0")

    def stream(self, connection: Connection, query: str) -> Iterable[Row]:
        assert isinstance(connection, PostgresConnection)
        return connection.stream(query)

    def load(self, connection: Connection, table: Table, rows: Iterable[Row]) -> None:
        assert isinstance(connection, PostgresConnection)
        connection.copy_in(table.name, tuple(table.columns), rows)

    def definitions(self, table: Table) -> Sequence[str]:
        return _as_here(table).definitions()

    def fold_definitions(self, table: Table) -> Sequence[str]:
        return _as_here(table).fold_definitions()

    def log_definitions(self) -> Sequence[str]:
        return (
            "CREATE OR REPLACE FUNCTION log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'the event log is append-only'; END $$",
            "CREATE TRIGGER events_are_never_edited BEFORE UPDATE OR DELETE ON events "
            "FOR EACH ROW EXECUTE FUNCTION log_is_append_only()",
            "CREATE TRIGGER events_are_never_deleted BEFORE TRUNCATE ON events "
            "FOR EACH STATEMENT EXECUTE FUNCTION log_is_append_only()",
            "CREATE TRIGGER bodies_are_only_erased BEFORE UPDATE ON bodies FOR EACH ROW "
            "WHEN (length(NEW.content) > 0 OR NEW.seal IS NULL OR NEW.body <> OLD.body) "
            "EXECUTE FUNCTION log_is_append_only()",
            "CREATE TRIGGER bodies_are_never_deleted BEFORE DELETE ON bodies "
            "FOR EACH ROW EXECUTE FUNCTION log_is_append_only()",
            "CREATE TRIGGER bodies_are_never_emptied BEFORE TRUNCATE ON bodies "
            "FOR EACH STATEMENT EXECUTE FUNCTION log_is_append_only()",
        )

    def table_names(self, connection: Connection) -> set[str]:
        return {name for (name,) in _tables.all(connection)}

    def keep_copy(
        self, connection: Connection, home: Home, world: World, *, revision: int, is_log_changed: bool
    ) -> None:
        """The log as a table beside it, where the log is to change: the other tables are made again from it."""
        if is_log_changed:
            for name in ("events", "bodies"):
                copy = f"{name}_before_revision_{revision + 1}"
                connection.execute(f"DROP TABLE IF EXISTS {copy}; CREATE TABLE {copy} AS TABLE {name}")

    def check_quickly(self, connection: Connection) -> None:
        """Nothing of the server's files can be seen from here; measures how far away it is instead."""
        times_s = []
        for _ in range(5):
            began_s = time.perf_counter()
            connection.execute("SELECT 1").fetchone()
            times_s.append(time.perf_counter() - began_s)
        round_trip_ms = statistics.median(times_s) * 1000
        if round_trip_ms > FAR_MS:
            logger.warning(
                "a round trip to %s takes %.1f ms: every answer waits for several, and all requests wait meanwhile. "
                "Run PostgreSQL on this machine or on its local network.",
                self.where,
                round_trip_ms,
            )

    def integrity_problems(self, connection: Connection, *, limit: int) -> list[str]:
        """The server verifies a page's checksum when it reads it, where it was set up with checksums."""
        (checksums,) = connection.execute("SHOW data_checksums").fetchone()
        if checksums == "on":
            return []
        logger.warning(
            "%s has no data checksums: a flipped bit in a table is found by this check, one in an index may not be "
            "(pg_checksums --enable)",
            self.where,
        )
        return []

    def _connect(self, purpose: str, *, timeout_ms: int | None = None) -> PostgresConnection:
        """A connection that notices a dead network within about `timeout_ms` (None: half a minute)."""
        conninfo = make_conninfo(
            self._conninfo,
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name=_application(purpose),
            client_encoding="utf8",
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=30_000 if timeout_ms is None else max(timeout_ms, 1),
        )
        return PostgresConnection(psycopg.connect(conninfo, autocommit=True))

    def _lock(self, connection: PostgresConnection) -> None:
        """Take the lock of this database and schema, for as long as the connection lasts.

        A former connection of this process that the server has not given up yet is ended by it.
        """
        (schema,) = connection.execute("SELECT current_schema()").fetchone()
        if schema is None:
            raise StoreError(
                f"{self.where} has no schema that this role can use.",
                hint="Create it, or grant the role the right to it.",
            )
        key = int.from_bytes(hashlib.sha256(f"homefire {schema}".encode()).digest()[:8], "big") >> 1
        held = _holder.one(connection, {"key": key})
        if held is not None and (held[0], held[2]) == (self._last_writer_pid, _application("writer")):
            connection.execute("SELECT pg_terminate_backend(:pid::int)", {"pid": held[0]})
        try:
            connection.execute("SELECT pg_advisory_lock(:key)", {"key": key})
        except psycopg.errors.LockNotAvailable as error:
            held = _holder.one(connection, {"key": key})
            by = f" ({held[2]}, from {held[1]})" if held else ""
            raise HomeInUse(
                f"{self.where} is in use by another Homefire{by}.",
                hint="Stop that one, or give this home a database or a schema of its own.",
                database=self.where,
            ) from error


def _application(purpose: str) -> str:
    """What the server shows of this connection; it keeps 63 bytes."""
    return f"homefire {purpose} {os.getpid()} {socket.gethostname()}"[:63]


def _as_here(table: Table) -> Table:
    """64-bit numbers, and texts that are ordered by their bytes, as on SQLite."""
    columns = {name: column_type(definition) for name, definition in table.columns.items()}
    return dataclasses.replace(table, columns=columns)


def column_type(definition: str) -> str:
    """A column's type and constraints as PostgreSQL writes them."""
    first, _, rest = definition.partition(" ")
    return f"{_TYPES.get(first, first)} {rest}".strip()


def check_durability(connection: PostgresConnection, where: str) -> None:
    """Raise StoreError unless a commit on this connection is flushed before it returns."""

    if connection.server_version < OLDEST_VERSION:
        raise StoreError(
            f"The server of {where} is older than PostgreSQL {OLDEST_VERSION // 10000}.",
            hint="Upgrade it; what this one cannot do was never tried.",
        )

    def show(name: str) -> str:
        (value,) = connection.execute(f"SHOW {name}").fetchone()
        return str(value)

    if show("transaction_read_only") == "on":
        raise StoreReadOnly(f"{where} takes no writes: it is a standby, or the role may only read.")
    if show("fsync") == "off":
        raise StoreError(
            f"The server of {where} runs with fsync = off: a power cut may lose everything.",
            hint="Set fsync = on in postgresql.conf and restart the server.",
        )
    if show("server_encoding") != "UTF8":
        raise StoreError(
            f"{where} is encoded as {show('server_encoding')}, which cannot hold every text.",
            hint="createdb --encoding=UTF8 --template=template0",
        )
    if show("synchronous_commit") == "off":
        connection.execute("SET synchronous_commit = on")
        if show("synchronous_commit") == "off":
            raise StoreError(f"The server of {where} does not flush commits (synchronous_commit = off).")
    if show("full_page_writes") == "off":
        logger.warning("%s runs with full_page_writes = off: a power cut may tear a page", where)
