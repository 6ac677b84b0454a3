"""Examples: what is to be learned, one training row each."""

from __future__ import annotations

import hashlib

import msgspec

from homefire.errors import InvalidRequest
from homefire.store.connections import ReadConnections
from homefire.store.driver import Connection
from homefire.store.noun import EventBase, Noun
from homefire.store.reading import Query, Shape
from homefire.store.sql import Statement, Table
from homefire.types import Message


class ExampleCreated(EventBase, frozen=True, kw_only=True, tag="example.created"):
    """One training row; its id is the hash of its content. The last message is the answer to learn."""

    example_id: str
    profile: str
    messages: tuple[Message, ...]
    feedback_id: str | None
    turn_id: str | None
    principal: str


_examples = Table(
    "examples",
    {
        "example_id": "TEXT NOT NULL",
        "profile": "TEXT NOT NULL",
        "messages_json": "TEXT NOT NULL",
        "prompt_digest": "TEXT NOT NULL",
        "feedback_id": "TEXT",
        "turn_id": "TEXT",
        "principal": "TEXT NOT NULL",
        "created_at_s": "REAL NOT NULL",
        "superseded_by": "TEXT",
        "seq": "INTEGER NOT NULL",
    },
    key=("example_id",),
    indexes={"examples_by_prompt": "(prompt_digest)", "examples_by_seq": "(seq)"},
)
_put = _examples.put(change=("seq", "superseded_by", "feedback_id", "turn_id"))
_supersede = Statement(
    "UPDATE examples SET superseded_by = :example_id "
    "WHERE prompt_digest = :digest AND example_id <> :example_id AND superseded_by IS NULL"
)


def prompt_digest(messages: tuple[Message, ...]) -> str:
    """SHA-256 (hex) over role and content of all messages but the last: two examples with the same one
    answer the same question."""
    return hashlib.sha256(msgspec.json.encode(messages[:-1], order="deterministic")).hexdigest()


def _created(connection: Connection, event: ExampleCreated, seq: int, at_s: float) -> None:
    """The newest example of a prompt is the one that counts; the same one again is taught again."""
    if not event.messages:
        raise InvalidRequest("An example needs at least the answer to learn.", param="messages")
    digest = prompt_digest(event.messages)
    _put.run(
        connection,
        {
            "example_id": event.example_id,
            "profile": event.profile,
            "messages_json": msgspec.json.encode(event.messages).decode(),
            "prompt_digest": digest,
            "feedback_id": event.feedback_id,
            "turn_id": event.turn_id,
            "principal": event.principal,
            "created_at_s": at_s,
            "superseded_by": None,
            "seq": seq,
        },
    )
    _supersede.run(connection, {"digest": digest, "example_id": event.example_id})


NOUN = Noun((_examples,), {ExampleCreated: _created})


class ExampleRow(msgspec.Struct, frozen=True, kw_only=True):
    """One training row. `prompt_digest` is over all messages but the last; the newest example of a prompt
    supersedes the older ones."""

    example_id: str
    profile: str
    messages: tuple[Message, ...]
    prompt_digest: str
    feedback_id: str | None
    turn_id: str | None
    principal: str
    created_at_s: float
    superseded_by: str | None


class ExampleReader:
    """Examples in the order they were taught."""

    def __init__(self, connections: ReadConnections) -> None:
        shape = Shape(ExampleRow, "examples", json={"messages": tuple[Message, ...]})
        self._get = Query(connections, shape, "WHERE example_id = :example_id")
        self._list = Query(connections, shape, "ORDER BY seq, example_id LIMIT :limit")
        self._pending = Query(
            connections,
            shape,
            "WHERE superseded_by IS NULL AND NOT EXISTS (SELECT 1 FROM dataset_examples "
            "JOIN datasets ON datasets.dataset_id = dataset_examples.dataset_id "
            "WHERE dataset_examples.example_id = examples.example_id AND datasets.seq > examples.seq) "
            "ORDER BY seq, example_id",
        )

    def get(self, example_id: str) -> ExampleRow | None:
        return self._get.one(example_id=example_id)

    def pending(self) -> list[ExampleRow]:
        """Those that count and are in no dataset made since they were (last) taught."""
        return self._pending.all()

    def list(self, *, limit: int = 100_000) -> list[ExampleRow]:
        """All examples, superseded ones too, oldest first."""
        return self._list.all(limit=limit)
