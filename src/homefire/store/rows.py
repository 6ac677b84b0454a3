"""What readers return: frozen rows of the projections. Times are seconds since the Unix epoch."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from homefire.store.events import Outcome, RunState
from homefire.types import Content, Message, Role, StopReason, Timings, Usage

Verdict = Literal["good", "bad", "correction"]


class KeyRow(msgspec.Struct, frozen=True, kw_only=True):
    key_id: str
    name: str
    sha256: str
    created_at_s: float
    revoked_at_s: float | None


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


class AliasRow(msgspec.Struct, frozen=True, kw_only=True):
    """Where an alias points since its last move, or one move of its history."""

    alias: str
    target: str
    previous: str | None
    who: str
    why: str
    seq: int
    moved_at_s: float
    is_rollback: bool = False


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One conversation. `tip_message_id` is its newest answer, from which it goes on; None before the first."""

    session_id: str
    key: str
    principal: str
    channel: str
    title: str
    created_at_s: float
    updated_at_s: float
    tip_message_id: str | None
    num_turns: int
    seq: int
    """The place of its newest turn in the log: a page marker."""


class MessageRow(msgspec.Struct, frozen=True, kw_only=True):
    message_id: str
    session_id: str
    parent_id: str | None
    role: Role
    content: Content
    digest: str
    created_at_s: float

    @property
    def message(self) -> Message:
        """What was said, without its place."""
        return Message(self.role, self.content)


class TurnRow(msgspec.Struct, frozen=True, kw_only=True):
    """One turn. `outcome` is None while it is under way; `verdict` is the latest feedback on it."""

    turn_id: str
    seq: int
    at_s: float
    session_id: str
    session_key: str
    principal: str
    channel: str
    parent_message_id: str | None
    user_message_id: str | None
    answer_message_id: str | None
    requested_model: str
    served_model: str
    served_digest: str
    route_reason: str
    outcome: Outcome | None
    stop_reason: StopReason | None
    usage: Usage | None
    timings: Timings | None
    num_trimmed_messages: int
    error_code: str | None
    error: str | None
    verdict: Verdict | None


class FeedbackRow(msgspec.Struct, frozen=True, kw_only=True):
    feedback_id: str
    turn_id: str | None
    verdict: Verdict
    text: str | None
    principal: str
    created_at_s: float


class ExampleRow(msgspec.Struct, frozen=True, kw_only=True):
    """One training row. `prompt_digest` is over all messages but the last; the newest example of a prompt
    supersedes the older ones. `seq` is where it was (last) taught: a page marker."""

    example_id: str
    profile: str
    messages: tuple[Message, ...]
    prompt_digest: str
    feedback_id: str | None
    turn_id: str | None
    principal: str
    created_at_s: float
    superseded_by: str | None
    withdrawn_at_s: float | None = None
    withdrawn_why: str | None = None
    seq: int = 0

    @property
    def counts(self) -> bool:
        """Whether it is to be known: neither corrected again nor withdrawn."""
        return self.superseded_by is None and self.withdrawn_at_s is None

    @property
    def question(self) -> str:
        """What was asked last; empty where nothing was."""
        return self.messages[-2].text if len(self.messages) > 1 else ""

    @property
    def answer(self) -> str:
        """What is to be learned."""
        return self.messages[-1].text


class DatasetRow(msgspec.Struct, frozen=True, kw_only=True):
    """An immutable ordered set of examples."""

    dataset_id: str
    name: str
    created_at_s: float
    example_ids: tuple[str, ...]


class RunRow(msgspec.Struct, frozen=True, kw_only=True):
    """One training of one dataset. `epoch` counts its leases; `version` is what it published."""

    run_id: str
    dataset_id: str
    base: str
    parent: str
    recipe: dict[str, Any]
    priority: Literal["high", "normal", "low"]
    state: RunState
    epoch: int
    queued_at_s: float
    started_at_s: float | None
    ended_at_s: float | None
    who: str
    why: str
    metrics: dict[str, Any]
    version: str | None
    unteaches: tuple[str, ...] = ()
    """Examples that the result must not know."""


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
