"""Losses: acknowledged events that a start found gone. They cannot be brought back, and must not be forgotten."""

from __future__ import annotations

import msgspec

from homefire.store.connections import ReadConnections
from homefire.store.driver import Connection
from homefire.store.noun import Entry, EventBase, Noun
from homefire.store.reading import Query, Shape
from homefire.store.sql import Table


class EventsLost(EventBase, frozen=True, kw_only=True, tag="events.lost"):
    """The log ended at `last_seq`, and the witness (`store.witness`) said that `witnessed_seq` was committed."""

    last_seq: int
    witnessed_seq: int


_losses = Table(
    "losses",
    {
        "seq": "INTEGER NOT NULL",
        "at_s": "REAL NOT NULL",
        "last_seq": "INTEGER NOT NULL",
        "witnessed_seq": "INTEGER NOT NULL",
    },
    key=("seq",),
)
_insert = _losses.insert()


def _lost(connection: Connection, event: EventsLost, entry: Entry) -> None:
    _insert.run(
        connection,
        {
            "seq": entry.seq,
            "at_s": entry.at_s,
            "last_seq": event.last_seq,
            "witnessed_seq": event.witnessed_seq,
        },
    )


NOUN = Noun((_losses,), {EventsLost: _lost})


class LossRow(msgspec.Struct, frozen=True, kw_only=True):
    """One loss, noticed at `at_s`."""

    seq: int
    at_s: float
    last_seq: int
    witnessed_seq: int

    @property
    def num_events(self) -> int:
        """How many are gone; where it is not positive the log was another one of that length or more."""
        return self.witnessed_seq - self.last_seq


class LossReader:
    """All losses, oldest first."""

    def __init__(self, connections: ReadConnections) -> None:
        self._list = Query(connections, Shape(LossRow, "losses"), "ORDER BY seq")

    def list(self) -> list[LossRow]:
        return self._list.all()
