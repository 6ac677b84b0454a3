"""Server-sent events that last (https://html.spec.whatwg.org/multipage/server-sent-events.html), for API and pages.

    async def events():
        yield encode_event("progress", struct_or_text, event_id="17")

    return EventStream(events(), stopping=context.stopping, redact=homefire.redactor.redact)

Ends when the source ends, when the server drains, and when the client leaves; a comment every `KEEP_ALIVE_S`
shows that the connection lives. An error of the source is the last event. The source is iterated and closed by
one task and by nobody else, so it is never closed while it runs. A client that comes back says what it saw last
(`last_event_id`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec
from starlette.requests import HTTPConnection
from starlette.responses import Response

from homefire.api.asgi import Receive, Scope, Send
from homefire.api.exchange import Exchange
from homefire.api.failures import Redact, stream_error, to_homefire_error

KEEP_ALIVE_S = 15.0
MEDIA_TYPE = b"text/event-stream"
_COMMENT = b": here\n\n"
_LINE_END = re.compile("\r\n|\r|\n")


def encode_event(name: str, data: Any, *, event_id: str | None = None) -> bytes:
    """One event. Text is sent as it is, line by line; anything else as JSON.

    ValueError for a name or an id with a line break, which would end the event.
    """
    if _LINE_END.search(f"{name}{event_id or ''}"):
        raise ValueError("The name and the id of an event are one line each.")
    opening = f"event: {name}\n" if event_id is None else f"event: {name}\nid: {event_id}\n"
    if isinstance(data, str):
        lines = "".join(f"data: {line}\n" for line in _LINE_END.split(data))
        return f"{opening}{lines}\n".encode()
    return opening.encode() + b"data: " + msgspec.json.encode(data, enc_hook=str) + b"\n\n"


def last_event_id(request: HTTPConnection) -> str | None:
    """The id of the last event this client saw before its connection broke; None for a new client."""
    return request.headers.get("last-event-id") or None


class EventStream(Response):
    """A response made of encoded events."""

    def __init__(
        self, events: AsyncGenerator[bytes, None], *, stopping: asyncio.Event, redact: Redact
    ) -> None:
        self.status_code = 200
        self.background = None
        self._events, self._stopping, self._redact = events, stopping, redact
        self._was_quiet = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until there is a reason to end. The exchange ends this when the client leaves."""
        exchange: Exchange | None = scope.get("homefire.exchange")
        headers = [
            (b"content-type", MEDIA_TYPE),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if exchange is None or not exchange.is_head:
            if exchange is not None:
                exchange.lift_deadline()
            await self._stream(send)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _stream(self, send: Send) -> None:
        pump = asyncio.create_task(self._pump(send))
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            while True:
                self._was_quiet = True
                done, _ = await asyncio.wait(
                    {pump, stopping}, timeout=KEEP_ALIVE_S, return_when=asyncio.FIRST_COMPLETED
                )
                if done:
                    return
                if self._was_quiet:
                    await send({"type": "http.response.body", "body": _COMMENT, "more_body": True})
        finally:
            stopping.cancel()
            pump.cancel()
            # The pump closes the source, whether or not this is waited for.
            await asyncio.wait({pump})

    async def _pump(self, send: Send) -> None:
        async with aclosing(self._events) as events:
            try:
                async for event in events:
                    self._was_quiet = False
                    await send({"type": "http.response.body", "body": event, "more_body": True})
            except Exception as error:  # noqa: BLE001 - delivered in the stream
                last = stream_error(to_homefire_error(error), "native", redact=self._redact)
                await send({"type": "http.response.body", "body": last, "more_body": True})
