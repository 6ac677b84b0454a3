"""Answers that were asked for and not yet streamed: the bridge between a form and its event stream.

A browser posts the question and then opens an event stream for the answer; the request waits here between
the two, for a minute at most. Nothing is lost with it: a turn is recorded when it ran.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from homefire.chat.request import ChatRequest
from homefire.errors import NotFound, QueueFull
from homefire.world import World

LIFETIME_S = 60.0
MAX_PENDING = 256


@dataclass(eq=False)
class Pending:
    """One answer to come."""

    pending_id: str
    request: ChatRequest
    asked_at_s: float
    stop: asyncio.Event = field(default_factory=asyncio.Event)


class PendingAnswers:
    """Answers by identifier; each is streamed once."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._waiting: dict[str, Pending] = {}
        self._streaming: dict[str, Pending] = {}

    def add(self, request: ChatRequest) -> Pending:
        """Keep a request until its stream is opened."""
        now_s = self._world.clock.monotonic_s()
        for old in [p for p in self._waiting.values() if now_s - p.asked_at_s > LIFETIME_S]:
            del self._waiting[old.pending_id]
        if len(self._waiting) >= MAX_PENDING:
            raise QueueFull("Too many answers were asked for and never fetched.", retry_after_s=LIFETIME_S)
        pending = Pending(self._world.new_id("pending"), request, now_s)
        self._waiting[pending.pending_id] = pending
        return pending

    def begin(self, pending_id: str) -> Pending | None:
        """The request to stream now; None when it was streamed before (a browser that reconnects)."""
        pending = self._waiting.pop(pending_id, None)
        if pending:
            self._streaming[pending_id] = pending
        return pending

    def end(self, pending: Pending) -> None:
        """The stream is over."""
        self._streaming.pop(pending.pending_id, None)

    def stop(self, pending_id: str) -> None:
        """Ask for the end of an answer; what was written so far is kept."""
        pending = self._streaming.get(pending_id) or self._waiting.get(pending_id)
        if pending is None:
            raise NotFound("This answer is not being written any more.")
        pending.stop.set()
