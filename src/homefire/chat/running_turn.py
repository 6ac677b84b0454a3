"""A turn while it is taken: what was asked, what was written so far, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from homefire.chat.context import Context
from homefire.chat.position import TurnPosition
from homefire.chat.request import ChatRequest, Ended, Started
from homefire.chat.turn_stream import TurnStream
from homefire.serving.router import Route
from homefire.store.nouns.conversations import Outcome, TurnAsked
from homefire.types import Sampling


@dataclass(slots=True, eq=False)
class RunningTurn:
    """A turn that was taken. `stream` is what it says; the rest is its own."""

    turn_id: str
    request: ChatRequest
    position: TurnPosition
    route: Route
    context: Context
    sampling: Sampling
    asked: TurnAsked
    stream: TurnStream = field(default_factory=TurnStream)
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the question is on disk (`is_asked`), or cannot be (`stream` then says why)."""
    is_asked: bool = False
    is_queued: bool = False
    """Whether it has its session's turn, which its end gives to the next."""
    deadline_s: float = 0.0
    """On the event loop's clock; for waiting, counting, loading and generating together."""
    answer: list[str] = field(default_factory=list)
    has_started: bool = False
    is_cancelled: bool = False
    is_recording: bool = False
    ends_as: Outcome = "cancelled"
    """What it is recorded as if its task is cancelled."""
    has_begun: bool = False
    outcome: Outcome | None = None
    """How it ended; None while it runs."""
    ended: Ended | None = None
    """What it ended with, if it was answered."""
    task: asyncio.Task[None] | None = None

    @property
    def text(self) -> str:
        """What was written so far."""
        return "".join(self.answer)

    def on_end(self, tell: Callable[[RunningTurn], None]) -> None:
        """Call `tell` when the turn is over."""
        assert self.task is not None
        self.task.add_done_callback(lambda _: tell(self))

    def cancel(self, outcome: Outcome = "cancelled") -> None:
        """End it now, if it has not ended; what was written is recorded."""
        if self.is_cancelled or self.is_recording:
            return
        self.is_cancelled, self.ends_as = True, outcome
        if self.has_begun:  # a task that is cancelled before its first step would never run at all
            assert self.task is not None
            self.task.cancel()

    def describe_start(self, prompt_tokens: int | None) -> Started:
        """Its first event."""
        return Started(
            turn_id=self.turn_id,
            session_id=self.position.session_id,
            model=self.request.model,
            served_model=self.route.model.name,
            route_reason=self.route.reason,
            num_trimmed_messages=self.context.num_trimmed_messages,
            prompt_tokens=prompt_tokens,
        )
