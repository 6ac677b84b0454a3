"""Conversations: sessions, their messages (a tree), and the turns that made them.

`TurnAsked` and `TurnEnded` are on the path of every request: three statements each, about 20 µs.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from homefire.errors import Conflict, Forbidden, NotFound
from homefire.store.connections import ReadConnections
from homefire.store.driver import Connection
from homefire.store.noun import EventBase, Noun, json_or_none
from homefire.store.reading import Query, Shape
from homefire.store.sql import Statement, Table
from homefire.types import Content, Message, Role, StopReason, Timings, Usage, text_of

MAX_TITLE_LENGTH = 80
_BIGGEST = 2**63 - 1
Verdict = Literal["good", "bad", "correction", "none"]
"""`none` takes good or bad back."""
Outcome = Literal["answered", "cancelled", "failed", "interrupted"]
"""How a turn ended. `interrupted`: the server stopped, or was killed, before the answer was finished."""


class RecordedMessage(msgspec.Struct, frozen=True):
    """A message with its place: `digest` chains over all messages of its conversation so far."""

    message_id: str
    role: Role
    content: Content
    digest: str


class TurnAsked(EventBase, frozen=True, kw_only=True, tag="turn.asked"):
    """A turn begins: what is asked is on record before anything is generated.

    `messages` are those the log did not hold yet; none where an earlier question is answered again.
    """

    turn_id: str
    session_id: str
    session_key: str
    principal: str
    channel: str
    parent_message_id: str | None
    messages: tuple[RecordedMessage, ...]
    requested_model: str
    served_model: str
    served_digest: str
    route_reason: str


class TurnEnded(EventBase, frozen=True, kw_only=True, tag="turn.ended"):
    """A turn is over. `answer` is what was written, whole or not; None when nothing was."""

    turn_id: str
    outcome: Outcome
    answer: RecordedMessage | None
    stop_reason: StopReason | None = None
    usage: Usage | None = None
    timings: Timings | None = None
    num_trimmed_messages: int = 0
    error_code: str | None = None
    error: str | None = None
    """What went wrong, for people."""


_sessions = Table(
    "sessions",
    {
        "session_id": "TEXT NOT NULL",
        "key": "TEXT NOT NULL",
        "principal": "TEXT NOT NULL",
        "channel": "TEXT NOT NULL",
        "title": "TEXT NOT NULL",
        "created_at_s": "REAL NOT NULL",
        "updated_at_s": "REAL NOT NULL",
        "tip_message_id": "TEXT",
        "num_turns": "INTEGER NOT NULL",
        "seq": "INTEGER NOT NULL",
    },
    key=("session_id",),
    indexes={"sessions_by_principal": "(principal, seq)"},
)
_messages = Table(
    "messages",
    {
        "message_id": "TEXT NOT NULL",
        "session_id": "TEXT NOT NULL",
        "parent_id": "TEXT",
        "role": "TEXT NOT NULL",
        "content_json": "TEXT NOT NULL",
        "digest": "TEXT NOT NULL",
        "created_at_s": "REAL NOT NULL",
        "seq": "INTEGER NOT NULL",
    },
    key=("message_id",),
    indexes={"messages_by_session": "(session_id, seq)", "messages_by_digest": "(digest)"},
)
_turns = Table(
    "turns",
    {
        "turn_id": "TEXT NOT NULL",
        "seq": "INTEGER NOT NULL",
        "at_s": "REAL NOT NULL",
        "session_id": "TEXT NOT NULL",
        "session_key": "TEXT NOT NULL",
        "principal": "TEXT NOT NULL",
        "channel": "TEXT NOT NULL",
        "parent_message_id": "TEXT",
        "user_message_id": "TEXT",
        "answer_message_id": "TEXT",
        "requested_model": "TEXT NOT NULL",
        "served_model": "TEXT NOT NULL",
        "served_digest": "TEXT NOT NULL",
        "route_reason": "TEXT NOT NULL",
        "outcome": "TEXT",
        "stop_reason": "TEXT",
        "usage_json": "TEXT",
        "timings_json": "TEXT",
        "num_trimmed_messages": "INTEGER NOT NULL",
        "error_code": "TEXT",
        "error": "TEXT",
        "verdict": "TEXT",
    },
    key=("turn_id",),
    indexes={"turns_by_session": "(session_id, seq)", "turns_under_way": "(seq) WHERE outcome IS NULL"},
)
_open_session = Statement(
    f"{_sessions.insert().sql} ON CONFLICT (session_id) DO UPDATE SET updated_at_s = excluded.updated_at_s, "
    "num_turns = sessions.num_turns + 1, seq = excluded.seq WHERE sessions.principal = excluded.principal"
)
_move_tip = Statement("UPDATE sessions SET tip_message_id = :message_id WHERE session_id = :session_id")
_insert_message = _messages.insert()
_insert_turn = _turns.insert()
_turn = Statement("SELECT outcome, session_id, user_message_id FROM turns WHERE turn_id = :turn_id")
_end_turn = Statement(
    "UPDATE turns SET answer_message_id = :answer_message_id, outcome = :outcome, stop_reason = :stop_reason, "
    "usage_json = :usage_json, timings_json = :timings_json, num_trimmed_messages = :num_trimmed_messages, "
    "error_code = :error_code, error = :error WHERE turn_id = :turn_id"
)
_place_of = Statement(
    "SELECT messages.session_id, sessions.principal FROM messages "
    "JOIN sessions ON sessions.session_id = messages.session_id WHERE message_id = :message_id"
)


def _asked(connection: Connection, event: TurnAsked, seq: int, at_s: float) -> None:
    if event.parent_message_id is not None:
        _check_parent(connection, event, event.parent_message_id)
    _touch_session(connection, event, seq=seq, at_s=at_s)
    parent_id = event.parent_message_id
    rows = []
    for message in event.messages:
        rows.append(_message_row(message, event.session_id, parent_id=parent_id, seq=seq, at_s=at_s))
        parent_id = message.message_id
    if rows:
        _insert_message.run_many(connection, rows)
    _insert_turn.run(connection, _turn_row(event, question_id=parent_id, seq=seq, at_s=at_s))


def _ended(connection: Connection, event: TurnEnded, seq: int, at_s: float) -> None:
    turn = _turn.one(connection, {"turn_id": event.turn_id})
    if turn is None:
        raise NotFound(f"There is no turn {event.turn_id}.", turn_id=event.turn_id)
    outcome, session_id, question_id = turn
    if outcome is not None:
        raise Conflict(f"Turn {event.turn_id} ended already.", turn_id=event.turn_id)
    answer = event.answer
    if answer is not None:
        _insert_message.run(
            connection, _message_row(answer, session_id, parent_id=question_id, seq=seq, at_s=at_s)
        )
        if event.outcome != "failed":
            _move_tip.run(connection, {"session_id": session_id, "message_id": answer.message_id})
    _end_turn.run(
        connection,
        {
            "turn_id": event.turn_id,
            "answer_message_id": answer.message_id if answer else None,
            "outcome": event.outcome,
            "stop_reason": event.stop_reason,
            "usage_json": json_or_none(event.usage),
            "timings_json": json_or_none(event.timings),
            "num_trimmed_messages": event.num_trimmed_messages,
            "error_code": event.error_code,
            "error": event.error,
        },
    )


def _check_parent(connection: Connection, event: TurnAsked, parent_id: str) -> None:
    """A turn continues only its own session."""
    place = _place_of.one(connection, {"message_id": parent_id})
    if place is None:
        raise NotFound(f"There is no message {parent_id} to continue.", message_id=parent_id)
    session_id, principal = place
    if principal != event.principal:
        raise Forbidden("This conversation belongs to someone else.")
    if session_id != event.session_id:
        raise Conflict(
            f"Message {parent_id} is part of session {session_id}, not of {event.session_id}.",
            message_id=parent_id,
            session_id=session_id,
        )


def _touch_session(connection: Connection, event: TurnAsked, *, seq: int, at_s: float) -> None:
    touched = _open_session.run(
        connection,
        {
            "session_id": event.session_id,
            "key": event.session_key,
            "principal": event.principal,
            "channel": event.channel,
            "title": _title_of(event.messages),
            "created_at_s": at_s,
            "updated_at_s": at_s,
            "tip_message_id": None,
            "num_turns": 1,
            "seq": seq,
        },
    )
    if not touched:
        raise Forbidden(f"Session {event.session_id} belongs to someone else.", session_id=event.session_id)


def _title_of(new_messages: tuple[RecordedMessage, ...]) -> str:
    """The first thing a person said, on one line, cut to a readable length."""
    for message in new_messages:
        if message.role == "user":
            line = " ".join(text_of(message.content)[: 4 * MAX_TITLE_LENGTH].replace("\0", " ").split())
            return line if len(line) <= MAX_TITLE_LENGTH else line[: MAX_TITLE_LENGTH - 1] + "…"
    return ""


def _message_row(
    message: RecordedMessage, session_id: str, *, parent_id: str | None, seq: int, at_s: float
) -> dict[str, Any]:
    return {
        "message_id": message.message_id,
        "session_id": session_id,
        "parent_id": parent_id,
        "role": message.role,
        "content_json": msgspec.json.encode(message.content).decode(),
        "digest": message.digest,
        "created_at_s": at_s,
        "seq": seq,
    }


def _turn_row(event: TurnAsked, *, question_id: str | None, seq: int, at_s: float) -> dict[str, Any]:
    """`user_message_id` is what the answer follows: a user's message, or the result of a tool."""
    return {
        "turn_id": event.turn_id,
        "seq": seq,
        "at_s": at_s,
        "session_id": event.session_id,
        "session_key": event.session_key,
        "principal": event.principal,
        "channel": event.channel,
        "parent_message_id": event.parent_message_id,
        "user_message_id": question_id,
        "answer_message_id": None,
        "requested_model": event.requested_model,
        "served_model": event.served_model,
        "served_digest": event.served_digest,
        "route_reason": event.route_reason,
        "outcome": None,
        "stop_reason": None,
        "usage_json": None,
        "timings_json": None,
        "num_trimmed_messages": 0,
        "error_code": None,
        "error": None,
        "verdict": None,
    }


NOUN = Noun((_sessions, _messages, _turns), {TurnAsked: _asked, TurnEnded: _ended})


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One conversation. `tip_message_id` is its newest answer, from which it continues; None before the first."""

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
    digest: str
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


class SessionReader:
    """Conversations. A principal sees only its own."""

    def __init__(self, connections: ReadConnections) -> None:
        shape = Shape(SessionRow, "sessions")
        self._get = Query(connections, shape, "WHERE session_id = :session_id")
        self._list = Query(
            connections,
            shape,
            "WHERE principal = :principal AND seq < :before ORDER BY seq DESC LIMIT :limit",
        )

    def get(self, session_id: str) -> SessionRow | None:
        return self._get.one(session_id=session_id)

    def list(self, principal: str, *, limit: int = 50, before: int | None = None) -> list[SessionRow]:
        """Most recently used first; `before` is the `seq` of the last row of the page before."""
        return self._list.all(principal=principal, limit=limit, before=_BIGGEST if before is None else before)


class MessageReader:
    """Messages form a tree: a path from the root to a leaf is a conversation."""

    def __init__(self, connections: ReadConnections) -> None:
        shape = Shape(MessageRow, "messages", json={"content": Content})
        self._path = Query(
            connections,
            shape,
            "JOIN (WITH RECURSIVE path(message_id, parent_id, depth) AS ("
            "SELECT message_id, parent_id, 0 FROM messages WHERE message_id = :message_id "
            "UNION ALL SELECT parent.message_id, parent.parent_id, path.depth + 1 "
            "FROM messages AS parent JOIN path ON parent.message_id = path.parent_id) "
            "SELECT message_id, depth FROM path) AS path "
            "ON path.message_id = messages.message_id ORDER BY path.depth DESC",
        )
        self._by_digest = Query(
            connections,
            shape,
            "JOIN sessions ON sessions.session_id = messages.session_id "
            "WHERE messages.digest = :digest AND sessions.principal = :principal "
            "ORDER BY messages.seq DESC LIMIT 1",
        )
        self._list = Query(connections, shape, "WHERE session_id = :session_id ORDER BY seq, message_id")

    def path(self, message_id: str) -> list[MessageRow]:
        """Root to leaf; empty when there is no such message."""
        return self._path.all(message_id=message_id)

    def by_digest(self, principal: str, digest: str) -> MessageRow | None:
        """The principal's newest message with this digest, on whatever branch it is."""
        return self._by_digest.one(principal=principal, digest=digest)

    def list(self, session_id: str) -> list[MessageRow]:
        """All messages of a session on all its branches, oldest first."""
        return self._list.all(session_id=session_id)


class TurnReader:
    """Turns as they were recorded, with the latest verdict on each."""

    def __init__(self, connections: ReadConnections) -> None:
        shape = Shape(TurnRow, "turns", json={"usage": Usage, "timings": Timings})
        self._get = Query(connections, shape, "WHERE turn_id = :turn_id")
        self._list = Query(connections, shape, "WHERE session_id = :session_id ORDER BY seq, turn_id")
        self._under_way = Query(connections, shape, "WHERE outcome IS NULL ORDER BY seq")

    def get(self, turn_id: str) -> TurnRow | None:
        return self._get.one(turn_id=turn_id)

    def under_way(self) -> list[TurnRow]:
        """Turns that were asked and have not ended; after a start: those that the last server left."""
        return self._under_way.all()

    def list(self, session_id: str) -> list[TurnRow]:
        """All turns of a session, oldest first."""
        return self._list.all(session_id=session_id)
