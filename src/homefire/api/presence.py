"""Noticing that a client left while it is being answered, so that its work can be cancelled at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from homefire.api.asgi import Receive
from homefire.api.body import ClientGone


@asynccontextmanager
async def cancel_on_disconnect(receive: Receive, is_complete: Callable[[], bool]) -> AsyncIterator[None]:
    """Cancel the block when the client disconnects before `is_complete()`, and raise ClientGone instead.

    A cancellation from elsewhere passes through. Costs one task.
    """
    answering = asyncio.current_task()
    assert answering is not None, "requests are answered in a task"
    gone = False

    async def listen() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        if not is_complete():
            gone = True
            answering.cancel()

    listener = asyncio.create_task(listen())
    try:
        yield
    except asyncio.CancelledError:
        if not gone:
            raise
        answering.uncancel()
        raise ClientGone from None
    finally:
        listener.cancel()
