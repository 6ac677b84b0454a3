"""Server-sent events that last (https://html.spec.whatwg.org/multipage/server-sent-events.html).

Closed at once when the client leaves, when the source ends, and when the server drains; a comment every
`KEEP_ALIVE_S` shows that the connection lives. An error of the source is the last event.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

import msgspec
from starlette.responses import Response

from homefire.api.auth import Scope, Send
from homefire.api.body import ClientGone, Receive
from homefire.api.failures import Redact, stream_error, understood
from homefire.api.presence import client_present

KEEP_ALIVE_S = 15.0
_COMMENT = b": here\n\n"


def encode_event(name: str, data: Any) -> bytes:
    """One event with a JSON document."""
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(data, enc_hook=str) + b"\n\n"


class EventStream(Response):
    """A response made of encoded events."""

    def __init__(
        self, events: AsyncGenerator[bytes, None], *, stopping: asyncio.Event, redact: Redact
    ) -> None:
        self.status_code = 200
        self.background = None
        self._events, self._stopping, self._redact = events, stopping, redact

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until there is a reason to end."""
        headers = [
            (b"content-type", b"text/event-stream"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        complete = False
        with suppress(ClientGone):
            async with aclosing(self._events) as events, client_present(receive, lambda: complete):
                try:
                    async with aclosing(self._paced(events)) as paced:
                        async for event in paced:
                            await send({"type": "http.response.body", "body": event, "more_body": True})
                except Exception as error:  # noqa: BLE001 - delivered in the stream
                    last = stream_error(understood(error), "native", redact=self._redact)
                    await send({"type": "http.response.body", "body": last, "more_body": True})
                complete = True
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _paced(self, events: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        stopping = asyncio.create_task(self._stopping.wait())
        upcoming: asyncio.Task[bytes | None] | None = None
        try:
            while not stopping.done():
                if upcoming is None:
                    upcoming = asyncio.create_task(_next(events))
                waiting: set[asyncio.Task[Any]] = {upcoming, stopping}
                await asyncio.wait(waiting, timeout=KEEP_ALIVE_S, return_when=asyncio.FIRST_COMPLETED)
                if upcoming.done():
                    event, upcoming = upcoming.result(), None
                    if event is None:
                        return
                    yield event
                elif not stopping.done():
                    yield _COMMENT
        finally:
            stopping.cancel()
            if upcoming is not None:
                upcoming.cancel()
                await asyncio.wait({upcoming})


async def _next(events: AsyncIterator[bytes]) -> bytes | None:
    return await anext(events, None)
