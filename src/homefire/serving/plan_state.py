"""What the planner keeps of each model and each request, and how it says why one waits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

State = Literal["preparing", "prepared", "loading", "ready", "sleeping", "asleep", "waking", "evicting"]
Training = Literal["none", "running", "parking", "parked", "resuming", "unparkable"]
Why = Literal["preparing", "loading", "unloading", "slot", "room", "turn"]


@dataclass(slots=True, eq=False)
class Model:
    """What the planner knows of a model that somebody asked for."""

    key: str
    state: State = "preparing"
    need_bytes: int = 0
    """While loaded; 0 for a model on another server, which takes no room."""
    held_bytes: int = 0
    num_slots: int = 1
    can_sleep: bool = False
    num_used_slots: int = 0
    num_active: int = 0
    num_waiting: int = 0
    idle_since_s: float = 0.0
    granted: Request | None = None
    """The request its room was given to; it starts first, and is counted already."""
    retired_before: int | None = None
    """It is to leave: only requests with a lower number may still use it."""
    work: list[tuple[float, float]] = field(default_factory=list)
    """When it was last prepared and loaded, for `Start.load_s`."""
    work_began_s: float = 0.0

    @property
    def name(self) -> str:
        return self.key.partition("@")[0]

    @property
    def lack_bytes(self) -> int:
        """What it needs beside what it holds, to be loaded or woken."""
        return max(self.need_bytes - self.held_bytes, 1) if self.need_bytes else 0


@dataclass(slots=True, eq=False)
class Request:
    """A request that waits or runs."""

    ticket: int
    number: int
    place: int
    """Its place in the order; lower is served first."""
    model: Model
    num_slots: int
    submitted_s: float
    deadline_s: float
    may_exceed: bool
    num_passes: int = 0
    why: Why = "preparing"
    started_s: float | None = None

    @property
    def has_slots(self) -> bool:
        """Whether its model has the slots it takes; one that wants more than there are takes all."""
        model = self.model
        return model.num_used_slots + min(self.num_slots, model.num_slots) <= model.num_slots


def in_words(request: Request, models: Iterable[Model], *, training: Training) -> str:
    """What a waiting request waits for; `models` are all there are."""
    name = request.model.name
    match request.why:
        case "preparing":
            return f"{name} is being prepared"
        case "loading":
            return f"{name} is loading"
        case "unloading":
            return f"{name} is being unloaded and will be loaded again"
        case "slot":
            return f"waits for a slot of {name}"
        case "turn":
            return "waits for its turn: a request before it needs room"
    reasons = [f"{gigabytes(request.model.lack_bytes)} needed"]
    if training == "parking":
        reasons.append("training is parking")
    for model in models:
        if model.state in ("evicting", "sleeping"):
            reasons.append(f"{model.name} is being unloaded")
        elif model.num_active:
            noun = "request" if model.num_active == 1 else "requests"
            reasons.append(f"{model.name} is busy with {model.num_active} {noun}")
        elif model.state in ("loading", "waking"):
            reasons.append(f"{model.name} is loading")
    return f"waits for room: {', '.join(reasons)}"


def gigabytes(num_bytes: int) -> str:
    """`1.2 GB`, `350 MB`"""
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.0f} MB"
