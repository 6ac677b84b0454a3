"""Datasets: immutable ordered sets of examples."""

from __future__ import annotations

import msgspec

from homefire.errors import Conflict, NotFound
from homefire.store.connections import ReadConnections
from homefire.store.driver import Connection
from homefire.store.noun import Entry, EventBase, Noun
from homefire.store.sql import Statement, Table


class DatasetCreated(EventBase, frozen=True, kw_only=True, tag="dataset.created"):
    """An immutable ordered set of examples; its id is the hash of theirs."""

    dataset_id: str
    name: str
    example_ids: tuple[str, ...]


_datasets = Table(
    "datasets",
    {
        "dataset_id": "TEXT NOT NULL",
        "name": "TEXT NOT NULL",
        "created_at_s": "REAL NOT NULL",
        "seq": "INTEGER NOT NULL",
    },
    key=("dataset_id",),
)
_members = Table(
    "dataset_examples",
    {"dataset_id": "TEXT NOT NULL", "position": "INTEGER NOT NULL", "example_id": "TEXT NOT NULL"},
    key=("dataset_id", "position"),
    indexes={"dataset_examples_by_example": "(example_id)"},
)
_put = _datasets.put(change=("seq",))
_insert_member = _members.insert()
_member_ids = Statement(
    "SELECT example_id FROM dataset_examples WHERE dataset_id = :dataset_id ORDER BY position"
)
_example_exists = Statement("SELECT 1 FROM examples WHERE example_id = :example_id")
_one = Statement("SELECT dataset_id, name, created_at_s FROM datasets WHERE dataset_id = :dataset_id")


def _created(connection: Connection, event: DatasetCreated, entry: Entry) -> None:
    """The same dataset again is the same dataset: only its place in the log moves on."""
    _put.run(
        connection,
        {"dataset_id": event.dataset_id, "name": event.name, "created_at_s": entry.at_s, "seq": entry.seq},
    )
    known = tuple(row[0] for row in _member_ids.all(connection, {"dataset_id": event.dataset_id}))
    if known:
        if known != event.example_ids:
            raise Conflict(
                f"Dataset {event.dataset_id} exists with other examples.", dataset_id=event.dataset_id
            )
        return
    for example_id in event.example_ids:
        if _example_exists.one(connection, {"example_id": example_id}) is None:
            raise NotFound(f"There is no example {example_id}.", example_id=example_id)
    _insert_member.run_many(
        connection,
        [
            {"dataset_id": event.dataset_id, "position": position, "example_id": example_id}
            for position, example_id in enumerate(event.example_ids)
        ],
    )


NOUN = Noun((_datasets, _members), {DatasetCreated: _created})


class DatasetRow(msgspec.Struct, frozen=True, kw_only=True):
    """An immutable ordered set of examples."""

    dataset_id: str
    name: str
    created_at_s: float
    example_ids: tuple[str, ...]


class DatasetReader:
    def __init__(self, connections: ReadConnections) -> None:
        self._connections = connections

    def get(self, dataset_id: str) -> DatasetRow | None:
        with self._connections.use() as connection:
            row = _one.one(connection, {"dataset_id": dataset_id})
            members = _member_ids.all(connection, {"dataset_id": dataset_id})
        if row is None:
            return None
        return DatasetRow(
            dataset_id=row[0], name=row[1], created_at_s=row[2], example_ids=tuple(one for (one,) in members)
        )
