"""The append-only event log: how an event becomes a row, and the hash chain that shows if one was changed.

`hash = SHA-256(prev_hash ‖ seq ‖ at_s ‖ kind ‖ payload)`, the first `prev_hash` being 32 zero bytes.
Changing, removing or reordering any row breaks the chain from there on. Cost: one hash of the payload an
event.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import msgspec

from homefire.errors import CorruptData, InvalidRequest
from homefire.store.driver import Connection
from homefire.store.events import Event
from homefire.store.sql import Row, Statement, Table

FIRST_PREV_HASH = bytes(32)
_BATCH_ROWS = 500
_NUL_IN_JSON = "\\u0000"

EVENTS = Table(
    "events",
    {
        "seq": "INTEGER PRIMARY KEY AUTOINCREMENT",
        "at_s": "REAL NOT NULL",
        "kind": "TEXT NOT NULL",
        "payload": "TEXT NOT NULL",
        "prev_hash": "BLOB NOT NULL",
        "hash": "BLOB NOT NULL",
    },
    key=("seq",),
)
_insert = EVENTS.insert()
_tail = Statement("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1")
_hash_at = Statement("SELECT hash FROM events WHERE seq = :seq")
_after = Statement(
    "SELECT seq, at_s, kind, payload FROM events WHERE seq > :after_seq ORDER BY seq LIMIT :limit"
)
_chain = Statement(
    "SELECT seq, at_s, kind, payload, prev_hash, hash FROM events WHERE seq > :after_seq ORDER BY seq "
    f"LIMIT {_BATCH_ROWS}"
)


class Recorded(msgspec.Struct, frozen=True):
    """An event with its place in the log (`seq`, growing by one) and its time (seconds, Unix epoch)."""

    seq: int
    at_s: float
    event: Event


class LogTail(msgspec.Struct, frozen=True):
    """The last row's place and hash: what the next one continues."""

    seq: int
    hash: bytes


def encode_event(event: Event) -> tuple[str, str]:
    """`(kind, payload)`.

    Raises InvalidRequest for text that is not text (half a surrogate pair), and for a name or another text of its own
    that holds the character NUL: PostgreSQL has none in texts. In messages, which are JSON, it is kept as it is.
    """
    try:
        payload = msgspec.json.encode(event).decode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(
            "The text holds half of a surrogate pair, which is not a character and cannot be stored."
        ) from error
    except (TypeError, OverflowError, RecursionError) as error:
        raise InvalidRequest(f"This event cannot be written as JSON: {error}") from error
    if _NUL_IN_JSON in payload:
        _check_names(event)
    return event.__struct_config__.tag, payload  # type: ignore[return-value]


def _check_names(event: Event) -> None:
    for name in event.__struct_fields__:
        value = getattr(event, name)
        if isinstance(value, str) and "\0" in value:
            raise InvalidRequest(f"{name} holds the character NUL, which cannot be stored.", param=name)


def hash_row(prev_hash: bytes, *, seq: int, at_s: float, kind: str, payload: str) -> bytes:
    """The row's link of the chain."""
    return hashlib.sha256(prev_hash + f"{seq}\n{at_s!r}\n{kind}\n{payload}".encode()).digest()


class EventLog:
    """Statements on the log; connections are passed in. One instance serves all threads."""

    def __init__(self, *, counter: str) -> None:
        """`counter`: the database's query for the number of events ever made."""
        self._counter = counter
        self._decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)

    def add(self, connection: Connection, tail: LogTail, *, at_s: float, kind: str, payload: str) -> LogTail:
        """Write the row after `tail`; returns the new tail."""
        seq = tail.seq + 1
        row_hash = hash_row(tail.hash, seq=seq, at_s=at_s, kind=kind, payload=payload)
        _insert.run(
            connection,
            {
                "seq": seq,
                "at_s": at_s,
                "kind": kind,
                "payload": payload,
                "prev_hash": tail.hash,
                "hash": row_hash,
            },
        )
        return LogTail(seq, row_hash)

    def tail(self, connection: Connection) -> LogTail:
        """The last row as the table has it."""
        row = _tail.one(connection)
        return LogTail(0, FIRST_PREV_HASH) if row is None else LogTail(row[0], row[1])

    def holds(self, connection: Connection, tail: LogTail) -> bool:
        """Whether the row at this place is there with this hash."""
        row = _hash_at.one(connection, {"seq": tail.seq})
        return tail.seq == 0 if row is None else bool(row[0] == tail.hash)

    def read(self, connection: Connection, *, after_seq: int, limit: int) -> list[Recorded]:
        """Up to `limit` events after `after_seq`, oldest first."""
        rows = _after.all(connection, {"after_seq": after_seq, "limit": limit})
        return [
            Recorded(seq, at_s, self.decode(payload, seq=seq, kind=kind)) for seq, at_s, kind, payload in rows
        ]

    def replay(self, connection: Connection) -> Iterator[Recorded]:
        """All events, oldest first, a few hundred in memory at a time."""
        after_seq = 0
        while batch := self.read(connection, after_seq=after_seq, limit=_BATCH_ROWS):
            yield from batch
            after_seq = batch[-1].seq

    def decode(self, payload: str, *, seq: int, kind: str) -> Event:
        """The event of a row. Raises CorruptData when the row does not hold one this program knows."""
        try:
            return self._decoder.decode(payload)
        except msgspec.DecodeError as error:
            raise CorruptData(
                f"Event {seq} of the log ({kind}) cannot be read: {error}.",
                hint="It was damaged, or written by a newer Homefire.",
                seq=seq,
                kind=kind,
            ) from error

    def verify(self, connection: Connection, *, last: int | None = None) -> LogTail:
        """Check the chain over the `last` rows (None: over all); returns the tail.

        Raises CorruptData naming the first row that does not fit. With `last`, the row before the first one
        checked is taken on trust.
        """
        tail = self.tail(connection)
        previous = LogTail(0, FIRST_PREV_HASH)
        if last is not None and tail.seq > last:
            previous = self._trusted(connection, tail.seq - last)
        while batch := _chain.all(connection, {"after_seq": previous.seq}):
            for row in batch:
                previous = check_row(previous, row)
        self._check_length(connection, previous.seq)
        return previous

    def _check_length(self, connection: Connection, last_seq: int) -> None:
        """Rows cut off the end leave a chain that fits; the count of events ever made does not."""
        row = connection.execute(self._counter).fetchone()
        if row is not None and row[0] != last_seq:
            raise CorruptData(
                f"Event {last_seq + 1} of the log is missing: {row[0]} were written.", seq=last_seq + 1
            )

    def _trusted(self, connection: Connection, seq: int) -> LogTail:
        row = _chain.one(connection, {"after_seq": seq - 1})
        if row is None or row[0] != seq:
            raise CorruptData(f"Event {seq} of the log is missing.", seq=seq)
        return LogTail(row[0], row[5])


def check_row(previous: LogTail, row: Row) -> LogTail:
    """The tail after this row of `events`. Raises CorruptData when it does not continue `previous`."""
    seq, at_s, kind, payload, prev_hash, row_hash = row
    if seq != previous.seq + 1:
        raise CorruptData(f"Event {previous.seq + 1} of the log is missing.", seq=previous.seq + 1)
    if prev_hash != previous.hash:
        raise CorruptData(
            f"Event {seq} of the log does not continue event {previous.seq}: one of them was changed.",
            seq=seq,
        )
    if row_hash != hash_row(prev_hash, seq=seq, at_s=at_s, kind=kind, payload=payload):
        raise CorruptData(f"Event {seq} of the log ({kind}) is not the one that was written.", seq=seq)
    return LogTail(seq, row_hash)
