"""Versions: published models, and what the gate said of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from homefire.errors import ModelNotFound, NotFound
from homefire.store.connections import ReadConnections
from homefire.store.driver import Connection
from homefire.store.noun import TEXT, BodyKind, Entry, EventBase, Noun
from homefire.store.nouns import names
from homefire.store.reading import Query, Shape
from homefire.store.sql import Statement, Table
from homefire.types import ERASED_TEXT


class VersionPublished(EventBase, frozen=True, kw_only=True, tag="version.published"):
    """A version is complete, hashed, on disk, and has a name from now on."""

    version: str
    run_id: str | None
    base: str
    parent: str
    manifest_sha256: str
    digest: str
    size_bytes: int
    description: str

    bodies: ClassVar[Mapping[str, BodyKind]] = {"description": TEXT}


class VersionRemoved(EventBase, frozen=True, kw_only=True, tag="version.removed"):
    """The version's files were given up; its name is never used again."""

    version: str
    who: str
    why: str

    bodies: ClassVar[Mapping[str, BodyKind]] = {"why": TEXT}


REASONS = BodyKind(tuple[str, ...], (), (ERASED_TEXT,))
SCORES = BodyKind(dict[str, Any], {}, {})


class GateJudged(EventBase, frozen=True, kw_only=True, tag="gate.judged"):
    """The gate's verdict on a version, with reasons and scores."""

    version: str
    run_id: str | None
    passed: bool
    reasons: tuple[str, ...]
    scores: dict[str, Any]

    bodies: ClassVar[Mapping[str, BodyKind]] = {"reasons": REASONS, "scores": SCORES}


_versions = Table(
    "versions",
    {
        "version": "TEXT NOT NULL",
        "run_id": "TEXT",
        "base": "TEXT NOT NULL",
        "parent": "TEXT NOT NULL",
        "manifest_sha256": "TEXT NOT NULL",
        "digest": "TEXT NOT NULL",
        "size_bytes": "INTEGER NOT NULL",
        "created_at_s": "REAL NOT NULL",
        "removed_at_s": "REAL",
        "seq": "INTEGER NOT NULL",
    },
    key=("version",),
    indexes={"versions_by_run": "(run_id)", "versions_by_seq": "(seq)"},
)
_gates = Table(
    "gates",
    {
        "seq": "INTEGER NOT NULL",
        "version": "TEXT NOT NULL",
        "run_id": "TEXT",
        "passed": "INTEGER NOT NULL",
        "judged_at_s": "REAL NOT NULL",
    },
    key=("seq",),
    indexes={"gates_by_version": "(version, seq)"},
)
_insert = _versions.insert()
_remove = Statement(
    "UPDATE versions SET removed_at_s = :at_s WHERE version = :version AND removed_at_s IS NULL"
)
_insert_gate = _gates.insert()
_run_exists = Statement("SELECT 1 FROM runs WHERE run_id = :run_id")
_numbered = Statement(
    "SELECT version FROM versions WHERE substr(version, 1, 1) = 'v' ORDER BY length(version) DESC, version DESC"
)
manifests = Statement("SELECT version, manifest_sha256 FROM versions WHERE removed_at_s IS NULL")


def _published(connection: Connection, event: VersionPublished, entry: Entry) -> None:
    names.check_free(connection, event.version, wanted="version")
    if event.run_id is not None and _run_exists.one(connection, {"run_id": event.run_id}) is None:
        raise NotFound(f"There is no run {event.run_id}.", run_id=event.run_id)
    _insert.run(
        connection,
        {
            "version": event.version,
            "run_id": event.run_id,
            "base": event.base,
            "parent": event.parent,
            "manifest_sha256": event.manifest_sha256,
            "digest": event.digest,
            "size_bytes": event.size_bytes,
            "created_at_s": entry.at_s,
            "removed_at_s": None,
            "seq": entry.seq,
        },
    )


def _removed(connection: Connection, event: VersionRemoved, entry: Entry) -> None:
    names.check_unreferenced(connection, event.version)
    if not _remove.run(connection, {"version": event.version, "at_s": entry.at_s}):
        raise ModelNotFound(f"There is no version {event.version}.", name=event.version)


def _judged(connection: Connection, event: GateJudged, entry: Entry) -> None:
    _insert_gate.run(
        connection,
        {
            "seq": entry.seq,
            "version": event.version,
            "run_id": event.run_id,
            "passed": int(event.passed),
            "judged_at_s": entry.at_s,
        },
    )


NOUN = Noun(
    (_versions, _gates), {VersionPublished: _published, VersionRemoved: _removed, GateJudged: _judged}
)


class VersionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A published model. `gate_passed` is None until it was judged, `removed_at_s` until it was given up."""

    version: str
    run_id: str | None
    base: str
    parent: str
    manifest_sha256: str
    digest: str
    size_bytes: int
    description: str
    created_at_s: float
    removed_at_s: float | None
    gate_passed: bool | None
    gate_reasons: tuple[str, ...]
    gate_scores: dict[str, Any]


class VersionReader:
    def __init__(self, connections: ReadConnections) -> None:
        shape = Shape(
            VersionRow,
            "versions",
            bodies={
                "description": (TEXT, "versions.seq << 20"),
                "gate_reasons": (REASONS, "gates.seq << 20"),
                "gate_scores": (SCORES, "(gates.seq << 20) + 1"),
            },
            blanks=("gate_reasons", "gate_scores"),
            json={"gate_passed": bool | None},
            computed={
                # 1 and 0 are stored; as JSON they read `true` and `false`.
                "gate_passed": "CASE gates.passed WHEN 1 THEN 'true' WHEN 0 THEN 'false' END",
            },
        )
        judged = (
            "LEFT JOIN gates ON gates.seq = "
            "(SELECT max(seq) FROM gates AS judged WHERE judged.version = versions.version)"
        )
        self._connections = connections
        self._get = Query(connections, shape, f"{judged} WHERE versions.version = :version")
        self._list = Query(
            connections,
            shape,
            f"{judged} WHERE removed_at_s IS NULL ORDER BY versions.seq DESC, versions.version DESC",
        )

    def get(self, version: str) -> VersionRow | None:
        """A version, also one that was removed (`removed_at_s`)."""
        return self._get.one(version=version)

    def next_name(self) -> str:
        """`v001`, `v002`, …: one more than the greatest number ever given."""
        with self._connections.use() as connection:
            names_given = (row[0] for row in _numbered.all(connection))
            newest = next((name for name in names_given if name[1:].isdigit()), "v0")
        return f"v{int(newest[1:]) + 1:03d}"

    def list(self) -> list[VersionRow]:
        """All versions that were not removed, newest first."""
        return self._list.all()
