"""What the planner says: effects to carry out, why a request was refused, and why one waits."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec


@dataclass(frozen=True, slots=True)
class Prepare:
    """Get the model's files and an engine for them, and ask what it needs. Takes no memory of the budget."""

    model: str


@dataclass(frozen=True, slots=True)
class Load:
    """Load a prepared model; its room is reserved."""

    model: str


@dataclass(frozen=True, slots=True)
class Sleep:
    """Have the engine give its memory back and keep what makes waking quick."""

    model: str


@dataclass(frozen=True, slots=True)
class Wake:
    """Undo `Sleep`; its room is reserved."""

    model: str


@dataclass(frozen=True, slots=True)
class Evict:
    """Stop the engine, whatever it is doing (preparing and loading included), and drop it."""

    model: str


@dataclass(frozen=True, slots=True)
class Start:
    """Let this request through to its model, which is ready."""

    ticket: int
    waited_s: float = 0.0
    load_s: float = 0.0
    """The part of the wait in which the model was prepared or loaded."""


@dataclass(frozen=True, slots=True)
class ParkTraining:
    """Have training give its memory back; chat needs it."""


@dataclass(frozen=True, slots=True)
class ResumeTraining:
    """Training may continue; its memory is reserved."""


@dataclass(frozen=True, slots=True)
class QueueIsFull:
    """The request was not taken: `num_waiting` wait already."""

    num_waiting: int
    retry_after_s: int


@dataclass(frozen=True, slots=True)
class NeverFits:
    """The model needs more than the whole budget."""

    model: str
    """Its name."""
    need_bytes: int
    budget_bytes: int


@dataclass(frozen=True, slots=True)
class Expired:
    """The deadline passed while the request waited; `reason` says for what."""

    waited_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """The model could not be loaded; `error` is what was reported."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Stopping:
    """The server ends."""


Cause = QueueIsFull | NeverFits | Expired | LoadFailed | Stopping


@dataclass(frozen=True, slots=True)
class Refuse:
    """This request is not started, and why."""

    ticket: int
    cause: Cause


Effect = Prepare | Load | Sleep | Wake | Evict | Start | Refuse | ParkTraining | ResumeTraining
Effects = tuple[Effect, ...]


class WaitingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request in the queue, as `status` shows it."""

    ticket: int
    """The planner's number for it."""
    model: str
    position: int
    """1 is served first."""
    reason: str
    """What it waits for, in words."""
    waited_s: float
