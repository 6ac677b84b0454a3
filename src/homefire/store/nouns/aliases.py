"""Aliases: names that point at models, versions or other aliases. Promotion of `live` is a move of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from homefire.errors import Conflict, ModelNotFound
from homefire.store.connections import ReadConnections
from homefire.store.driver import Connection
from homefire.store.noun import TEXT, BodyKind, Entry, EventBase, Noun
from homefire.store.nouns import names
from homefire.store.reading import Query, Shape
from homefire.store.sql import Statement, Table


class AliasMoved(EventBase, frozen=True, kw_only=True, tag="alias.moved"):
    """An alias points somewhere else. Promotion and rollback of `live` are this event.

    `is_rollback`: the move goes back to what the alias meant before, so a further rollback goes further back.
    """

    alias: str
    target: str
    previous: str | None
    who: str
    why: str
    is_rollback: bool = False

    bodies: ClassVar[Mapping[str, BodyKind]] = {"why": TEXT}


_COLUMNS = {
    "alias": "TEXT NOT NULL",
    "target": "TEXT NOT NULL",
    "previous": "TEXT",
    "who": "TEXT NOT NULL",
    "seq": "INTEGER NOT NULL",
    "moved_at_s": "REAL NOT NULL",
    "is_rollback": "INTEGER NOT NULL",
}
_aliases = Table("aliases", _COLUMNS, key=("alias",))
_moves = Table("alias_moves", _COLUMNS, key=("seq",), indexes={"alias_moves_by_alias": "(alias, seq)"})
_put = _aliases.put(change=("target", "previous", "who", "seq", "moved_at_s", "is_rollback"))
_insert_move = _moves.insert()
_target = Statement("SELECT target FROM aliases WHERE alias = :alias")


def _moved(connection: Connection, event: AliasMoved, entry: Entry) -> None:
    """Compare-and-set: the alias must still point at `previous`."""
    names.check_free(connection, event.alias, wanted="alias")
    current = _target_of(connection, event.alias)
    if current != event.previous:
        raise Conflict(
            f"Alias {event.alias} points at {current or 'nothing'}, not at "
            f"{event.previous or 'nothing'}: it was moved meanwhile.",
            alias=event.alias,
            current=current,
            expected=event.previous,
        )
    if not names.exists(connection, event.target):
        raise ModelNotFound(f"There is no model, version or alias {event.target}.", name=event.target)
    _check_acyclic(connection, event)
    row = {
        "alias": event.alias,
        "target": event.target,
        "previous": event.previous,
        "who": event.who,
        "seq": entry.seq,
        "moved_at_s": entry.at_s,
        "is_rollback": int(event.is_rollback),
    }
    _put.run(connection, row)
    _insert_move.run(connection, row)


def _target_of(connection: Connection, alias: str) -> str | None:
    row = _target.one(connection, {"alias": alias})
    return None if row is None else str(row[0])


def _check_acyclic(connection: Connection, event: AliasMoved) -> None:
    name: str | None = event.target
    while name is not None:
        if name == event.alias:
            raise Conflict(
                f"Alias {event.alias} cannot point at {event.target}, which leads back to it.",
                alias=event.alias,
                target=event.target,
            )
        name = _target_of(connection, name)


NOUN = Noun((_aliases, _moves), {AliasMoved: _moved})


class AliasRow(msgspec.Struct, frozen=True, kw_only=True):
    """Where an alias points since its last move, or one move of its history."""

    alias: str
    target: str
    previous: str | None
    who: str
    why: str
    seq: int
    moved_at_s: float
    is_rollback: bool


class AliasReader:
    def __init__(self, connections: ReadConnections) -> None:
        shape = _shape("aliases")
        self._get = Query(connections, shape, "WHERE alias = :alias")
        self._list = Query(connections, shape, "ORDER BY alias")
        self._history = Query(connections, _shape("alias_moves"), "WHERE alias = :alias ORDER BY seq DESC")

    def get(self, name: str) -> AliasRow | None:
        return self._get.one(alias=name)

    def history(self, name: str) -> list[AliasRow]:
        """All moves of an alias, newest first."""
        return self._history.all(alias=name)

    def list(self) -> list[AliasRow]:
        """All aliases by name."""
        return self._list.all()


def _shape(table: str) -> Shape[AliasRow]:
    # 1 and 0 are stored; as JSON they read `true` and `false`.
    is_rollback = f"CASE {table}.is_rollback WHEN 1 THEN 'true' ELSE 'false' END"
    return Shape(
        AliasRow,
        table,
        json={"is_rollback": bool},
        computed={"is_rollback": is_rollback},
        bodies={"why": (TEXT, f"{table}.seq << 20")},
    )
