"""Erasures: what was taken out of the log for good, by whom, when and why.

The event names the bodies; `EventLog.add` empties them in the same transaction. This fold forgets what was derived
from them: the digests by which a conversation is recognised, titles, and the digest of an example's question.
"""

from __future__ import annotations

import msgspec

from homefire.store.connections import ReadConnections
from homefire.store.driver import Connection
from homefire.store.noun import Entry, EventBase, Noun, body_id, seq_of
from homefire.store.packing import pack_id
from homefire.store.reading import Query, Shape
from homefire.store.sql import Statement, Table


class BodiesErased(EventBase, frozen=True, kw_only=True, tag="bodies.erased"):
    """Somebody erased contents. `subject` says what was asked for: a session, turn, message or correction."""

    who: str
    why: str
    subject: str
    erased: tuple[int, ...]
    """Their keys: `noun.body_id`."""
    superseded: dict[str, str] = msgspec.field(default_factory=dict)
    """Which example took the place of which, as far as erased ones are concerned: it cannot be derived any more."""


_erasures = Table(
    "erasures",
    {
        "seq": "INTEGER NOT NULL",
        "at_s": "REAL NOT NULL",
        "who": "TEXT NOT NULL",
        "why": "TEXT NOT NULL",
        "subject": "TEXT NOT NULL",
        "num_bodies": "INTEGER NOT NULL",
    },
    key=("seq",),
)
_erased = Table("erased_bodies", {"body": "INTEGER NOT NULL", "seq": "INTEGER NOT NULL"}, key=("body",))
_insert = _erasures.insert()
_mark = Statement(f"{_erased.insert().sql} ON CONFLICT (body) DO NOTHING")
_session_of = Statement("SELECT session FROM messages WHERE message = :body")
_turns_of = Statement("SELECT turn, ended FROM turns WHERE session = :session")
_forget_digests = Statement(
    "UPDATE messages SET digest = NULL WHERE message >= :first AND message < :end AND digest IS NOT NULL"
)
_forget_title = Statement("UPDATE sessions SET title = '' WHERE session = :session AND title_message = :body")
_close_session = Statement(
    "UPDATE sessions SET title = '', title_message = NULL, tip = NULL, num_turns = 0 WHERE session_id = :session_id"
)
"""Where the subject is a session, nothing is left to show or to continue: it leaves the list of conversations until
somebody says something in it."""
_forget_prompt = Statement("UPDATE examples SET prompt_digest = NULL WHERE seq = :seq")
_supersede = Statement("UPDATE examples SET superseded_by = :by WHERE example_id = :example_id")


def _bodies_erased(connection: Connection, event: BodiesErased, entry: Entry) -> None:
    _insert.run(
        connection,
        {
            "seq": entry.seq,
            "at_s": entry.at_s,
            "who": event.who,
            "why": event.why,
            "subject": event.subject,
            "num_bodies": len(event.erased),
        },
    )
    first_erased: dict[int, int] = {}
    entry.recent.clear()
    for body in event.erased:
        _mark.run(connection, {"body": body, "seq": entry.seq})
        _forget_prompt.run(connection, {"seq": seq_of(body)})
        found = _session_of.one(connection, {"body": body})
        if found is not None:
            _forget_title.run(connection, {"session": found[0], "body": body})
            first_erased[found[0]] = min(body, first_erased.get(found[0], body))
    for session, first in first_erased.items():
        _forget_digests_after(connection, session, first)
    _close_session.run(connection, {"session_id": pack_id(event.subject, "ses")})
    for example_id, by in event.superseded.items():
        _supersede.run(connection, {"example_id": example_id, "by": by})


def _forget_digests_after(connection: Connection, session: int, first: int) -> None:
    """Of the session's messages from `first` on: what was said after an erased message would give it away."""
    for turn in _turns_of.all(connection, {"session": session}):
        for seq in turn:
            if seq is not None and body_id(seq + 1, 0) > first:
                span = {"first": max(first, body_id(seq, 0)), "end": body_id(seq + 1, 0)}
                _forget_digests.run(connection, span)


NOUN = Noun((_erasures, _erased), {BodiesErased: _bodies_erased})


class ErasureRow(msgspec.Struct, frozen=True, kw_only=True):
    """One erasure."""

    seq: int
    at_s: float
    who: str
    why: str
    subject: str
    num_bodies: int


class ErasureReader:
    """What was erased, newest first."""

    def __init__(self, connections: ReadConnections) -> None:
        self._list = Query(connections, Shape(ErasureRow, "erasures"), "ORDER BY seq DESC LIMIT :limit")

    def list(self, *, limit: int = 100) -> list[ErasureRow]:
        return self._list.all(limit=limit)
