"""What a noun of the log is made of: events, tables, and the folds that make the one into the other.

A fold runs inside the transaction that records its event and may refuse it with a typed error; that is how
state machines and compare-and-set are enforced. It depends only on the event, its entry in the log, and
the tables: replaying the log gives the same tables, byte for byte.

What a person wrote or a model answered is a *body* of its event: it is kept apart, once, so that it can be erased
(`log.py`). An event names its bodies in `bodies`, or takes itself apart in `split` and `join`. A fold sees the event
without them, keeps their places, and may look at their bytes, which are empty where they were erased.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import msgspec

from homefire.store.digest import encode
from homefire.store.driver import Connection
from homefire.store.sql import Table
from homefire.types import ERASED_TEXT

MAX_BODIES = 1 << 20
MAX_RECENT = 1000
_PLACE_BITS = 20


def body_id(seq: int, place: int) -> int:
    """The key of the body number `place` (from 0) of event `seq`."""
    return seq << _PLACE_BITS | place


def seq_of(body: int) -> int:
    """The event that a body belongs to."""
    return body >> _PLACE_BITS


class BodyKind(msgspec.Struct, frozen=True):
    """What a body holds: its type, what stands for it in the skeleton, and what is read once it is erased."""

    type: Any
    blank: Any
    erased: Any

    def decode(self, data: bytes) -> Any:
        """The content; `erased` for no bytes."""
        return msgspec.json.decode(data, type=self.type) if data else self.erased


TEXT = BodyKind(str, "", ERASED_TEXT)


class EventBase(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """What happened once. A field may be added with a default; none is renamed or removed."""

    bodies: ClassVar[Mapping[str, BodyKind]] = {}
    """Fields that are bodies. One that is None has no body."""

    def split(self) -> tuple[Self, list[bytes]]:
        """The event without its bodies, and these as JSON."""
        found = {name: value for name in self.bodies if (value := getattr(self, name)) is not None}
        if not found:
            return self, []
        blank = {name: self.bodies[name].blank for name in found}
        return msgspec.structs.replace(self, **blank), [encode(value) for value in found.values()]

    def join(self, contents: Sequence[bytes]) -> Self:
        """The event with its bodies, the inverse of `split`; no bytes for one that was erased."""
        if not self.bodies:
            return self
        names = [name for name in self.bodies if getattr(self, name) is not None]
        values = {name: self.bodies[name].decode(data) for name, data in zip(names, contents, strict=True)}
        return msgspec.structs.replace(self, **values)


class Recent(dict[Any, Any]):
    """Rows that folds wrote lately, under keys of their own, so that the next fold need not look them up.

    It only repeats what the tables hold: whoever rolls back, or changes such rows otherwise, clears it.
    """

    def keep(self, key: Any, row: Any) -> None:
        """Remember a row; all others go where there are too many."""
        if len(self) >= MAX_RECENT:
            self.clear()
        self[key] = row


class Entry(msgspec.Struct, frozen=True):
    """Where an event stands in the log: its place, its time (seconds, Unix epoch), its bodies as JSON."""

    seq: int
    at_s: float
    contents: Sequence[bytes]
    recent: Recent

    def body(self, place: int = 0) -> int:
        """The key of its body number `place`."""
        return self.seq << _PLACE_BITS | place


Fold = Callable[[Connection, Any, Entry], None]
"""`(connection, event without its bodies, entry)`"""


@dataclass(frozen=True, slots=True)
class Noun:
    """Its tables, parents before children, and a fold for each of its events."""

    tables: tuple[Table, ...]
    folds: Mapping[type[EventBase], Fold]


def to_json(value: Any) -> str:
    """JSON with one form for one value: keys are sorted."""
    return msgspec.json.encode(value, order="sorted").decode()
