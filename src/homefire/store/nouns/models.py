"""Base models: weights that were brought here."""

from __future__ import annotations

from typing import Literal

import msgspec

from homefire.errors import Conflict, ModelNotFound
from homefire.store.connections import ReadConnections
from homefire.store.driver import Connection
from homefire.store.noun import Entry, EventBase, Noun, to_json
from homefire.store.nouns import names
from homefire.store.reading import Query, Shape
from homefire.store.sql import Statement, Table


class ModelRegistered(EventBase, frozen=True, kw_only=True, tag="model.registered"):
    """A base model may be named from now on. `files` maps relative path to `sha256:…`."""

    name: str
    format: Literal["safetensors", "gguf"]
    path: str
    digest: str
    files: dict[str, str]
    architecture: str
    num_parameters: int
    size_bytes: int
    context_length: int


class ModelRemoved(EventBase, frozen=True, kw_only=True, tag="model.removed"):
    """The name is free again; its files are the catalog's to clean up."""

    name: str


_models = Table(
    "models",
    {
        "name": "TEXT NOT NULL",
        "format": "TEXT NOT NULL",
        "path": "TEXT NOT NULL",
        "digest": "TEXT NOT NULL",
        "files_json": "TEXT NOT NULL",
        "architecture": "TEXT NOT NULL",
        "num_parameters": "INTEGER NOT NULL",
        "size_bytes": "INTEGER NOT NULL",
        "context_length": "INTEGER NOT NULL",
        "created_at_s": "REAL NOT NULL",
    },
    key=("name",),
)
_put = _models.put(
    change=(
        "format", "path", "files_json", "architecture", "num_parameters", "size_bytes", "context_length"
    ),
    where="models.digest = excluded.digest",
)  # fmt: skip
_delete = Statement("DELETE FROM models WHERE name = :name")


def _registered(connection: Connection, event: ModelRegistered, entry: Entry) -> None:
    """A name may be registered again (a moved folder), but never for other weights."""
    names.check_free(connection, event.name, wanted="model")
    put = _put.run(
        connection,
        {
            "name": event.name,
            "format": event.format,
            "path": event.path,
            "digest": event.digest,
            "files_json": to_json(event.files),
            "architecture": event.architecture,
            "num_parameters": event.num_parameters,
            "size_bytes": event.size_bytes,
            "context_length": event.context_length,
            "created_at_s": entry.at_s,
        },
    )
    if not put:
        raise Conflict(
            f"The name {event.name} belongs to a model with other weights.",
            hint="Choose another name, or remove that model first.",
            name=event.name,
        )


def _removed(connection: Connection, event: ModelRemoved, entry: Entry) -> None:
    names.check_unreferenced(connection, event.name)
    if not _delete.run(connection, {"name": event.name}):
        raise ModelNotFound(f"There is no model {event.name}.", name=event.name)


NOUN = Noun((_models,), {ModelRegistered: _registered, ModelRemoved: _removed})


class ModelRow(msgspec.Struct, frozen=True, kw_only=True):
    """A registered base model. `files` maps relative path to `sha256:…`."""

    name: str
    format: Literal["safetensors", "gguf"]
    path: str
    digest: str
    files: dict[str, str]
    architecture: str
    num_parameters: int
    size_bytes: int
    context_length: int
    created_at_s: float


class ModelReader:
    def __init__(self, connections: ReadConnections) -> None:
        shape = Shape(ModelRow, "models", json={"files": dict[str, str]})
        self._get = Query(connections, shape, "WHERE name = :name")
        self._list = Query(connections, shape, "ORDER BY name")

    def get(self, name: str) -> ModelRow | None:
        return self._get.one(name=name)

    def list(self) -> list[ModelRow]:
        """All registered base models by name."""
        return self._list.all()
