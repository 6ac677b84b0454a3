"""Feedback: what people said of answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from homefire.errors import NotFound
from homefire.store.connections import ReadConnections
from homefire.store.driver import Connection
from homefire.store.noun import TEXT, BodyKind, Entry, EventBase, Noun
from homefire.store.nouns.conversations import Verdict
from homefire.store.packing import pack_id
from homefire.store.reading import Query, Shape
from homefire.store.sql import Statement, Table


class FeedbackGiven(EventBase, frozen=True, kw_only=True, tag="feedback.given"):
    """A person's judgement of an answer; `text` is what it should have been. `none` takes good or bad back."""

    feedback_id: str
    turn_id: str | None
    verdict: Verdict
    text: str | None
    principal: str

    bodies: ClassVar[Mapping[str, BodyKind]] = {"text": TEXT}


_feedback = Table(
    "feedback",
    {
        "feedback_id": "TEXT NOT NULL",
        "turn_id": "TEXT",
        "verdict": "TEXT NOT NULL",
        "has_text": "INTEGER NOT NULL",
        "principal": "TEXT NOT NULL",
        "created_at_s": "REAL NOT NULL",
        "seq": "INTEGER NOT NULL",
    },
    key=("feedback_id",),
    indexes={"feedback_by_turn": "(turn_id, seq)"},
)
_insert = _feedback.insert()
_correction_of = Statement("SELECT 1 FROM feedback WHERE turn_id = :turn_id AND verdict = 'correction'")
_judge_turn = Statement("UPDATE turns SET verdict = :verdict WHERE turn_id = :turn_id")


def _given(connection: Connection, event: FeedbackGiven, entry: Entry) -> None:
    verdict: str | None = event.verdict
    if verdict == "none":
        correction = _correction_of.one(connection, {"turn_id": event.turn_id})
        verdict = "correction" if correction else None
    if event.turn_id is not None and not _judge_turn.run(
        connection, {"turn_id": pack_id(event.turn_id, "turn"), "verdict": verdict}
    ):
        raise NotFound(f"There is no turn {event.turn_id}.", turn_id=event.turn_id)
    _insert.run(
        connection,
        {
            "feedback_id": event.feedback_id,
            "turn_id": event.turn_id,
            "verdict": event.verdict,
            "has_text": int(event.text is not None),
            "principal": event.principal,
            "created_at_s": entry.at_s,
            "seq": entry.seq,
        },
    )


NOUN = Noun((_feedback,), {FeedbackGiven: _given})


class FeedbackRow(msgspec.Struct, frozen=True, kw_only=True):
    feedback_id: str
    turn_id: str | None
    verdict: Verdict
    text: str | None
    principal: str
    created_at_s: float


class FeedbackReader:
    def __init__(self, connections: ReadConnections) -> None:
        self._list = Query(
            connections,
            Shape(
                FeedbackRow,
                "feedback",
                bodies={"text": (TEXT, "CASE feedback.has_text WHEN 1 THEN feedback.seq << 20 END")},
            ),
            "WHERE turn_id = :turn_id ORDER BY seq, feedback_id",
        )

    def list(self, turn_id: str) -> list[FeedbackRow]:
        """What was said of a turn, oldest first."""
        return self._list.all(turn_id=turn_id)
