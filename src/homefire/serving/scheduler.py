"""Who may generate next: a pure machine, events in and effects out. No clock, no I/O, no tasks.

Requests wait in order of arrival. One starts when its model has a free slot (`num_parallel`) and is busy
already or there is room for one more busy model (`max_models`); residency can therefore always make room for
what was started. While one waits for room, later ones of busy models may pass it.

Promises (held by random interleavings in the tests):
- every submitted request is started or refused exactly once, or cancelled while it waits;
- the limits above are never exceeded;
- **no starvation**: a request is passed at most `max_passes` times. A pass is the start of a request that
  came later and took what the waiting one needs: a slot of the same model, or the room its model waits for.
  After that many passes the request goes first and what it needs is held for it.

Costs: O(1) when nobody waits; O(waiting requests) per start and end otherwise (256 by default).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Start:
    """Let this request go on to its model."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """Too many wait already; the request was not taken."""

    ticket: int
    num_waiting: int


Effect = Start | Refuse


@dataclass(slots=True)
class _Waiting:
    ticket: int
    model: str
    order: int
    num_passes: int = 0


class Scheduler:
    """Feed it `submitted`, `finished` and `cancelled`; carry out the effects in the order they are given.

    A ticket is the caller's number for a request: unique among those that wait or run. A request whose load
    or generation failed is `finished` like any other.
    """

    def __init__(self, *, num_parallel: int, max_models: int, max_waiting: int, max_passes: int = 8) -> None:
        if min(num_parallel, max_models) < 1 or min(max_waiting, max_passes) < 0:
            raise ValueError("num_parallel and max_models must be at least 1, max_waiting and max_passes 0.")
        self.num_parallel = num_parallel
        self.max_models = max_models
        self.max_waiting = max_waiting
        self.max_passes = max_passes
        self._waiting: dict[int, _Waiting] = {}  # in order of arrival
        self._active: dict[int, str] = {}
        self._num_active: Counter[str] = Counter()  # holds busy models only
        self._num_submitted = 0

    @property
    def num_waiting(self) -> int:
        """Requests taken but not started."""
        return len(self._waiting)

    @property
    def num_active(self) -> int:
        """Requests started and not finished."""
        return len(self._active)

    def submitted(self, ticket: int, model: str) -> tuple[Effect, ...]:
        """A request came: it starts, waits, or is refused (when it cannot start and the queue is full)."""
        assert ticket not in self._active, "a ticket is used once"
        assert ticket not in self._waiting, "a ticket is used once"
        self._num_submitted += 1
        request = _Waiting(ticket, model, self._num_submitted)
        if not self._waiting and self._fits(model):
            return (self._start(request),)
        self._waiting[ticket] = request
        effects = self._start_all()
        if ticket in self._waiting and len(self._waiting) > self.max_waiting:
            del self._waiting[ticket]
            return (*effects, Refuse(ticket, len(self._waiting)))
        return effects

    def finished(self, ticket: int) -> tuple[Effect, ...]:
        """A started request has ended, however it ended."""
        model = self._active.pop(ticket)
        self._num_active[model] -= 1
        if not self._num_active[model]:
            del self._num_active[model]
        return self._start_all() if self._waiting else ()

    def cancelled(self, ticket: int) -> tuple[Effect, ...]:
        """The client of a request is gone, whether it waits or runs."""
        if ticket in self._active:
            return self.finished(ticket)
        del self._waiting[ticket]
        return self._start_all() if self._waiting else ()

    def _fits(self, model: str) -> bool:
        num_active = self._num_active.get(model, 0)
        return num_active < self.num_parallel if num_active else len(self._num_active) < self.max_models

    def _in_turn(self) -> list[_Waiting]:
        """Those that were passed often enough, then the others; both in order of arrival."""
        return sorted(self._waiting.values(), key=lambda request: request.num_passes < self.max_passes)

    def _start_all(self) -> tuple[Effect, ...]:
        effects: list[Effect] = []
        while (request := self._next()) is not None:
            effects.append(self._start(request))
        return tuple(effects)

    def _next(self) -> _Waiting | None:
        overdue: list[_Waiting] = []
        for request in self._in_turn():
            if self._fits(request.model) and not any(self._passes(request, other) for other in overdue):
                return request
            if request.num_passes >= self.max_passes:
                overdue.append(request)
        return None

    def _passes(self, request: _Waiting, other: _Waiting) -> bool:
        """Would starting `request` take what `other`, which came earlier, waits for?"""
        if request.order < other.order:
            return False
        return request.model == other.model or other.model not in self._num_active

    def _start(self, request: _Waiting) -> Start:
        self._waiting.pop(request.ticket, None)
        for other in self._waiting.values():
            if self._passes(request, other):
                other.num_passes += 1
        self._active[request.ticket] = request.model
        self._num_active[request.model] += 1
        return Start(request.ticket)
