"""Following the log from inside the process: every event once, in order, however slow the follower.

A subscription buffers a bounded number of events. When its follower is slower than that, the buffer is
dropped and the events are read from the log instead: memory stays bounded and nothing is missed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from homefire.store.log import Recorded

BUFFER_EVENTS = 1024
_READ_EVENTS = 256


class Subscription:
    """An async iterator over the events after `after_seq`. Use it as a context manager, or call `close`.

    All methods are for the thread of `loop`, except that `close` may be called after the loop ended.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        after_seq: int,
        is_behind: bool,
        read: Callable[[int, int], list[Recorded]],
        on_close: Callable[[Subscription], None],
    ) -> None:
        self.loop = loop
        self.seen_seq = after_seq
        """The last event that is buffered or was given out."""
        self._is_behind = is_behind
        self._read = read
        self._on_close = on_close
        self._buffer: deque[Recorded] = deque()
        self._wake = asyncio.Event()
        self._closed = False

    def deliver(self, batch: Sequence[Recorded]) -> None:
        """Called on `loop` after each commit."""
        if self._closed:
            return
        if not self._is_behind:
            for recorded in batch:
                if recorded.seq > self.seen_seq:
                    self._buffer.append(recorded)
                    self.seen_seq = recorded.seq
            if len(self._buffer) > BUFFER_EVENTS:
                self.fall_behind()
        self._wake.set()

    def fall_behind(self) -> None:
        """Read what follows from the log instead of from the buffer."""
        if self._buffer:
            self.seen_seq = self._buffer[0].seq - 1
            self._buffer.clear()
        self._is_behind = True

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Recorded:
        while not self._buffer:
            if self._closed:
                raise StopAsyncIteration
            if self._is_behind:
                self._catch_up()
                continue
            self._wake.clear()
            await self._wake.wait()
        return self._buffer.popleft()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """End the iteration; harmless when it has ended."""
        if not self._closed:
            self._closed = True
            self._on_close(self)
            self._wake.set()

    def _catch_up(self) -> None:
        batch = self._read(self.seen_seq, _READ_EVENTS)
        self._buffer.extend(batch)
        if batch:
            self.seen_seq = batch[-1].seq
        self._is_behind = len(batch) == _READ_EVENTS
