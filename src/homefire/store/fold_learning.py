"""Folds of what is to be learned: examples, datasets, runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from sqlalchemy import bindparam, insert, select, update

from homefire.errors import Conflict, InvalidRequest, NotFound
from homefire.store.driver import Connection
from homefire.store.events import CorrectionWithdrawn, DatasetCreated, ExampleCreated, RunMoved, RunQueued
from homefire.store.run_states import ENDED, check_move
from homefire.store.sql import Statement, upsert
from homefire.store.tables import dataset_examples, datasets, examples, runs
from homefire.types import Message


def prompt_digest(messages: tuple[Message, ...]) -> str:
    """SHA-256 (hex) over role and content of all messages but the last: two examples with the same one
    answer the same question."""
    return hashlib.sha256(msgspec.json.encode(messages[:-1], order="deterministic")).hexdigest()


class LearningFolds:
    """See `projections.Projector`."""

    def __init__(self) -> None:
        self._put_example = Statement(
            upsert(
                examples,
                key="example_id",
                change=(
                    "seq",
                    "superseded_by",
                    "withdrawn_at_s",
                    "withdrawn_why",
                    "feedback_id",
                    "turn_id",
                    "principal",
                ),
            )
        )
        self._withdraw = Statement(
            update(examples)
            .where(examples.c.example_id == bindparam("id"))
            .values(
                withdrawn_at_s=bindparam("at_s"),
                withdrawn_why=bindparam("why"),
                superseded_by=bindparam("replaced_by"),
            )
        )  # fmt: skip
        self._supersede = Statement(
            update(examples)
            .where(
                examples.c.prompt_digest == bindparam("digest"),
                examples.c.example_id != bindparam("id"),
                examples.c.superseded_by.is_(None),
            )
            .values(superseded_by=bindparam("id"))
        )
        self._put_dataset = Statement(upsert(datasets, key="dataset_id", change=("seq",)))
        self._dataset_items = Statement(
            select(dataset_examples.c.example_id)
            .where(dataset_examples.c.dataset_id == bindparam("id"))
            .order_by(dataset_examples.c.position)
        )
        self._insert_item = Statement(insert(dataset_examples))
        self._example_exists = Statement(
            select(examples.c.seq).where(examples.c.example_id == bindparam("id"))
        )
        self._dataset_exists = Statement(
            select(datasets.c.seq).where(datasets.c.dataset_id == bindparam("id"))
        )
        self._insert_run = Statement(insert(runs))
        self._run_state = Statement(
            select(runs.c.state, runs.c.epoch, runs.c.started_at_s, runs.c.metrics_json).where(
                runs.c.run_id == bindparam("id")
            )
        )
        self._move_run = Statement(
            update(runs)
            .where(runs.c.run_id == bindparam("id"))
            .values(
                {
                    name: bindparam(f"new_{name}")
                    for name in ("state", "epoch", "started_at_s", "ended_at_s", "who", "why", "metrics_json")
                }
            )
        )

    def by_event(self) -> Mapping[type, Callable[[Connection, Any, int, float], None]]:
        return {
            ExampleCreated: self.example_created,
            CorrectionWithdrawn: self.correction_withdrawn,
            DatasetCreated: self.dataset_created,
            RunQueued: self.run_queued,
            RunMoved: self.run_moved,
        }

    def example_created(self, connection: Connection, event: ExampleCreated, seq: int, at_s: float) -> None:
        """The newest example of a prompt is the one that counts; the same one again is taught again, also
        when it was withdrawn."""
        if not event.messages:
            raise InvalidRequest("An example needs at least the answer to learn.", param="messages")
        digest = prompt_digest(event.messages)
        self._put_example.run(
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
                "withdrawn_at_s": None,
                "withdrawn_why": None,
                "seq": seq,
            },
        )
        self._supersede.run(connection, {"digest": digest, "id": event.example_id})

    def correction_withdrawn(
        self, connection: Connection, event: CorrectionWithdrawn, seq: int, at_s: float
    ) -> None:
        """It counts no more; what it superseded stays superseded."""
        if self._example_exists.one(connection, {"id": event.example_id}) is None:
            raise NotFound(f"There is no correction {event.example_id}.", example_id=event.example_id)
        self._withdraw.run(
            connection,
            {
                "id": event.example_id,
                "at_s": at_s,
                "why": event.why,
                "replaced_by": event.replaced_by,
            },
        )

    def dataset_created(self, connection: Connection, event: DatasetCreated, seq: int, at_s: float) -> None:
        """The same dataset again is the same dataset: only its place in the log moves on."""
        self._put_dataset.run(
            connection, {"dataset_id": event.dataset_id, "name": event.name, "created_at_s": at_s, "seq": seq}
        )
        known = tuple(row[0] for row in self._dataset_items.all(connection, {"id": event.dataset_id}))
        if known:
            if known != event.example_ids:
                raise Conflict(
                    f"Dataset {event.dataset_id} exists with other examples.", dataset_id=event.dataset_id
                )
            return
        for example_id in event.example_ids:
            if self._example_exists.one(connection, {"id": example_id}) is None:
                raise NotFound(f"There is no example {example_id}.", example_id=example_id)
        self._insert_item.run_many(
            connection,
            [
                {"dataset_id": event.dataset_id, "position": position, "example_id": example_id}
                for position, example_id in enumerate(event.example_ids)
            ],
        )

    def run_queued(self, connection: Connection, event: RunQueued, seq: int, at_s: float) -> None:
        if self._dataset_exists.one(connection, {"id": event.dataset_id}) is None:
            raise NotFound(f"There is no dataset {event.dataset_id}.", dataset_id=event.dataset_id)
        self._insert_run.run(
            connection,
            {
                "run_id": event.run_id,
                "dataset_id": event.dataset_id,
                "base": event.base,
                "parent": event.parent,
                "recipe_json": msgspec.json.encode(event.recipe).decode(),
                "priority": event.priority,
                "state": "queued",
                "epoch": 0,
                "queued_at_s": at_s,
                "started_at_s": None,
                "ended_at_s": None,
                "who": "",
                "why": "",
                "metrics_json": "{}",
                "unteaches_json": msgspec.json.encode(event.unteaches).decode(),
                "seq": seq,
            },
        )

    def run_moved(self, connection: Connection, event: RunMoved, seq: int, at_s: float) -> None:
        """Refused with Conflict where `run_states` allows no such move or the epoch is of another lease."""
        row = self._run_state.one(connection, {"id": event.run_id})
        if row is None:
            raise NotFound(f"There is no run {event.run_id}.", run_id=event.run_id)
        state, epoch, started_at_s, metrics_json = row
        check_move(event.run_id, state=state, epoch=epoch, next_state=event.state, next_epoch=event.epoch)
        metrics: dict[str, Any] = msgspec.json.decode(metrics_json)
        self._move_run.run(
            connection,
            {
                "id": event.run_id,
                "new_state": event.state,
                "new_epoch": event.epoch,
                "new_started_at_s": at_s
                if event.state == "running" and started_at_s is None
                else started_at_s,
                "new_ended_at_s": at_s if event.state in ENDED else None,
                "new_who": event.who,
                "new_why": event.why,
                "new_metrics_json": msgspec.json.encode({**metrics, **event.metrics}).decode(),
            },
        )
