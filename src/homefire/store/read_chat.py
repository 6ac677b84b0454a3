"""Reading what people said: keys, sessions, messages, turns, feedback."""

from __future__ import annotations

from sqlalchemy import Integer, bindparam, literal, select

from homefire.store.connections import ReadConnections
from homefire.store.reading import Query, Shape
from homefire.store.rows import FeedbackRow, KeyRow, MessageRow, SessionRow, TurnRow
from homefire.store.tables import feedback, keys, messages, sessions, turns
from homefire.types import Content, Timings, Usage

_BIGGEST = 2**63 - 1


class KeyReader:
    """API keys, by the SHA-256 of their text."""

    def __init__(self, connections: ReadConnections) -> None:
        shape = Shape(KeyRow, keys)
        self._find = Query(
            connections,
            shape,
            shape.select().where(keys.c.sha256 == bindparam("sha256"), keys.c.revoked_at_s.is_(None)),
        )
        self._list = Query(connections, shape, shape.select().order_by(keys.c.created_at_s, keys.c.key_id))

    def find(self, sha256: str) -> KeyRow | None:
        """The key that is not revoked and has this hash (hex)."""
        return self._find.one(sha256=sha256)

    def list(self) -> list[KeyRow]:
        """All keys, revoked ones too, oldest first."""
        return self._list.all()


class SessionReader:
    """Conversations. A principal sees only its own."""

    def __init__(self, connections: ReadConnections) -> None:
        shape = Shape(SessionRow, sessions)
        newest_first = shape.select().order_by(sessions.c.seq.desc())
        self._get = Query(connections, shape, shape.select().where(sessions.c.session_id == bindparam("id")))
        mine = newest_first.where(sessions.c.principal == bindparam("principal"))
        self._list = Query(
            connections,
            shape,
            mine.where(sessions.c.seq < bindparam("before")).limit(bindparam("limit", type_=Integer)),
        )

    def get(self, session_id: str) -> SessionRow | None:
        return self._get.one(id=session_id)

    def list(self, principal: str, *, limit: int = 50, before: int | None = None) -> list[SessionRow]:
        """Most recently used first; `before` is the `seq` of the last row of the page before."""
        return self._list.all(principal=principal, limit=limit, before=_BIGGEST if before is None else before)


class MessageReader:
    """Messages form a tree: a path from the root to a leaf is a conversation."""

    def __init__(self, connections: ReadConnections) -> None:
        shape = Shape(MessageRow, messages, json={"content": Content})
        path = (
            select(messages.c.message_id, messages.c.parent_id, literal(0).label("depth"))
            .where(messages.c.message_id == bindparam("id"))
            .cte("path", recursive=True)
        )
        parent = messages.alias("parent")
        path = path.union_all(
            select(parent.c.message_id, parent.c.parent_id, path.c.depth + 1).join(
                path, parent.c.message_id == path.c.parent_id
            )
        )
        self._path = Query(
            connections,
            shape,
            shape.select()
            .join(path, path.c.message_id == messages.c.message_id)
            .order_by(path.c.depth.desc()),
        )
        self._by_digest = Query(
            connections,
            shape,
            shape.select()
            .join(sessions, sessions.c.session_id == messages.c.session_id)
            .where(messages.c.digest == bindparam("digest"), sessions.c.principal == bindparam("principal"))
            .order_by(messages.c.seq.desc())
            .limit(1),
        )
        self._list = Query(
            connections,
            shape,
            shape.select()
            .where(messages.c.session_id == bindparam("id"))
            .order_by(messages.c.seq, messages.c.message_id),
        )

    def path(self, message_id: str) -> list[MessageRow]:
        """Root to leaf; empty when there is no such message."""
        return self._path.all(id=message_id)

    def by_digest(self, principal: str, digest: str) -> MessageRow | None:
        """The principal's newest message with this digest, on whatever branch it is."""
        return self._by_digest.one(principal=principal, digest=digest)

    def list(self, session_id: str) -> list[MessageRow]:
        """All messages of a session on all its branches, oldest first."""
        return self._list.all(id=session_id)


class TurnReader:
    """Turns as they were recorded, with the latest verdict on each."""

    def __init__(self, connections: ReadConnections) -> None:
        shape = Shape(TurnRow, turns, json={"usage": Usage, "timings": Timings})
        self._get = Query(connections, shape, shape.select().where(turns.c.turn_id == bindparam("id")))
        self._list = Query(
            connections,
            shape,
            shape.select()
            .where(turns.c.session_id == bindparam("id"))
            .order_by(turns.c.seq, turns.c.turn_id),
        )
        self._under_way = Query(
            connections, shape, shape.select().where(turns.c.outcome.is_(None)).order_by(turns.c.seq)
        )

    def get(self, turn_id: str) -> TurnRow | None:
        return self._get.one(id=turn_id)

    def under_way(self) -> list[TurnRow]:
        """Turns that were asked and have not ended; after a start: those that the last server left."""
        return self._under_way.all()

    def list(self, session_id: str) -> list[TurnRow]:
        """All turns of a session, oldest first."""
        return self._list.all(id=session_id)


class FeedbackReader:
    def __init__(self, connections: ReadConnections) -> None:
        shape = Shape(FeedbackRow, feedback)
        self._list = Query(
            connections,
            shape,
            shape.select()
            .where(feedback.c.turn_id == bindparam("id"))
            .order_by(feedback.c.seq, feedback.c.feedback_id),
        )

    def list(self, turn_id: str) -> list[FeedbackRow]:
        """What was said of a turn, oldest first."""
        return self._list.all(id=turn_id)
