"""Server-sent events for the pages (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.responses import StreamingResponse


def encode_event(name: str, data: str) -> bytes:
    """One event; `data` may have several lines."""
    lines = "".join(f"data: {line}\n" for line in data.split("\n"))
    return f"event: {name}\n{lines}\n".encode()


def respond_with_events(events: AsyncIterator[bytes]) -> StreamingResponse:
    """A response that is not buffered on its way."""
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)
