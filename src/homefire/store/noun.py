"""What a noun of the log is made of: events, tables, and the folds that make the one into the other.

A fold runs inside the transaction that records its event and may refuse it with a typed error; that is how
state machines and compare-and-set are enforced. It depends only on the event, its place and time, and
the tables: replaying the log gives the same tables, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from homefire.store.driver import Connection
from homefire.store.sql import Table


class EventBase(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """What happened once. A field may be added with a default; none is renamed or removed."""


Fold = Callable[[Connection, Any, int, float], None]
"""`(connection, event, seq, at_s)`"""


@dataclass(frozen=True, slots=True)
class Noun:
    """Its tables, parents before children, and a fold for each of its events."""

    tables: tuple[Table, ...]
    folds: Mapping[type[EventBase], Fold]


def to_json(value: Any) -> str:
    """JSON with one form for one value: keys are sorted."""
    return msgspec.json.encode(value, order="sorted").decode()


def json_or_none(value: Any) -> str | None:
    """`to_json`, except that None stays None."""
    return None if value is None else to_json(value)
