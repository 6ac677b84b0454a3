"""Runs: trainings of one dataset each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import msgspec

from homefire.errors import NotFound
from homefire.store.connections import ReadConnections
from homefire.store.driver import Connection
from homefire.store.noun import TEXT, BodyKind, Entry, EventBase, Noun
from homefire.store.reading import Query, Shape
from homefire.store.run_states import ENDED, RunState, check_move
from homefire.store.sql import Statement, Table

Priority = Literal["high", "normal", "low"]


class RunQueued(EventBase, frozen=True, kw_only=True, tag="run.queued"):
    """A training of one dataset waits for its turn."""

    run_id: str
    dataset_id: str
    base: str
    parent: str
    recipe: dict[str, Any]
    priority: Priority = "normal"
    unteaches: tuple[str, ...] = ()
    """Examples that the result must not know: the run starts from the newest ancestor that never learned them,
    and its dataset is what was learned since, except them."""


class RunMoved(EventBase, frozen=True, kw_only=True, tag="run.moved"):
    """A run changed state; refused where `store.run_states` allows no such move.

    `epoch` counts the leases of this run: a worker with an older one can commit nothing. Of `parent`, `attempts`
    and `step`, None leaves what is known; `metrics` are figures for people, nothing is decided by them.
    """

    run_id: str
    state: RunState
    epoch: int
    who: str
    why: str
    parent: str | None = None
    """What the run really starts from, fixed at its first lease."""
    attempts: int | None = None
    """Failures in a row without a new checkpoint."""
    step: int | None = None
    """Of the newest checkpoint: where the run continues."""
    metrics: dict[str, Any] = msgspec.field(default_factory=dict)

    bodies: ClassVar[Mapping[str, BodyKind]] = {"why": TEXT}


_runs = Table(
    "runs",
    {
        "run_id": "TEXT NOT NULL",
        "dataset_id": "TEXT NOT NULL",
        "base": "TEXT NOT NULL",
        "parent": "TEXT NOT NULL",
        "recipe_json": "TEXT NOT NULL",
        "priority": "TEXT NOT NULL",
        "state": "TEXT NOT NULL",
        "epoch": "INTEGER NOT NULL",
        "queued_at_s": "REAL NOT NULL",
        "started_at_s": "REAL",
        "ended_at_s": "REAL",
        "attempts": "INTEGER NOT NULL",
        "step": "INTEGER NOT NULL",
        "who": "TEXT NOT NULL",
        "moved": "INTEGER",
        "metrics_json": "TEXT NOT NULL",
        "unteaches_json": "TEXT NOT NULL",
        "seq": "INTEGER NOT NULL",
    },
    key=("run_id",),
    indexes={"runs_by_dataset": "(dataset_id, seq)", "runs_by_state": "(state, seq)"},
)
_insert = _runs.insert()
_dataset_exists = Statement("SELECT 1 FROM datasets WHERE dataset_id = :dataset_id")
_standing = Statement(
    "SELECT state, epoch, started_at_s, metrics_json, parent, attempts, step FROM runs WHERE run_id = :run_id"
)
_move = Statement(
    "UPDATE runs SET state = :state, epoch = :epoch, started_at_s = :started_at_s, ended_at_s = :ended_at_s, "
    "who = :who, moved = :moved, metrics_json = :metrics_json, parent = :parent, attempts = :attempts, step = :step "
    "WHERE run_id = :run_id"
)


def _queued(connection: Connection, event: RunQueued, entry: Entry) -> None:
    if _dataset_exists.one(connection, {"dataset_id": event.dataset_id}) is None:
        raise NotFound(f"There is no dataset {event.dataset_id}.", dataset_id=event.dataset_id)
    _insert.run(
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
            "queued_at_s": entry.at_s,
            "started_at_s": None,
            "ended_at_s": None,
            "attempts": 0,
            "step": 0,
            "who": "",
            "moved": None,
            "metrics_json": "{}",
            "unteaches_json": msgspec.json.encode(event.unteaches).decode(),
            "seq": entry.seq,
        },
    )


def _moved(connection: Connection, event: RunMoved, entry: Entry) -> None:
    """Refused with Conflict where `run_states` allows no such move or the epoch is of another lease."""
    row = _standing.one(connection, {"run_id": event.run_id})
    if row is None:
        raise NotFound(f"There is no run {event.run_id}.", run_id=event.run_id)
    state, epoch, started_at_s, metrics_json, parent, attempts, step = row
    check_move(event.run_id, state=state, epoch=epoch, next_state=event.state, next_epoch=event.epoch)
    metrics: dict[str, Any] = msgspec.json.decode(metrics_json)
    _move.run(
        connection,
        {
            "run_id": event.run_id,
            "state": event.state,
            "epoch": event.epoch,
            "started_at_s": entry.at_s if event.state == "running" and started_at_s is None else started_at_s,
            "ended_at_s": entry.at_s if event.state in ENDED else None,
            "who": event.who,
            "moved": entry.seq,
            "metrics_json": msgspec.json.encode({**metrics, **event.metrics}).decode(),
            "parent": parent if event.parent is None else event.parent,
            "attempts": attempts if event.attempts is None else event.attempts,
            "step": step if event.step is None else event.step,
        },
    )


NOUN = Noun((_runs,), {RunQueued: _queued, RunMoved: _moved})


class RunRow(msgspec.Struct, frozen=True, kw_only=True):
    """One training of one dataset. `epoch` counts its leases; `version` is what it published.

    `parent` is what was live when it was queued, and from its first lease on what it starts from.
    """

    run_id: str
    dataset_id: str
    base: str
    parent: str
    recipe: dict[str, Any]
    priority: Priority
    state: RunState
    epoch: int
    queued_at_s: float
    started_at_s: float | None
    ended_at_s: float | None
    attempts: int
    """Failures in a row without a new checkpoint."""
    step: int
    """Of the newest checkpoint."""
    who: str
    why: str
    """Of the last move."""
    metrics: dict[str, Any]
    version: str | None
    unteaches: tuple[str, ...] = ()
    """Examples that the result must not know."""


class RunReader:
    def __init__(self, connections: ReadConnections) -> None:
        shape = Shape(
            RunRow,
            "runs",
            json={"recipe": dict[str, Any], "metrics": dict[str, Any], "unteaches": tuple[str, ...]},
            bodies={"why": (TEXT, "runs.moved << 20")},
            blanks=("why",),
            computed={
                "version": "(SELECT version FROM versions WHERE versions.run_id = runs.run_id "
                "ORDER BY seq DESC LIMIT 1)"
            },
        )
        newest_first = "ORDER BY runs.seq DESC, runs.run_id DESC"
        self._get = Query(connections, shape, "WHERE run_id = :run_id")
        self._list = Query(connections, shape, newest_first)
        self._in_state = Query(connections, shape, f"WHERE state = :state {newest_first}")
        self._of_example = Query(
            connections,
            shape,
            "WHERE dataset_id IN (SELECT dataset_id FROM dataset_examples WHERE example_id = :example_id) "
            f"{newest_first}",
        )

    def get(self, run_id: str) -> RunRow | None:
        return self._get.one(run_id=run_id)

    def of_example(self, example_id: str) -> list[RunRow]:
        """The runs whose dataset holds this example, newest first."""
        return self._of_example.all(example_id=example_id)

    def list(self, state: RunState | None = None) -> list[RunRow]:
        """All runs (in this state), newest first."""
        return self._list.all() if state is None else self._in_state.all(state=state)
