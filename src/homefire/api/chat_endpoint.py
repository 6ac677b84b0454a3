"""One chat request: run the turn and write its events in the dialect's form.

All dialects share this walk; a dialect gives a `Translate` (body to request) and a `ResponseEncoder` (events to
bytes). Promises:
- a response says 200 only once the engine has begun to answer: an error before that has its own status;
- however this ends (a failure, a deadline, a client that left or reads nothing), the turn has a reader no more
  when it returns;
- the last byte goes out only after the turn is durable (`Ended` was seen).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Protocol

import msgspec

from homefire.api.asgi import Headers
from homefire.api.body import LARGE_BODY_BYTES
from homefire.api.exchange import Exchange
from homefire.api.metrics import Metrics
from homefire.chat.request import ChatRequest, Ended, Principal, Started
from homefire.chat.turn import Turns
from homefire.engines.base import Delta

ON_DISCONNECT = b"x-homefire-on-disconnect"
"""With `continue` the turn continues when its client leaves; it is read again at `/v1/turns/{id}/events`."""
_JSON = (b"content-type", b"application/json")


class ResponseEncoder(Protocol):
    """One answer in one dialect. `started` comes first, `ended` last."""

    streamed: bool

    def started(self, event: Started) -> bytes:
        """What a stream begins with (may be empty)."""
        ...

    def delta(self, event: Delta) -> bytes:
        """A piece of the stream."""
        ...

    def ended(self, event: Ended) -> bytes:
        """What the stream ends with."""
        ...

    def whole(self, started: Started, deltas: list[Delta], ended: Ended) -> bytes:
        """The answer as one JSON document."""
        ...


Translated = tuple[ChatRequest, ResponseEncoder] | Callable[[], Awaitable[bytes]]
"""A turn to take and the encoder of its answer, or something else to do (count, load) that gives a document."""
Translate = Callable[[bytes, Principal], Translated]
"""Decodes a body. Pure, and called in another thread where the body is large."""


class ChatEndpoint:
    """POST on one chat route."""

    def __init__(self, translate: Translate, *, dialect: str, turns: Turns, metrics: Metrics) -> None:
        self._translate, self._dialect = translate, dialect
        self._turns, self._metrics = turns, metrics
        self._stream_type = (
            b"content-type", b"application/x-ndjson" if dialect == "ollama" else b"text/event-stream"
        )  # fmt: skip

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request. Raises what the turn raises."""
        body, principal = exchange.body, exchange.principal
        if len(body) < LARGE_BODY_BYTES:
            translated = self._translate(body, principal)
        else:
            translated = await asyncio.to_thread(self._translate, body, principal)
        if not isinstance(translated, tuple):
            await exchange.respond(200, [_JSON], await translated())
            return
        request, encoder = translated
        if exchange.headers.get(ON_DISCONNECT) == b"continue":
            request = msgspec.structs.replace(request, on_disconnect="continue")
        outcome = "cancelled"
        answer = self._stream if encoder.streamed else self._answer
        try:
            outcome = await answer(request, encoder, exchange)
        except Exception:
            outcome = "failed"
            raise
        finally:
            self._metrics.turn_done(dialect=self._dialect, outcome=outcome)

    async def _answer(self, request: ChatRequest, encoder: ResponseEncoder, exchange: Exchange) -> str:
        """The answer as one document; how the turn ended."""
        started, deltas, ended = await self._turns.run_whole(request)
        document = encoder.whole(started, deltas, ended)
        outcome = self._count(started, ended)
        await exchange.respond(200, [_JSON, *turn_headers(started, ended)], document)
        return outcome

    async def _stream(self, request: ChatRequest, encoder: ResponseEncoder, exchange: Exchange) -> str:
        """The answer in pieces, as they come; how the turn ended."""
        started: Started | None = None
        ended: Ended | None = None
        opening = b""
        async with aclosing(self._turns.run(request)) as events:
            async for event in events:
                if isinstance(event, Ended):
                    # The turn is left to end before anything is written: a slow client holds nothing of it.
                    ended = event
                elif isinstance(event, Started):
                    started, opening = event, encoder.started(event)
                else:
                    assert started is not None, "a turn says where it begins"
                    if not exchange.is_begun:
                        await exchange.begin_stream([self._stream_type, *turn_headers(started)])
                    await exchange.write(opening + encoder.delta(event))
                    opening = b""
        assert started is not None, "a turn says where it begins"
        assert ended is not None, "a turn that raises nothing says how it ended"
        outcome = self._count(started, ended)
        if not exchange.is_begun:
            await exchange.begin_stream([self._stream_type, *turn_headers(started)])
        await exchange.write(opening + encoder.ended(ended), last=True)
        return outcome

    def _count(self, started: Started, ended: Ended) -> str:
        """What the answer cost; how the turn ended."""
        self._metrics.answer_done(model=started.served_model, usage=ended.usage, timings=ended.timings)
        return "cancelled" if ended.stop_reason == "cancelled" else "answered"


def turn_headers(started: Started, ended: Ended | None = None) -> Headers:
    """What every chat response says of its turn, in all dialects."""
    num_trimmed = max(started.num_trimmed_messages, ended.num_trimmed_messages if ended else 0)
    headers = [
        (b"x-homefire-turn", started.turn_id.encode()),
        (b"x-homefire-session", started.session_id.encode()),
        (b"x-homefire-model", started.served_model.encode()),
    ]
    if num_trimmed:
        headers.append((b"x-homefire-trimmed-messages", str(num_trimmed).encode()))
    return headers
