"""The check of the store: its tables, manifests and blobs are compared with the log and with their hashes.

Checked: the database's own integrity; the whole hash chain; every projection, by folding the log
into fresh tables and comparing row by row; that every version's manifest is there; with `full`, every byte
of every blob. Reads only. Costs a few
seconds for a hundred thousand events: run it in a thread.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator

import msgspec

from homefire.errors import CorruptData, HomefireError
from homefire.home import Home
from homefire.store import projections
from homefire.store.blobs import BlobStore
from homefire.store.connections import ReadConnections
from homefire.store.database import Database
from homefire.store.driver import Connection
from homefire.store.log import EventLog
from homefire.store.noun import seq_of
from homefire.store.nouns import versions
from homefire.store.sql import Row, Statement, Table

MAX_PROBLEMS = 50
_losses = Statement("SELECT at_s, last_seq, witnessed_seq FROM losses ORDER BY seq")
_emptied = Statement(
    "SELECT body FROM bodies WHERE length(content) = 0 "
    f"AND body NOT IN (SELECT body FROM erased_bodies) LIMIT {MAX_PROBLEMS}"
)
_whole = Statement(
    "SELECT erased_bodies.body FROM erased_bodies JOIN bodies ON bodies.body = erased_bodies.body "
    f"WHERE length(content) > 0 LIMIT {MAX_PROBLEMS}"
)


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was checked and what was found; `problems` are sentences for a person, empty when all is well."""

    num_events: int
    num_rows: int
    num_blobs: int
    blob_bytes: int
    problems: tuple[str, ...]
    losses: tuple[str, ...] = ()
    """Acknowledged events that earlier starts found gone: what is left is sound, and they do not come back."""

    @property
    def is_sound(self) -> bool:
        return not self.problems


def check_store(
    home: Home,
    connections: ReadConnections,
    *,
    log: EventLog,
    blobs: BlobStore,
    full: bool,
) -> CheckReport:
    """Check everything on one snapshot of the database; blobs only with `full`."""
    problems: list[str] = []
    losses: list[str] = []
    num_rows = num_blobs = blob_bytes = num_events = 0
    with connections.use() as connection:
        connections.database.begin_snapshot(connection)
        try:
            problems += connections.database.integrity_problems(connection, limit=MAX_PROBLEMS)
            num_events = log.tail(connection).seq
            try:
                num_rows, differences = _compare_projections(
                    home, connection, log, database=connections.database
                )
                problems += differences
                problems += _missing_manifests(connection, blobs)
                problems += _unexplained_erasures(connection)
                losses += [_loss(*row) for row in _losses.all(connection)]
            except HomefireError as error:
                problems.append(error.message)
            except connections.database.Error as error:
                problems.append(f"The database cannot be read: {error}.")
        finally:
            connection.execute("COMMIT")
    if full:
        for digest in blobs.all():
            num_blobs += 1
            try:
                blob_bytes += blobs.verify(digest)
            except CorruptData as error:
                problems.append(error.message)
    return CheckReport(
        num_events=num_events,
        num_rows=num_rows,
        num_blobs=num_blobs,
        blob_bytes=blob_bytes,
        problems=tuple(problems[:MAX_PROBLEMS]),
        losses=tuple(losses),
    )


def _missing_manifests(connection: Connection, blobs: BlobStore) -> list[str]:
    return [
        f"The manifest of version {version} (blob {digest}) is not there."
        for version, digest in versions.manifests.all(connection)
        if not blobs.exists(digest)
    ]


def _loss(at_s: float, last_seq: int, witnessed_seq: int) -> str:
    when = datetime.datetime.fromtimestamp(at_s).astimezone().isoformat(sep=" ", timespec="seconds")
    if witnessed_seq > last_seq:
        count = witnessed_seq - last_seq
        return (
            f"{count} acknowledged events ({last_seq + 1} to {witnessed_seq}) were gone at the start of {when}: "
            "the write-ahead log was damaged, or the database replaced by an older one."
        )
    return f"At the start of {when} the database held another log than the one that was written to last."


def _unexplained_erasures(connection: Connection) -> list[str]:
    """What is empty and no event erased, and what an event erased and is not empty."""
    return [
        f"A content of event {seq_of(body)} of the log is gone, and no event says that it was erased."
        for (body,) in _emptied.all(connection)
    ] + [
        f"A content of event {seq_of(body)} of the log was erased, and is there."
        for (body,) in _whole.all(connection)
    ]


def _compare_projections(
    home: Home, connection: Connection, log: EventLog, *, database: Database
) -> tuple[int, list[str]]:
    """`(rows compared, differences)` between the live tables and the log folded again."""
    with projections.folded_aside(home, log, source=connection) as fresh:
        num_rows, differences = 0, []
        for table in projections.TABLES:
            (count,) = fresh.execute(f"SELECT count(*) FROM {table.name}").fetchone()
            num_rows += int(count)
            differences += list(_differences(table, live=connection, fresh=fresh, database=database))
        return num_rows, differences


def _differences(table: Table, *, live: Connection, fresh: Connection, database: Database) -> Iterator[str]:
    """A sentence for each row that is missing, too many or different; both sides come sorted by key."""
    key_names = list(table.key)
    names = key_names + [name for name in table.columns if name not in key_names]
    query = f"SELECT {', '.join(names)} FROM {table.name} ORDER BY {', '.join(key_names)}"
    live_rows, fresh_rows = iter(database.stream(live, query)), iter(fresh.execute(query))
    num_keys = len(key_names)
    is_row: Row | None = next(live_rows, None)
    should: Row | None = next(fresh_rows, None)
    while is_row is not None or should is not None:
        if should is None or (is_row is not None and is_row[:num_keys] < should[:num_keys]):
            assert is_row is not None
            yield f"Table {table.name} has a row {_name(is_row[:num_keys])} that no event made."
            is_row = next(live_rows, None)
        elif is_row is None or should[:num_keys] < is_row[:num_keys]:
            yield f"Table {table.name} lacks the row {_name(should[:num_keys])} that the log has."
            should = next(fresh_rows, None)
        else:
            wrong = [
                name for name, is_value, value in zip(names, is_row, should, strict=True) if is_value != value
            ]
            if wrong:
                yield (
                    f"Table {table.name}, row {_name(is_row[:num_keys])} differs from the log "
                    f"in {', '.join(wrong)}."
                )
            is_row, should = next(live_rows, None), next(fresh_rows, None)


def _name(key: Row) -> str:
    return "/".join(str(part) for part in key)
