"""Conversations: sessions, their messages (a tree), and the turns that made them.

`TurnAsked` and `TurnEnded` are on the path of every request: three statements each, about 20 µs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Self

import msgspec

from homefire.errors import Conflict, Forbidden, NotFound
from homefire.store import digest
from homefire.store.driver import Connection
from homefire.store.noun import TEXT, BodyKind, Entry, EventBase, Noun, Recent
from homefire.store.packing import pack_id, unpack_id
from homefire.store.sql import Statement, Table
from homefire.types import Content, Erased, Message, Role, StopReason, Timings, Usage, text_of

MAX_TITLE_LENGTH = 80
Verdict = Literal["good", "bad", "correction", "none"]
"""`none` takes good or bad back."""
Outcome = Literal["answered", "cancelled", "failed", "interrupted"]
"""How a turn ended. `interrupted`: the server stopped, or was killed, before the answer was finished."""


ROLES: tuple[Role, ...] = ("system", "user", "assistant", "tool")
"""In the database a role is its place here."""
ASSISTANT = ROLES.index("assistant")
CONTENT = BodyKind(Content, "", (Erased(),))
_decode_content = msgspec.json.Decoder(Content).decode


def message_id(message: int) -> str:
    """The identifier of a message, made of its key: it exists once the message is on record."""
    return f"msg_{message:014x}"


def key_of(text: str) -> int:
    """The key of the message with this identifier; -1 for what is none."""
    try:
        key = int(text.removeprefix("msg_"), 16)
    except ValueError:
        return -1
    return key if message_id(key) == text else -1


def _filled(message: Message, data: bytes) -> Message:
    return Message(message.role, _decode_content(data) if data else CONTENT.erased)


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
    messages: tuple[Message, ...]
    requested_model: str
    served_model: str
    served_digest: str
    route_reason: str

    def split(self) -> tuple[Self, list[bytes]]:
        contents = [digest.encode(message.content) for message in self.messages]
        bare = tuple(Message(message.role, CONTENT.blank) for message in self.messages)
        return msgspec.structs.replace(self, messages=bare), contents

    def join(self, contents: Sequence[bytes]) -> Self:
        full = tuple(map(_filled, self.messages, contents))
        return msgspec.structs.replace(self, messages=full)


class TurnEnded(EventBase, frozen=True, kw_only=True, tag="turn.ended"):
    """A turn is over. `answer` is what was written, whole or not; None when nothing was."""

    turn_id: str
    outcome: Outcome
    answer: Message | None
    stop_reason: StopReason | None = None
    usage: Usage | None = None
    timings: Timings | None = None
    num_trimmed_messages: int = 0
    error_code: str | None = None
    error: str | None = None
    """What went wrong, for people."""

    def split(self) -> tuple[Self, list[bytes]]:
        answer, error, contents = self.answer, self.error, []
        if answer is not None:
            contents.append(digest.encode(answer.content))
            answer = Message(answer.role, CONTENT.blank)
        if error is not None:
            contents.append(digest.encode(error))
            error = TEXT.blank
        return msgspec.structs.replace(self, answer=answer, error=error), contents

    def join(self, contents: Sequence[bytes]) -> Self:
        left, answer, error = iter(contents), self.answer, self.error
        if answer is not None:
            answer = _filled(answer, next(left))
        if error is not None:
            error = TEXT.decode(next(left))
        return msgspec.structs.replace(self, answer=answer, error=error)


_sessions = Table(
    "sessions",
    {
        "session": "INTEGER PRIMARY KEY",
        "session_id": "BLOB NOT NULL UNIQUE",
        "key": "TEXT NOT NULL",
        "principal": "TEXT NOT NULL",
        "channel": "TEXT NOT NULL",
        "title": "TEXT NOT NULL",
        "title_message": "INTEGER",
        "tip": "INTEGER",
        "num_turns": "INTEGER NOT NULL",
        "seq": "INTEGER NOT NULL",
    },
    key=("session",),
    read_indexes={"sessions_by_principal": "(principal, seq)"},
)
"""The key of a session is the place of its first turn in the log."""
_messages = Table(
    "messages",
    {
        "message": "INTEGER PRIMARY KEY",
        "session": "INTEGER NOT NULL",
        "parent": "INTEGER",
        "role": "INTEGER NOT NULL",
        "digest": "BLOB",
    },
    key=("message",),
    read_indexes={"messages_by_digest": f"(digest) WHERE role = {ASSISTANT}"},
)
"""The key of a message is that of its body. `digest` is none where it would give away something erased."""
_turns = Table(
    "turns",
    {
        "turn": "INTEGER PRIMARY KEY",
        "turn_id": "BLOB NOT NULL UNIQUE",
        "session": "INTEGER NOT NULL",
        "question": "INTEGER",
        "answer": "INTEGER",
        "ended": "INTEGER",
        "verdict": "TEXT",
    },
    key=("turn",),
    indexes={"turns_by_session": "(session)"},
)
"""The key of a turn is the place of its `TurnAsked` in the log, `ended` that of its `TurnEnded`: what they say is read
there."""
_open_session = Statement(
    f"{_sessions.insert().sql} ON CONFLICT (session_id) DO UPDATE SET seq = excluded.seq "
    "WHERE sessions.principal = excluded.principal RETURNING session"
)
_count_turn = Statement(
    "UPDATE sessions SET num_turns = num_turns + 1, tip = coalesce(:tip, tip) WHERE session = :session"
)
_use_session = Statement("UPDATE sessions SET seq = :turn WHERE session = :session AND seq < :turn")
"""Apart from `_count_turn`, because it changes an index, and the first turn of a session need not."""
_insert_message = _messages.insert()
_insert_turn = _turns.insert()
_turn = Statement(
    "SELECT turn, turns.session, question, messages.digest, sessions.session_id, principal, ended "
    "FROM turns JOIN sessions ON sessions.session = turns.session "
    "LEFT JOIN messages ON messages.message = turns.question WHERE turn_id = :turn_id"
)
_end_turn = Statement("UPDATE turns SET answer = :answer, ended = :ended WHERE turn = :turn")
_place_of = Statement(
    "SELECT sessions.session, sessions.session_id, sessions.principal, digest FROM messages "
    "JOIN sessions ON sessions.session = messages.session WHERE message = :message"
)


class _Asked(NamedTuple):
    """A turn that is under way: its key, its session's, its question's, the digest up to there, and whose it is."""

    turn: int
    session: int
    question: int | None
    chain: bytes | None
    session_id: str
    principal: str


def _asked(connection: Connection, event: TurnAsked, entry: Entry) -> None:
    parent: int | None = None
    if event.parent_message_id is None:
        session = _open(connection, event, entry)
        chain: bytes | None = digest.root(event.principal)
    else:
        parent = key_of(event.parent_message_id)
        session, chain = _parent_of(connection, event, parent, entry.recent)
    for place, message in enumerate(event.messages):
        chain = _next_digest(chain, message, entry.contents[place])
        key = entry.body(place)
        _add_message(connection, message, session, key=key, parent=parent, chain=chain)
        parent = key
    _insert_turn.run_later(
        connection,
        {
            "turn": entry.seq,
            "turn_id": pack_id(event.turn_id, "turn"),
            "session": session,
            "question": parent,
            "answer": None,
            "ended": None,
            "verdict": None,
        },
    )
    entry.recent.keep(
        event.turn_id, _Asked(entry.seq, session, parent, chain, event.session_id, event.principal)
    )


def _next_digest(chain: bytes | None, message: Message, content: bytes) -> bytes | None:
    """None after an erased message, and for one."""
    return digest.link(chain, message.role, content) if chain is not None and content else None


def _ended(connection: Connection, event: TurnEnded, entry: Entry) -> None:
    asked: _Asked = entry.recent.pop(event.turn_id, None) or _asked_turn(connection, event.turn_id)
    answer, key = event.answer, None
    if answer is not None:
        key = entry.body()
        chain = _next_digest(asked.chain, answer, entry.contents[0])
        _add_message(connection, answer, asked.session, key=key, parent=asked.question, chain=chain)
        entry.recent.keep(key, (asked.session, asked.session_id, asked.principal, chain))
    tip = key if event.outcome != "failed" else None
    _count_turn.run_later(connection, {"session": asked.session, "tip": tip})
    if asked.turn != asked.session:
        _use_session.run_later(connection, {"session": asked.session, "turn": asked.turn})
    _end_turn.run_later(connection, {"turn": asked.turn, "answer": key, "ended": entry.seq})


def _asked_turn(connection: Connection, turn_id: str) -> _Asked:
    """A turn that is under way."""
    row = _turn.one(connection, {"turn_id": pack_id(turn_id, "turn")})
    if row is None:
        raise NotFound(f"There is no turn {turn_id}.", turn_id=turn_id)
    if row[-1] is not None:
        raise Conflict(f"Turn {turn_id} ended already.", turn_id=turn_id)
    turn, session, question, chain, session_id, principal, _ = row
    return _Asked(turn, session, question, chain, unpack_id(session_id, "ses"), principal)


def _add_message(
    connection: Connection,
    message: Message,
    session: int,
    *,
    key: int,
    parent: int | None,
    chain: bytes | None,
) -> None:
    _insert_message.run_later(
        connection,
        {
            "message": key,
            "session": session,
            "parent": parent,
            "role": ROLES.index(message.role),
            "digest": chain,
        },
    )


def _parent_of(
    connection: Connection, event: TurnAsked, parent: int, recent: Recent
) -> tuple[int, bytes | None]:
    """The session and digest of the message it continues. A turn continues only its own session."""
    place = recent.get(parent)
    if place is None:
        row = _place_of.one(connection, {"message": parent})
        if row is None:
            raise NotFound(
                f"There is no message {event.parent_message_id} to continue.",
                message_id=event.parent_message_id,
            )
        place = (row[0], unpack_id(row[1], "ses"), *row[2:])
    session, session_id, principal, chain = place
    if principal != event.principal:
        raise Forbidden("This conversation belongs to someone else.")
    if session_id != event.session_id:
        raise Conflict(
            f"Message {event.parent_message_id} is part of session {session_id}, not of {event.session_id}.",
            message_id=event.parent_message_id,
            session_id=session_id,
        )
    return session, chain


def _open(connection: Connection, event: TurnAsked, entry: Entry) -> int:
    """The key of the session it begins, or starts over."""
    place, title = _title_of(event.messages, entry)
    row = _open_session.one(
        connection,
        {
            "session": entry.seq,
            "session_id": pack_id(event.session_id, "ses"),
            "key": event.session_key,
            "principal": event.principal,
            "channel": event.channel,
            "title": title,
            "title_message": None if place is None else entry.body(place),
            "tip": None,
            "num_turns": 0,
            "seq": entry.seq,
        },
    )
    if row is None:
        raise Forbidden(f"Session {event.session_id} belongs to someone else.", session_id=event.session_id)
    return int(row[0])


def _title_of(messages: tuple[Message, ...], entry: Entry) -> tuple[int | None, str]:
    """The first thing a person said, on one line, cut to a readable length, and its place."""
    for place, message in enumerate(messages):
        if message.role == "user":
            content = entry.contents[place]
            text = text_of(_decode_content(content)) if content else ""
            line = " ".join(text[: 4 * MAX_TITLE_LENGTH].replace("\0", " ").split())
            return place, line if len(line) <= MAX_TITLE_LENGTH else line[: MAX_TITLE_LENGTH - 1] + "…"
    return None, ""


NOUN = Noun((_sessions, _messages, _turns), {TurnAsked: _asked, TurnEnded: _ended})
