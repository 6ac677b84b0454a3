"""One deadline for a whole request: one timer, however many things are awaited under it.

`asyncio.timeout` cannot span the `yield`s of an async generator (it would cancel whoever is iterating, between
two items), and one for each item costs more than the item. Here the timer cancels the task only while it is
inside the `with` block.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

from homefire.errors import RequestTimeout


class Deadline:
    """`with deadline: await …` raises RequestTimeout when the time is over; `close` it at the end.

    `on_expiry` is called instead of cancelling while it is set: for waits that are ended by somebody else.
    """

    __slots__ = ("_cancelled", "_num_cancelling", "_task", "_timer", "is_over", "on_expiry", "timeout_s")

    def __init__(self, timeout_s: float, *, at_s: float | None = None) -> None:
        """`at_s` is a moment of the event loop's clock, where less than the whole time is left."""
        loop = asyncio.get_running_loop()
        self.timeout_s = timeout_s
        self.is_over = False
        self.on_expiry: Callable[[], None] | None = None
        self._task: asyncio.Task[object] | None = None
        self._num_cancelling = 0
        self._cancelled = False
        self._timer = loop.call_at(loop.time() + timeout_s if at_s is None else at_s, self._expire)

    def close(self) -> None:
        """The request has ended; the timer goes."""
        self._timer.cancel()
        self.on_expiry = None

    def left_s(self) -> float:
        """Seconds until it is over."""
        return self._timer.when() - asyncio.get_running_loop().time()

    def error(self) -> RequestTimeout:
        """What a request over its deadline gets."""
        return RequestTimeout(
            f"The request was not finished within {self.timeout_s:g} s and was cancelled.",
            hint="Ask for fewer tokens, or raise server.request_timeout_s.",
            request_timeout_s=self.timeout_s,
        )

    def __enter__(self) -> None:
        if self.is_over:
            raise self.error()
        self._task = task = asyncio.current_task()
        assert task is not None
        self._num_cancelling = task.cancelling()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if self._cancelled:
            self._cancelled = False
            assert task is not None
            is_ours = task.uncancel() <= self._num_cancelling
            if is_ours and (kind is None or kind is asyncio.CancelledError):
                raise self.error() from None

    def _expire(self) -> None:
        self.is_over = True
        if self.on_expiry is not None:
            self.on_expiry()
        elif self._task is not None:
            self._cancelled = True
            self._task.cancel()
