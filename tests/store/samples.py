"""Events as tests need them, and faulty doubles of the world."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from homefire.store.driver import Connection, driver
from homefire.store.noun import body_id
from homefire.store.nouns.aliases import AliasMoved
from homefire.store.nouns.conversations import TurnAsked, TurnEnded, message_id
from homefire.store.nouns.datasets import DatasetCreated
from homefire.store.nouns.examples import ExampleCreated
from homefire.store.nouns.models import ModelRegistered
from homefire.store.nouns.runs import RunMoved, RunQueued
from homefire.store.nouns.versions import VersionPublished
from homefire.types import Message, Timings, Usage
from homefire.world import Files

IOERR_FSYNC = 1034


def turn(name: str, *, session: str = "s1", principal: str = "local", **changes: Any) -> TurnAsked:
    """A turn `name` that was asked; `changes` replace fields."""
    fields: dict[str, Any] = {
        "turn_id": f"turn-{name}",
        "session_id": session,
        "session_key": f"key-{session}",
        "principal": principal,
        "channel": "api",
        "parent_message_id": None,
        "messages": (Message("user", f"question {name}"),),
        "requested_model": "default",
        "served_model": "ember",
        "served_digest": "sha256:0",
        "route_reason": "alias",
    }
    return TurnAsked(**{**fields, **changes})


def ended(name: str, **changes: Any) -> TurnEnded:
    """The end of that turn, answered; `changes` replace fields."""
    fields: dict[str, Any] = {
        "turn_id": f"turn-{name}",
        "outcome": "answered",
        "answer": Message("assistant", f"answer {name}"),
        "stop_reason": "stop",
        "usage": Usage(prompt_tokens=10, completion_tokens=3, cached_tokens=2),
        "timings": Timings(queue_ms=0.5),
    }
    return TurnEnded(**{**fields, **changes})


def msg(seq: int, place: int = 0) -> str:
    """The identifier of a message of event `seq`."""
    return message_id(body_id(seq, place))


def whole_turn(name: str, **changes: Any) -> tuple[TurnAsked, TurnEnded]:
    """A turn that was asked and answered."""
    return turn(name, **changes), ended(name)


def model(name: str = "ember", *, digest: str = "sha256:aa", path: str = "/models/ember") -> ModelRegistered:
    return ModelRegistered(
        name=name,
        format="safetensors",
        path=path,
        digest=digest,
        files={"model.safetensors": "sha256:bb"},
        architecture="qwen3",
        num_parameters=1000,
        size_bytes=4000,
        context_length=1024,
    )


def alias(name: str, target: str, previous: str | None = None) -> AliasMoved:
    return AliasMoved(alias=name, target=target, previous=previous, who="test", why="because")


def example(name: str, *, prompt: str | None = None, answer: str = "yes") -> ExampleCreated:
    return ExampleCreated(
        example_id=f"ex-{name}",
        profile="plain",
        messages=(Message("user", prompt or f"prompt {name}"), Message("assistant", answer)),
        feedback_id=None,
        turn_id=None,
        principal="local",
    )


def dataset(name: str, *example_names: str) -> DatasetCreated:
    return DatasetCreated(
        dataset_id=f"ds-{name}", name=name, example_ids=tuple(f"ex-{one}" for one in example_names)
    )


def run(name: str, dataset_name: str, *, priority: Any = "normal") -> RunQueued:
    return RunQueued(
        run_id=f"run-{name}",
        dataset_id=f"ds-{dataset_name}",
        base="ember",
        parent="ember",
        recipe={"steps": 3},
        priority=priority,
    )


def moved(name: str, state: Any, epoch: int, **metrics: Any) -> RunMoved:
    return RunMoved(run_id=f"run-{name}", state=state, epoch=epoch, who="daemon", why="test", metrics=metrics)


def version(
    name: str = "v001", *, run_id: str | None = None, manifest_sha256: str = "0" * 64
) -> VersionPublished:
    return VersionPublished(
        version=name,
        run_id=run_id,
        base="ember",
        parent="ember",
        manifest_sha256=manifest_sha256,
        digest=f"sha256:{name}",
        size_bytes=10,
        description="",
    )


class LimitedFiles(Files):
    """The real file operations, with a stated amount of free space."""

    def __init__(self, free_bytes: int) -> None:
        self.free = free_bytes

    def free_bytes(self, path: Path) -> int:
        return self.free


class FaultyConnection:
    """A connection on which `statement` fails with this SQLite code, the next `num_times` it is run."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.statement = ""
        self.code = 0
        self.num_times = 0
        self.executed: list[str] = []

    def fail(self, statement: str, code: int, *, num_times: int = 1) -> None:
        self.statement, self.code, self.num_times = statement, code, num_times

    def execute(self, sql: str, *parameters: Any) -> Any:
        self.executed.append(sql)
        if self.num_times and sql.startswith(self.statement):
            self.num_times -= 1
            error = driver.OperationalError(f"planted failure {self.code}")
            error.sqlite_errorcode = self.code
            raise error
        return self._connection.execute(sql, *parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class PowerCutFiles(Files):
    """Remembers what a power cut would leave of a folder: flushed bytes under flushed names, nothing else.

    Stops the machine (KeyboardInterrupt stands in for it) before operation number `cut_before`.
    """

    def __init__(self, *, cut_before: int | None = None) -> None:
        self.operations: list[tuple[str, str]] = []
        self._cut_before = cut_before
        self._flushed_bytes: dict[int, bytes] = {}
        self._flushed_names: dict[Path, dict[str, int]] = {}

    def fsync_file(self, path: Path) -> None:
        self._step("fsync", path)
        self._flushed_bytes[path.stat().st_ino] = path.read_bytes()

    def fsync_directory(self, path: Path) -> None:
        self._step("fsync-directory", path)
        self.settle(path)

    def replace(self, source: Path, target: Path) -> None:
        self._step("replace", target)
        super().replace(source, target)

    def settle(self, folder: Path) -> None:
        """Count the folder's names (not the bytes of its files) as flushed."""
        self._flushed_names[folder] = {entry.name: entry.inode() for entry in os.scandir(folder)}

    def survivors(self, folder: Path) -> dict[str, bytes]:
        """Name and content of what is left of a folder; unflushed bytes read as empty."""
        names = self._flushed_names.get(folder, {})
        return {name: self._flushed_bytes.get(inode, b"") for name, inode in names.items()}

    def _step(self, operation: str, path: Path) -> None:
        if len(self.operations) == self._cut_before:
            raise KeyboardInterrupt
        self.operations.append((operation, path.name))
