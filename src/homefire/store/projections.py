"""How each event changes the tables: the fold that live appends, rebuilds and checks share.

A fold function runs inside the transaction that records its event and may refuse it with a typed error; that
is how state machines and compare-and-set are enforced. It depends on nothing but the event, its place and
time, and the tables: replaying the log gives the same tables, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from homefire.store.driver import Connection
from homefire.store.fold_chat import ChatFolds
from homefire.store.fold_learning import LearningFolds
from homefire.store.fold_models import ModelFolds
from homefire.store.log import Recorded
from homefire.store.sql import Statement
from homefire.store.tables import PROJECTIONS

Fold = Callable[[Connection, Any, int, float], None]
"""`(connection, event, seq, at_s)`"""


class Projector:
    """All folds, with their statements compiled once. Holds no state: connections are passed in."""

    def __init__(self) -> None:
        folds: dict[type, Fold] = {}
        for part in (ModelFolds(), ChatFolds(), LearningFolds()):
            folds.update(part.by_event())
        self._folds: Mapping[type, Fold] = folds
        self._clear = [Statement(table.delete()) for table in reversed(PROJECTIONS)]

    def apply(self, connection: Connection, recorded: Recorded) -> None:
        """Fold one event into the tables. Raises NotFound, Conflict or Forbidden when it cannot be."""
        event = recorded.event
        self._folds[type(event)](connection, event, recorded.seq, recorded.at_s)

    def clear(self, connection: Connection) -> None:
        """Empty every projection; the log stays."""
        for statement in self._clear:
            statement.run(connection)
