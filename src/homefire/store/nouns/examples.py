"""Examples: what is to be learned, one training row each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import ClassVar

import msgspec

from homefire.errors import InvalidRequest, NotFound
from homefire.store.connections import ReadConnections
from homefire.store.driver import Connection
from homefire.store.noun import TEXT, BodyKind, Entry, EventBase, Noun
from homefire.store.reading import Query, Shape
from homefire.store.sql import Statement, Table
from homefire.types import Erased, Message

ERASED = (Message("user", (Erased(),)), Message("assistant", (Erased(),)))
"""What is read of an example that was erased."""
MESSAGES = BodyKind(tuple[Message, ...], (), ERASED)


class ExampleCreated(EventBase, frozen=True, kw_only=True, tag="example.created"):
    """One training row; its id is the hash of its content. The last message is the answer to learn."""

    example_id: str
    profile: str
    messages: tuple[Message, ...]
    feedback_id: str | None
    turn_id: str | None
    principal: str

    bodies: ClassVar[Mapping[str, BodyKind]] = {"messages": MESSAGES}


class CorrectionWithdrawn(EventBase, frozen=True, kw_only=True, tag="correction.withdrawn"):
    """A person takes a correction back: no run learns it any more. `replaced_by`: it was edited."""

    example_id: str
    who: str
    why: str
    replaced_by: str | None = None

    bodies: ClassVar[Mapping[str, BodyKind]] = {"why": TEXT}


_examples = Table(
    "examples",
    {
        "example_id": "TEXT NOT NULL",
        "profile": "TEXT NOT NULL",
        "prompt_digest": "BLOB",
        "feedback_id": "TEXT",
        "turn_id": "TEXT",
        "principal": "TEXT NOT NULL",
        "created_at_s": "REAL NOT NULL",
        "superseded_by": "TEXT",
        "withdrawn_at_s": "REAL",
        "withdrawn": "INTEGER",
        "seq": "INTEGER NOT NULL",
    },
    key=("example_id",),
    indexes={
        "examples_by_principal": "(principal, seq)",
        "examples_by_prompt": "(prompt_digest)",
        "examples_by_seq": "(seq)",
        "examples_by_turn": "(turn_id, seq)",
    },
)
_taught = Table(
    "taught",
    {"seq": "INTEGER NOT NULL", "example_id": "TEXT NOT NULL", "feedback_id": "TEXT"},
    key=("seq",),
    read_indexes={"taught_by_example": "(example_id)"},
)
"""Every time an example was taught: each holds its content once more."""
_insert_taught = _taught.insert()
_put = _examples.put(
    change=(
        "seq", "prompt_digest", "superseded_by", "withdrawn_at_s", "withdrawn", "feedback_id", "turn_id", "principal"
    )
)  # fmt: skip
_withdraw = Statement(
    "UPDATE examples SET withdrawn_at_s = :at_s, withdrawn = :seq, superseded_by = :replaced_by "
    "WHERE example_id = :example_id"
)
_supersede = Statement(
    "UPDATE examples SET superseded_by = :example_id "
    "WHERE prompt_digest = :digest AND example_id <> :example_id AND superseded_by IS NULL "
    "AND principal = :principal"
)


_decode_messages = msgspec.json.Decoder(tuple[Message, ...]).decode


def prompt_digest(messages: tuple[Message, ...]) -> str:
    """SHA-256 (hex) over role and content of all messages except the last: two examples with the same one
    answer the same question."""
    return hashlib.sha256(msgspec.json.encode(messages[:-1], order="deterministic")).hexdigest()


def _created(connection: Connection, event: ExampleCreated, entry: Entry) -> None:
    """The newest example of a prompt is the one that counts of one person's; the same one again is taught again, also
    when it was withdrawn. What another person says of it stays: that is a disagreement. One that was erased takes no
    one's place: `BodiesErased` says whose it took."""
    content = entry.contents[0]
    digest: bytes | None = None
    if content:
        messages = _decode_messages(content)
        if not messages:
            raise InvalidRequest("An example needs at least the answer to learn.", param="messages")
        digest = bytes.fromhex(prompt_digest(messages))
    _put.run(
        connection,
        {
            "example_id": event.example_id,
            "profile": event.profile,
            "prompt_digest": digest,
            "feedback_id": event.feedback_id,
            "turn_id": event.turn_id,
            "principal": event.principal,
            "created_at_s": entry.at_s,
            "superseded_by": None,
            "withdrawn_at_s": None,
            "withdrawn": None,
            "seq": entry.seq,
        },
    )
    _insert_taught.run(
        connection,
        {"seq": entry.seq, "example_id": event.example_id, "feedback_id": event.feedback_id},
    )
    if digest is not None:
        _supersede.run(
            connection, {"digest": digest, "example_id": event.example_id, "principal": event.principal}
        )


def _withdrawn(connection: Connection, event: CorrectionWithdrawn, entry: Entry) -> None:
    """It counts no more; what it superseded stays superseded."""
    changed = _withdraw.run(
        connection,
        {
            "example_id": event.example_id,
            "at_s": entry.at_s,
            "seq": entry.seq,
            "replaced_by": event.replaced_by,
        },
    )
    if not changed:
        raise NotFound(f"There is no correction {event.example_id}.", example_id=event.example_id)


NOUN = Noun((_examples, _taught), {ExampleCreated: _created, CorrectionWithdrawn: _withdrawn})


class ExampleRow(msgspec.Struct, frozen=True, kw_only=True):
    """One training row. `prompt_digest` is over all messages except the last; a person's newest example of a prompt
    supersedes the older ones; None for one that was erased. `seq` is where it was (last) taught: a page marker."""

    example_id: str
    profile: str
    messages: tuple[Message, ...]
    prompt_digest: str | None
    feedback_id: str | None
    turn_id: str | None
    principal: str
    created_at_s: float
    superseded_by: str | None
    withdrawn_at_s: float | None = None
    withdrawn_why: str | None = None
    seq: int = 0

    @property
    def counts(self) -> bool:
        """Whether it is to be known: neither corrected again nor withdrawn."""
        return self.superseded_by is None and self.withdrawn_at_s is None

    @property
    def is_erased(self) -> bool:
        """Whether its content was erased: nothing can be learned from it any more."""
        return self.prompt_digest is None

    @property
    def question(self) -> str:
        """What was asked last; empty where nothing was."""
        return self.messages[-2].text if len(self.messages) > 1 else ""

    @property
    def answer(self) -> str:
        """What is to be learned."""
        return self.messages[-1].text


class ExampleReader:
    """Examples in the order they were taught."""

    def __init__(self, connections: ReadConnections) -> None:
        shape = Shape(
            ExampleRow,
            "examples",
            decoders={"prompt_digest": bytes.hex},
            bodies={
                "messages": (MESSAGES, "examples.seq << 20"),
                "withdrawn_why": (TEXT, "examples.withdrawn << 20"),
            },
        )
        counts = "WHERE superseded_by IS NULL AND withdrawn_at_s IS NULL"
        # Another answer to the same prompt that somebody else gave.
        rival = (
            "rival.prompt_digest = examples.prompt_digest AND rival.example_id <> examples.example_id "
            "AND rival.superseded_by IS NULL AND rival.withdrawn_at_s IS NULL"
        )
        self._get = Query(connections, shape, "WHERE example_id = :example_id")
        self._of_prompt = Query(connections, shape, f"{counts} AND prompt_digest = :digest ORDER BY seq")
        self._current = Query(connections, shape, f"{counts} ORDER BY seq, example_id")
        self._page = Query(
            connections,
            shape,
            "WHERE principal = :principal AND seq < :before_seq ORDER BY seq DESC LIMIT :limit",
        )
        self._of_turn = Query(
            connections,
            shape,
            "WHERE turn_id = :turn_id AND principal = :principal ORDER BY seq DESC LIMIT 1",
        )
        self._list = Query(connections, shape, "ORDER BY seq, example_id LIMIT :limit")
        self._pending = Query(
            connections,
            shape,
            f"{counts} AND NOT EXISTS (SELECT 1 FROM dataset_examples "
            "JOIN datasets ON datasets.dataset_id = dataset_examples.dataset_id "
            "WHERE dataset_examples.example_id = examples.example_id AND datasets.seq > examples.seq) "
            f"AND NOT EXISTS (SELECT 1 FROM examples AS rival WHERE {rival}) "
            "ORDER BY seq, example_id",
        )
        self._disputed = Query(
            connections,
            shape,
            f"{counts} AND EXISTS (SELECT 1 FROM examples AS rival WHERE {rival}) "
            "ORDER BY prompt_digest, seq, example_id",
        )

    def get(self, example_id: str) -> ExampleRow | None:
        return self._get.one(example_id=example_id)

    def page(self, principal: str, *, before_seq: int, limit: int) -> list[ExampleRow]:
        """Examples of one principal that were (last) taught before this place in the log, newest first."""
        return self._page.all(principal=principal, before_seq=before_seq, limit=limit)

    def of_turn(self, turn_id: str, *, principal: str) -> ExampleRow | None:
        """The newest correction that this principal gave of the turn's answer."""
        return self._of_turn.one(turn_id=turn_id, principal=principal)

    def of_prompt(self, digest: str) -> list[ExampleRow]:
        """Those that count and answer this prompt, whoever gave them."""
        return self._of_prompt.all(digest=bytes.fromhex(digest))

    def current(self) -> list[ExampleRow]:
        """Those that count, oldest first."""
        return self._current.all()

    def pending(self) -> list[ExampleRow]:
        """Those that count, that nobody disputes, and that are in no dataset made since they were (last) taught."""
        return self._pending.all()

    def disputed(self) -> list[ExampleRow]:
        """Those that count although another person gave the same prompt another answer; the same prompt together."""
        return self._disputed.all()

    def list(self, *, limit: int = 100_000) -> list[ExampleRow]:
        """All examples, superseded ones too, oldest first."""
        return self._list.all(limit=limit)
