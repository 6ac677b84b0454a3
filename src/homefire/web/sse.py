"""Server-sent events for the pages (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

from starlette.responses import StreamingResponse

from homefire.api.asgi import Receive, Scope, Send

Item = TypeVar("Item")


def encode_event(name: str, data: str) -> bytes:
    """One event; `data` may have several lines."""
    lines = "".join(f"data: {line}\n" for line in data.split("\n"))
    return f"event: {name}\n{lines}\n".encode()


def respond_with_events(events: AsyncIterator[bytes]) -> StreamingResponse:
    """A response that is not buffered on its way."""
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return _LastingResponse(events, media_type="text/event-stream", headers=headers)


class _LastingResponse(StreamingResponse):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["homefire.exchange"].lift_deadline()
        await super().__call__(scope, receive, send)


async def until(stop: asyncio.Event, items: AsyncIterator[Item]) -> AsyncIterator[Item]:
    """The items, until they end or `stop` is set; what is asked for then is cancelled."""
    stopping = asyncio.ensure_future(stop.wait())
    try:
        while True:
            following = asyncio.ensure_future(_next(items))
            try:
                await asyncio.wait({following, stopping}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not following.done():
                    following.cancel()
                    await asyncio.wait({following})
            if following.cancelled():
                return
            found = following.result()
            if not found:
                return
            yield found[0]
    finally:
        stopping.cancel()


async def _next(items: AsyncIterator[Item]) -> tuple[Item] | None:
    try:
        return (await anext(items),)
    except StopAsyncIteration:
        return None
