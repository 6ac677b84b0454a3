"""The append-only event log: how an event becomes rows, and the hash chain that shows if one was changed.

What a person wrote or a model answered is kept apart from its event, once, as a *body* with a random nonce. The
event's row holds the rest. The chain covers both:

    seal = SHA-256(nonce ‖ content)
    hash = SHA-256(previous hash ‖ seq ‖ at_s ‖ event without its bodies ‖ seal of each body)

the first previous hash being 32 zero bytes. Changing, removing or reordering any row breaks the chain from there on.
To erase a body, its content and nonce are replaced by its seal: the chain still holds, and a short text cannot be
guessed from what is left. Only the event `BodiesErased` does so. Cost: two hashes and a compression an event with a
body, about 30 µs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

import msgspec

from homefire.errors import CorruptData, InvalidRequest
from homefire.store.driver import Connection
from homefire.store.events import Event
from homefire.store.noun import MAX_BODIES, Entry, Recent, body_id, seq_of
from homefire.store.nouns.erasures import BodiesErased
from homefire.store.packing import pack, unpack
from homefire.store.sql import Row, Statement, Table

FIRST_HASH = bytes(32)
_NO_BODIES: tuple[Sequence[bytes], Sequence[bytes]] = ((), ())
NONCE_BYTES = 16
BATCH_ROWS = 500
_NUL_IN_JSON = b"\\u0000"

EVENTS = Table(
    "events",
    {
        "seq": "INTEGER PRIMARY KEY",
        "at_s": "REAL NOT NULL",
        "payload": "BLOB NOT NULL",
        "hash": "BLOB NOT NULL",
    },
    key=("seq",),
)
BODIES = Table(
    "bodies",
    {
        "body": "INTEGER PRIMARY KEY",
        "content": "BLOB NOT NULL",
        "nonce": "BLOB",
        "seal": "BLOB",
    },
    key=("body",),
)
"""`seal` is kept only where `content` is empty: where the body was erased."""
_insert = EVENTS.insert()
_insert_body = Statement("INSERT INTO bodies (body, content, nonce) VALUES (:body, :content, :nonce)")
_body = Statement("SELECT content, nonce FROM bodies WHERE body = :body")
_erase = Statement("UPDATE bodies SET content = :content, nonce = NULL, seal = :seal WHERE body = :body")
_tail = Statement("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1")
_hash_of = Statement("SELECT hash FROM events WHERE seq = :seq")
_after = Statement(
    "SELECT seq, at_s, payload, hash FROM events WHERE seq > :after_seq ORDER BY seq LIMIT :limit"
)
_bodies_of = Statement(
    "SELECT body, content, nonce, seal FROM bodies WHERE body >= :first AND body < :end ORDER BY body"
)
_contents_of = Statement(
    "SELECT body, content FROM bodies WHERE body >= :first AND body < :end ORDER BY body"
)


class Recorded(msgspec.Struct, frozen=True):
    """An event with its place in the log (`seq`, growing by one) and its time (seconds, Unix epoch)."""

    seq: int
    at_s: float
    event: Event


class LogTail(NamedTuple):
    """The last row's place and hash: what the next one continues."""

    seq: int
    hash: bytes


class Encoded(NamedTuple):
    """An event as it is written: without its bodies, as JSON, and its bodies as JSON."""

    event: Event
    payload: bytes
    contents: Sequence[bytes]


_encode = msgspec.json.Encoder().encode


def encode_event(event: Event) -> Encoded:
    """Raises InvalidRequest for text that is not text (half a surrogate pair), and for too many bodies.

    Also for a name that holds the character NUL, which PostgreSQL has in no text. Bodies keep it as it is.
    """
    try:
        skeleton, contents = event.split()
        payload = _encode(skeleton)
    except UnicodeEncodeError as error:
        raise InvalidRequest(
            "The text holds half of a surrogate pair, which is not a character and cannot be stored."
        ) from error
    except (TypeError, OverflowError, RecursionError) as error:
        raise InvalidRequest(f"This event cannot be written as JSON: {error}") from error
    if _NUL_IN_JSON in payload:
        _check_names(skeleton)
    if len(contents) > MAX_BODIES:
        raise InvalidRequest(f"This event has {len(contents)} parts; at most {MAX_BODIES} can be recorded.")
    return Encoded(skeleton, payload, contents)


def _check_names(skeleton: Event) -> None:
    for name in skeleton.__struct_fields__:
        value = getattr(skeleton, name)
        if isinstance(value, str) and "\0" in value:
            raise InvalidRequest(f"{name} holds the character NUL, which cannot be stored.", param=name)


def seal_of(nonce: bytes, content: bytes) -> bytes:
    """What the chain holds of a body; `content` is its JSON."""
    return sha256(nonce + content).digest()


def hash_row(previous: bytes, *, seq: int, at_s: float, payload: bytes, seals: Iterable[bytes]) -> bytes:
    """The row's link of the chain; `payload` is the event without its bodies, as JSON."""
    numbers = f"{seq}\n{at_s!r}\n{len(payload)}\n".encode()
    return sha256(b"".join((previous, numbers, payload, *seals))).digest()


class EventLog:
    """Statements on the log; connections are passed in. One instance serves all threads."""

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        """`random_bytes` makes the nonces: unpredictable, of so many bytes."""
        self._random_bytes = random_bytes
        self._decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)

    def add(
        self, connection: Connection, tail: LogTail, *, at_s: float, encoded: Encoded, recent: Recent
    ) -> tuple[LogTail, Entry]:
        """Write the event after `tail`; returns the new tail, and the entry its fold needs (with `recent`)."""
        seq = tail.seq + 1
        seals = []
        for place, content in enumerate(encoded.contents):
            nonce = self._random_bytes(NONCE_BYTES)
            seals.append(seal_of(nonce, content))
            _insert_body.run(
                connection, {"body": body_id(seq, place), "content": pack(content), "nonce": nonce}
            )
        row_hash = hash_row(tail.hash, seq=seq, at_s=at_s, payload=encoded.payload, seals=seals)
        _insert.run(
            connection, {"seq": seq, "at_s": at_s, "payload": pack(encoded.payload), "hash": row_hash}
        )
        if isinstance(encoded.event, BodiesErased):
            self._erase(connection, encoded.event.erased)
        return LogTail(seq, row_hash), Entry(seq, at_s, encoded.contents, recent)

    def tail(self, connection: Connection) -> LogTail:
        """The last row as the table has it."""
        row = _tail.one(connection)
        return LogTail(0, FIRST_HASH) if row is None else LogTail(row[0], row[1])

    def hash_of(self, connection: Connection, seq: int) -> bytes | None:
        """The hash that the row has; None where there is none."""
        row = _hash_of.one(connection, {"seq": seq})
        return None if row is None else row[0]

    def read(self, connection: Connection, *, after_seq: int, limit: int) -> list[Recorded]:
        """Up to `limit` events after `after_seq`, oldest first, with their bodies."""
        rows = _after.all(connection, {"after_seq": after_seq, "limit": limit})
        contents: dict[int, list[bytes]] = {}
        recorded = []
        seq = after_seq
        try:
            for body, stored in _contents_of.all(connection, _span(rows)) if rows else ():
                seq = seq_of(body)
                contents.setdefault(seq, []).append(unpack(stored) if stored else b"")
            for seq, at_s, stored, _ in rows:
                event = self._decoder.decode(unpack(stored)).join(contents.get(seq, ()))
                recorded.append(Recorded(seq, at_s, event))
        except (ValueError, msgspec.DecodeError) as error:
            raise _unreadable(seq, error) from error
        return recorded

    def replay(self, connection: Connection) -> Iterator[tuple[Event, Entry]]:
        """All events without their bodies, and what a fold needs, oldest first; a few hundred in memory at a time.

        The chain is verified on the way: raises CorruptData naming the first row that does not fit.
        """
        recent = Recent()
        for seq, at_s, payload, contents, _ in _verified(connection, LogTail(0, FIRST_HASH)):
            yield self.decode(payload, seq=seq), Entry(seq, at_s, contents, recent)

    def decode(self, payload: bytes, *, seq: int) -> Event:
        """The event of a row, without bodies. Raises CorruptData when it is not one that this program knows."""
        try:
            return self._decoder.decode(payload)
        except msgspec.DecodeError as error:
            raise _unreadable(seq, error) from error

    def verify(self, connection: Connection, *, last: int | None = None) -> LogTail:
        """Check the chain over the `last` rows (None: over all); returns the tail.

        Raises CorruptData naming the first row that does not fit. With `last`, the row before the first one
        checked is taken on trust.
        """
        tail = self.tail(connection)
        previous = LogTail(0, FIRST_HASH)
        if last is not None and tail.seq > last:
            previous = self._trusted(connection, tail.seq - last)
        for seq, _, _, _, row_hash in _verified(connection, previous):
            previous = LogTail(seq, row_hash)
        return previous

    def _erase(self, connection: Connection, bodies: Iterable[int]) -> None:
        for body in bodies:
            row = _body.one(connection, {"body": body})
            if row is None:
                raise InvalidRequest(f"There is no body {body} to erase.")
            content, nonce = row
            if content:
                seal = seal_of(nonce, unpack(content))
                _erase.run(connection, {"body": body, "content": b"", "seal": seal})

    def _trusted(self, connection: Connection, seq: int) -> LogTail:
        row_hash = self.hash_of(connection, seq)
        if row_hash is None:
            raise CorruptData(f"Event {seq} of the log is missing.", seq=seq)
        return LogTail(seq, row_hash)


def _span(rows: Sequence[Row]) -> dict[str, int]:
    return {"first": body_id(rows[0][0], 0), "end": body_id(rows[-1][0] + 1, 0)}


def _verified(
    connection: Connection, previous: LogTail
) -> Iterator[tuple[int, float, bytes, Sequence[bytes], bytes]]:
    """`(seq, at_s, payload, contents, hash)` of each row after `previous`; an erased content is empty.

    Raises CorruptData at the first row that does not continue the one before it.
    """
    seq, chain = previous
    while rows := _after.all(connection, {"after_seq": seq, "limit": BATCH_ROWS}):
        bodies = _bodies_by_event(connection, rows)
        for row_seq, at_s, stored, row_hash in rows:
            seq += 1
            if row_seq != seq:
                raise CorruptData(f"Event {seq} of the log is missing.", seq=seq)
            contents, seals = bodies.get(seq, _NO_BODIES)
            try:
                payload = unpack(stored)
            except ValueError as error:
                raise _changed(seq) from error
            chain = hash_row(chain, seq=seq, at_s=at_s, payload=payload, seals=seals)
            if chain != row_hash:
                raise _changed(seq)
            yield seq, at_s, payload, contents, chain


def _bodies_by_event(
    connection: Connection, rows: Sequence[Row]
) -> dict[int, tuple[list[bytes], list[bytes]]]:
    """The contents (empty where erased) and the seals of these events' bodies, in their order."""
    found: dict[int, tuple[list[bytes], list[bytes]]] = {}
    contents: list[bytes] = []
    seals: list[bytes] = []
    expected = -1
    for body, stored, nonce, seal in _bodies_of.all(connection, _span(rows)):
        seq = seq_of(body)
        try:
            content = unpack(stored) if stored else b""
            sealed = sha256(nonce + content).digest() if content else bytes(seal)
        except (ValueError, TypeError) as error:
            raise _changed(seq) from error
        if body != expected:
            if body != body_id(seq, 0):
                raise _changed(seq)
            contents, seals = found[seq] = [], []
        contents.append(content)
        seals.append(sealed)
        expected = body + 1
    return found


def _changed(seq: int) -> CorruptData:
    return CorruptData(
        f"Event {seq} of the log is not the one that was written after event {seq - 1}: one of them was changed.",
        seq=seq,
    )


def _unreadable(seq: int, error: Exception) -> CorruptData:
    return CorruptData(
        f"Event {seq} of the log cannot be read: {error}.",
        hint="It was damaged, or written by a newer Homefire.",
        seq=seq,
    )
