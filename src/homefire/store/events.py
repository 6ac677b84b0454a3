"""The vocabulary of the append-only log: everything that ever happens to a home is one of these.

A table is a fold over these events (`projections.py`) and can be rebuilt from them. A field may be added
with a default; none is ever renamed or removed, and no event is ever edited.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from homefire.types import Content, Message, Role, StopReason, Timings, Usage


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    pass


# Keys


class KeyCreated(_Event, frozen=True, kw_only=True, tag="key.created"):
    """An API key exists; only its SHA-256 is kept."""

    key_id: str
    name: str
    sha256: str


class KeyRevoked(_Event, frozen=True, kw_only=True, tag="key.revoked"):
    """The key no longer opens anything."""

    key_id: str


# Models


class ModelRegistered(_Event, frozen=True, kw_only=True, tag="model.registered"):
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


class ModelRemoved(_Event, frozen=True, kw_only=True, tag="model.removed"):
    """The name is free again; its files are the catalog's to clean up."""

    name: str


class AliasMoved(_Event, frozen=True, kw_only=True, tag="alias.moved"):
    """An alias points somewhere else. Promotion and rollback of `live` are this event.

    `is_rollback`: the move goes back to what the alias meant before, so a further rollback goes further back.
    """

    alias: str
    target: str
    previous: str | None
    who: str
    why: str
    is_rollback: bool = False


# Chat


class RecordedMessage(msgspec.Struct, frozen=True):
    """A message with its place: `digest` chains over all messages of its conversation so far."""

    message_id: str
    role: Role
    content: Content
    digest: str


class TurnAsked(_Event, frozen=True, kw_only=True, tag="turn.asked"):
    """A turn begins: what is asked is on record before anything is generated.

    `messages` are those the log did not hold yet; none where an earlier question is answered again.
    """

    turn_id: str
    session_id: str
    session_key: str
    principal: str
    channel: str
    parent_message_id: str | None
    messages: tuple[RecordedMessage, ...]
    requested_model: str
    served_model: str
    served_digest: str
    route_reason: str


Outcome = Literal["answered", "cancelled", "failed", "interrupted"]
"""How a turn ended. `interrupted`: the server stopped, or was killed, before the answer was finished."""


class TurnEnded(_Event, frozen=True, kw_only=True, tag="turn.ended"):
    """A turn is over. `answer` is what was written, whole or not; None when nothing was."""

    turn_id: str
    outcome: Outcome
    answer: RecordedMessage | None
    stop_reason: StopReason | None = None
    usage: Usage | None = None
    timings: Timings | None = None
    num_trimmed_messages: int = 0
    error_code: str | None = None
    error: str | None = None
    """What went wrong, for people."""


class FeedbackGiven(_Event, frozen=True, kw_only=True, tag="feedback.given"):
    """A person's judgement of an answer; `text` is what it should have been."""

    feedback_id: str
    turn_id: str | None
    verdict: Literal["good", "bad", "correction"]
    text: str | None
    principal: str


# Learning


class ExampleCreated(_Event, frozen=True, kw_only=True, tag="example.created"):
    """One training row; its id is the hash of its content. The last message is the answer to learn."""

    example_id: str
    profile: str
    messages: tuple[Message, ...]
    feedback_id: str | None
    turn_id: str | None
    principal: str


class CorrectionWithdrawn(_Event, frozen=True, kw_only=True, tag="correction.withdrawn"):
    """A person takes a correction back: no run learns it any more. `replaced_by`: it was edited."""

    example_id: str
    who: str
    why: str
    replaced_by: str | None = None


class DatasetCreated(_Event, frozen=True, kw_only=True, tag="dataset.created"):
    """An immutable ordered set of examples; its id is the hash of theirs."""

    dataset_id: str
    name: str
    example_ids: tuple[str, ...]


RunState = Literal["queued", "running", "paused", "done", "refused", "failed", "skipped", "stopped"]
"""`refused`: it trained to its end, and the gate held its version back."""


class RunQueued(_Event, frozen=True, kw_only=True, tag="run.queued"):
    """A training of one dataset waits for its turn."""

    run_id: str
    dataset_id: str
    base: str
    parent: str
    recipe: dict[str, Any]
    priority: Literal["high", "normal", "low"] = "normal"
    unteaches: tuple[str, ...] = ()
    """Examples that the result must not know: the run starts from the newest ancestor that never learned them,
    and its dataset is what was learned since, except them."""


class RunMoved(_Event, frozen=True, kw_only=True, tag="run.moved"):
    """A run changed state; refused by the projection where `store.run_states` allows no such move.

    `epoch` counts the leases of this run: a worker with an older one can commit nothing.
    """

    run_id: str
    state: RunState
    epoch: int
    who: str
    why: str
    metrics: dict[str, Any] = {}


class VersionPublished(_Event, frozen=True, kw_only=True, tag="version.published"):
    """A version is complete, hashed, on disk, and has a name from now on."""

    version: str
    run_id: str | None
    base: str
    parent: str
    manifest_sha256: str
    digest: str
    size_bytes: int
    description: str


class VersionRemoved(_Event, frozen=True, kw_only=True, tag="version.removed"):
    """The version's files were given up; its name is never used again."""

    version: str
    who: str
    why: str


class GateJudged(_Event, frozen=True, kw_only=True, tag="gate.judged"):
    """The gate's verdict on a version, with reasons and scores."""

    version: str
    run_id: str | None
    passed: bool
    reasons: tuple[str, ...]
    scores: dict[str, Any]


Event = (
    KeyCreated
    | KeyRevoked
    | ModelRegistered
    | ModelRemoved
    | AliasMoved
    | TurnAsked
    | TurnEnded
    | FeedbackGiven
    | ExampleCreated
    | CorrectionWithdrawn
    | DatasetCreated
    | RunQueued
    | RunMoved
    | VersionPublished
    | VersionRemoved
    | GateJudged
)
