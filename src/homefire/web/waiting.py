"""What an answer waits for before its first word, told between the events of its turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import TypeVar

from homefire.serving.effects import WaitingRequest

LOOK_EVERY_S = 0.3
"""An answer that begins sooner says nothing of waiting."""
_T = TypeVar("_T")


async def told_while_waiting(
    events: AsyncIterator[_T], look: Callable[[], str], *, every_s: float = LOOK_EVERY_S
) -> AsyncGenerator[_T | str, None]:
    """The events, and before the first one each change of what `look` says, as text."""
    told = None
    first = asyncio.ensure_future(anext(events))
    try:
        while not (await asyncio.wait({first}, timeout=every_s))[0]:
            sentence = look()
            if sentence != told:
                told = sentence
                yield sentence
        yield first.result()
    except StopAsyncIteration:
        return
    finally:
        if not first.done():
            first.cancel()
            await asyncio.wait({first})
    async for event in events:
        yield event


def waiting_sentence(waiting: WaitingRequest | None) -> str:
    """What a person reads while nothing was written yet."""
    if waiting is None:
        return "Waiting for the model…"
    place = f"Number {waiting.position} in the queue: " if waiting.position > 1 else "Please wait: "
    return f"{place}{waiting.reason}."
