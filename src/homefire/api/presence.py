"""Noticing that a client left while it is being answered, so that its work can be cancelled at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

from homefire.api.asgi import Receive
from homefire.api.body import ClientGone

WATCHED_AFTER_S = 0.02
"""What is answered sooner is not watched: a task costs more than what is left to cancel by then."""


class CancelOnDisconnect:
    """Cancels its block when the client disconnects before `is_complete()`, and raises ClientGone instead.

    A cancellation from elsewhere passes through. Costs a timer, and a task for an answer that takes longer.
    """

    __slots__ = ("_answering", "_is_complete", "_is_gone", "_listener", "_receive", "_timer")

    def __init__(self, receive: Receive, is_complete: Callable[[], bool]) -> None:
        self._receive, self._is_complete = receive, is_complete
        self._is_gone = False
        self._listener: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        answering = asyncio.current_task()
        assert answering is not None, "requests are answered in a task"
        self._answering = answering
        self._timer = asyncio.get_running_loop().call_later(WATCHED_AFTER_S, self._begin)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._listener is not None:
            self._listener.cancel()
        if self._is_gone and kind is asyncio.CancelledError:
            self._answering.uncancel()
            raise ClientGone from None

    def _begin(self) -> None:
        self._listener = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._is_complete():
            self._is_gone = True
            self._answering.cancel()
