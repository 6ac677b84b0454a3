"""The events of one turn, numbered from 1, for any number of watchers.

A turn belongs to the server: it continues no matter who watches. A watcher reads from any position, gets every event
from there in order exactly once, and then the error that ended the turn, if one did. Events are kept as long
as somebody holds the stream. Publishing costs a microsecond and a wake-up for each watcher that waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from homefire.chat.request import StreamEvent
from homefire.errors import HomefireError


class TurnStream:
    """Written by one turn; belongs to one event loop."""

    def __init__(self) -> None:
        self._events: list[StreamEvent] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._end_waiters: list[asyncio.Future[None]] = []
        self._error: Exception | None = None
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        """Whether nothing will be added."""
        return self._is_closed

    @property
    def num_events(self) -> int:
        """The number of the last event so far."""
        return len(self._events)

    def publish(self, event: StreamEvent) -> None:
        """Add an event."""
        self._events.append(event)
        self._wake()

    def close(self, error: Exception | None = None) -> None:
        """Nothing follows; watchers that have seen everything get `error`."""
        self._is_closed, self._error = True, error
        self._waiters += self._end_waiters
        self._wake()

    async def watch(self, *, after: int = 0) -> AsyncGenerator[tuple[int, StreamEvent], None]:
        """`(number, event)` for each event after number `after`, until the turn is over.

        Raises what the turn failed with. Leaving ends nothing.
        """
        position = after
        while True:
            while position < len(self._events):
                position += 1
                yield position, self._events[position - 1]
            if self._is_closed:
                self.raise_error()
                return
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    async def all_events(self) -> list[StreamEvent]:
        """Every event, once the turn is over; wakes up once. Raises what the turn failed with."""
        if not self._is_closed:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._end_waiters.append(waiter)
            await waiter
        self.raise_error()
        return self._events

    def raise_error(self) -> None:
        """Raise what the turn failed with, if it did."""
        if self._error is not None:
            raise self._error.copy() if isinstance(self._error, HomefireError) else self._error

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
