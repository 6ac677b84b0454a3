"""Reading conversations: sessions, their messages and turns as typed rows.

A principal sees only its own; whoever gets an identifier from a client asks `sessions/ownership.py`.
"""

from __future__ import annotations

from functools import partial

import msgspec

from homefire.store.connections import ReadConnections
from homefire.store.noun import TEXT
from homefire.store.nouns.conversations import (
    ASSISTANT,
    CONTENT,
    ROLES,
    Outcome,
    TurnAsked,
    TurnEnded,
    Verdict,
    key_of,
    message_id,
)
from homefire.store.packing import pack_id, unpack, unpack_id
from homefire.store.reading import Query, Shape
from homefire.store.sql import Row, Statement
from homefire.types import Content, Message, Role, StopReason, Timings, Usage

_BIGGEST = 2**63 - 1


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One conversation. `tip_message_id` is its newest answer, from which it continues; None before the first.

    `num_turns` and `seq` count turns that ended; one that is under way is in `turns` alone.
    """

    session_id: str
    key: str
    principal: str
    channel: str
    title: str
    created_at_s: float
    updated_at_s: float
    tip_message_id: str | None
    num_turns: int
    seq: int
    """The place of its newest turn in the log: a page marker."""


class MessageRow(msgspec.Struct, frozen=True, kw_only=True):
    message_id: str
    session_id: str
    parent_id: str | None
    role: Role
    content: Content
    created_at_s: float

    @property
    def message(self) -> Message:
        """What was said, without its place."""
        return Message(self.role, self.content)


class TurnRow(msgspec.Struct, frozen=True, kw_only=True):
    """One turn. `outcome` is None while it is under way; `verdict` is the latest feedback on it that was not
    taken back."""

    turn_id: str
    seq: int
    at_s: float
    session_id: str
    session_key: str
    principal: str
    channel: str
    parent_message_id: str | None
    user_message_id: str | None
    answer_message_id: str | None
    requested_model: str
    served_model: str
    served_digest: str
    route_reason: str
    outcome: Outcome | None
    stop_reason: StopReason | None
    usage: Usage | None
    timings: Timings | None
    num_trimmed_messages: int
    error_code: str | None
    error: str | None
    verdict: Verdict | None


_session_id = partial(unpack_id, prefix="ses")


class SessionReader:
    """Conversations. A principal sees only its own."""

    def __init__(self, connections: ReadConnections) -> None:
        shape = Shape(
            SessionRow,
            "sessions",
            computed={
                "tip_message_id": "sessions.tip",
                "created_at_s": "(SELECT at_s FROM events WHERE events.seq = sessions.session)",
                "updated_at_s": "(SELECT at_s FROM events WHERE events.seq = sessions.seq)",
            },
            decoders={"session_id": _session_id, "tip_message_id": message_id},
        )
        self._get = Query(connections, shape, "WHERE session_id = :session_id")
        self._list = Query(
            connections,
            shape,
            "WHERE principal = :principal AND seq < :before "
            "AND NOT (num_turns = 0 AND tip IS NULL AND title_message IS NULL) ORDER BY seq DESC LIMIT :limit",
        )

    def get(self, session_id: str) -> SessionRow | None:
        return self._get.one(session_id=pack_id(session_id, "ses"))

    def list(self, principal: str, *, limit: int = 50, before: int | None = None) -> list[SessionRow]:
        """Most recently used first; `before` is the `seq` of the last row of the page before."""
        return self._list.all(principal=principal, limit=limit, before=_BIGGEST if before is None else before)


class MessageReader:
    """Messages form a tree: a path from the root to a leaf is a conversation."""

    def __init__(self, connections: ReadConnections) -> None:
        shape = Shape(
            MessageRow,
            "messages",
            bodies={"content": (CONTENT, "messages.message")},
            computed={
                "message_id": "messages.message",
                "session_id": "(SELECT session_id FROM sessions WHERE sessions.session = messages.session)",
                "parent_id": "messages.parent",
                "created_at_s": "(SELECT at_s FROM events WHERE events.seq = messages.message >> 20)",
            },
            decoders={
                "message_id": message_id,
                "session_id": _session_id,
                "parent_id": message_id,
                "role": ROLES.__getitem__,
            },
        )
        self._path = Query(
            connections,
            shape,
            "JOIN (WITH RECURSIVE path(message, parent, depth) AS ("
            "SELECT message, parent, 0 FROM messages WHERE message = :message "
            "UNION ALL SELECT above.message, above.parent, path.depth + 1 "
            "FROM messages AS above JOIN path ON above.message = path.parent) "
            "SELECT message, depth FROM path) AS path "
            "ON path.message = messages.message ORDER BY path.depth DESC",
        )
        self._get = Query(connections, shape, "WHERE messages.message = :message")
        self._by_digest = Query(
            connections,
            shape,
            "JOIN sessions ON sessions.session = messages.session "
            f"WHERE messages.role = {ASSISTANT} AND messages.digest = :digest "
            "AND sessions.principal = :principal ORDER BY messages.message DESC LIMIT 1",
        )

    def get(self, message_id: str) -> MessageRow | None:
        return self._get.one(message=key_of(message_id))

    def by_key(self, key: int) -> MessageRow | None:
        """The message with this key."""
        return self._get.one(message=key)

    def path(self, message_id: str) -> list[MessageRow]:
        """Root to leaf; empty when there is no such message."""
        return self._path.all(message=key_of(message_id))

    def by_digest(self, principal: str, digest: bytes) -> MessageRow | None:
        """The principal's newest answer with this digest, on whatever branch it is."""
        return self._by_digest.one(principal=principal, digest=digest)


_TURN = (
    "SELECT turns.turn, turns.turn_id, asked.at_s, asked.payload, ended.payload, "
    "turns.question, turns.answer, turns.verdict, "
    "(SELECT content FROM bodies WHERE body = "
    "(turns.ended << 20) + (CASE WHEN turns.answer IS NULL THEN 0 ELSE 1 END)) "
    "FROM turns JOIN events AS asked ON asked.seq = turns.turn LEFT JOIN events AS ended ON ended.seq = turns.ended "
)
_one_turn = Statement(f"{_TURN} WHERE turns.turn_id = :turn_id")
_turns_of = Statement(
    f"{_TURN} JOIN sessions ON sessions.session = turns.session WHERE sessions.session_id = :session_id "
    "ORDER BY turns.turn"
)
_turns_under_way = Statement(f"{_TURN} WHERE turns.ended IS NULL ORDER BY turns.turn")
_decode_asked = msgspec.json.Decoder(TurnAsked).decode
_decode_ended = msgspec.json.Decoder(TurnEnded).decode


class TurnReader:
    """Turns as they were recorded, with the latest verdict on each."""

    def __init__(self, connections: ReadConnections) -> None:
        self._connections = connections
        self._get, self._list, self._under_way = _one_turn, _turns_of, _turns_under_way

    def get(self, turn_id: str) -> TurnRow | None:
        with self._connections.use() as connection:
            row = self._get.one(connection, {"turn_id": pack_id(turn_id, "turn")})
        return None if row is None else _turn_row(row)

    def under_way(self) -> list[TurnRow]:
        """Turns that were asked and have not ended; after a start: those that the last server left."""
        with self._connections.use() as connection:
            rows = self._under_way.all(connection)
        return [_turn_row(row) for row in rows]

    def list(self, session_id: str) -> list[TurnRow]:
        """All turns of a session, oldest first."""
        with self._connections.use() as connection:
            rows = self._list.all(connection, {"session_id": pack_id(session_id, "ses")})
        return [_turn_row(row) for row in rows]


def _turn_row(row: Row) -> TurnRow:
    seq, turn_id, at_s, asked_payload, ended_payload, question, answer, verdict, error = row
    asked = _decode_asked(unpack(asked_payload))
    ended = None if ended_payload is None else _decode_ended(unpack(ended_payload))
    return TurnRow(
        turn_id=unpack_id(turn_id, "turn"),
        seq=seq,
        at_s=at_s,
        session_id=asked.session_id,
        session_key=asked.session_key,
        principal=asked.principal,
        channel=asked.channel,
        parent_message_id=asked.parent_message_id,
        user_message_id=None if question is None else message_id(question),
        answer_message_id=None if answer is None else message_id(answer),
        requested_model=asked.requested_model,
        served_model=asked.served_model,
        served_digest=asked.served_digest,
        route_reason=asked.route_reason,
        outcome=ended.outcome if ended else None,
        stop_reason=ended.stop_reason if ended else None,
        usage=ended.usage if ended else None,
        timings=ended.timings if ended else None,
        num_trimmed_messages=ended.num_trimmed_messages if ended else 0,
        error_code=ended.error_code if ended else None,
        error=TEXT.decode(unpack(error) if error else b"") if ended and ended.error is not None else None,
        verdict=verdict,
    )
