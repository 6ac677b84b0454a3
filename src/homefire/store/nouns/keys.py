"""API keys. Only the SHA-256 of a key is kept."""

from __future__ import annotations

import msgspec

from homefire.errors import NotFound
from homefire.store.connections import ReadConnections
from homefire.store.driver import Connection
from homefire.store.noun import Entry, EventBase, Noun
from homefire.store.reading import Query, Shape
from homefire.store.sql import Statement, Table


class KeyCreated(EventBase, frozen=True, kw_only=True, tag="key.created"):
    """An API key exists; only its SHA-256 is kept."""

    key_id: str
    name: str
    sha256: str


class KeyRevoked(EventBase, frozen=True, kw_only=True, tag="key.revoked"):
    """The key no longer opens anything."""

    key_id: str


_keys = Table(
    "keys",
    {
        "key_id": "TEXT NOT NULL",
        "name": "TEXT NOT NULL",
        "sha256": "TEXT NOT NULL UNIQUE",
        "created_at_s": "REAL NOT NULL",
        "revoked_at_s": "REAL",
    },
    key=("key_id",),
)
_insert = _keys.insert()
_revoke = Statement("UPDATE keys SET revoked_at_s = :at_s WHERE key_id = :key_id AND revoked_at_s IS NULL")


def _created(connection: Connection, event: KeyCreated, entry: Entry) -> None:
    _insert.run(
        connection,
        {
            "key_id": event.key_id,
            "name": event.name,
            "sha256": event.sha256,
            "created_at_s": entry.at_s,
            "revoked_at_s": None,
        },
    )


def _revoked(connection: Connection, event: KeyRevoked, entry: Entry) -> None:
    if not _revoke.run(connection, {"key_id": event.key_id, "at_s": entry.at_s}):
        raise NotFound(f"There is no key {event.key_id}, or it is revoked already.", key_id=event.key_id)


NOUN = Noun((_keys,), {KeyCreated: _created, KeyRevoked: _revoked})


class KeyRow(msgspec.Struct, frozen=True, kw_only=True):
    key_id: str
    name: str
    sha256: str
    created_at_s: float
    revoked_at_s: float | None


class KeyReader:
    """API keys, by the SHA-256 of their text."""

    def __init__(self, connections: ReadConnections) -> None:
        shape = Shape(KeyRow, "keys")
        self._find = Query(connections, shape, "WHERE sha256 = :sha256 AND revoked_at_s IS NULL")
        self._list = Query(connections, shape, "ORDER BY created_at_s, key_id")

    def find(self, sha256: str) -> KeyRow | None:
        """The key that is not revoked and has this hash (hex)."""
        return self._find.one(sha256=sha256)

    def list(self) -> list[KeyRow]:
        """All keys, revoked ones too, oldest first."""
        return self._list.all()
