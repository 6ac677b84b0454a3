"""One chat request over HTTP: run the turn, write its events in the dialect's form, notice who left.

All dialects share this walk; a dialect gives a `Translator` (events to bytes). Promises:
- a response says 200 only once the engine has begun to answer: an error before that has its own status;
- an error after that is delivered in the dialect's form and ends the stream;
- when the client disconnects, the turn's iterator is closed at once, streamed or not, before this returns;
- the last byte goes out only after the turn is durable (`Ended` was seen).

Costs one task per request (the one that listens for the disconnect).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from homefire.api.auth import Scope, Send, send_error
from homefire.api.body import ClientGone, Receive, read_body
from homefire.api.failures import Dialect, Headers, Redact, stream_error, understood
from homefire.api.metrics import Metrics
from homefire.api.presence import client_present
from homefire.chat.request import ChatRequest, Ended, Principal, Started, TurnEvent
from homefire.engines.base import Delta
from homefire.errors import HomefireError, ServerStopping

RunTurn = Callable[[ChatRequest], AsyncIterator[TurnEvent]]
STATUS_CLIENT_GONE = 499


class Translator(Protocol):
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


Translate = Callable[[Scope, bytes, Principal], Awaitable[tuple[ChatRequest, Translator] | bytes]]
"""Decodes a body into the internal request and the translator of its answer, or into an answer (bytes)."""


class ChatDoor:
    """An ASGI application for POST on one hot route."""

    def __init__(
        self,
        translate: Translate,
        *,
        dialect: Dialect,
        route: str,
        run_turn: RunTurn,
        metrics: Metrics,
        redact: Redact,
        max_body_bytes: int,
        body_timeout_s: float,
        stopping: asyncio.Event,
    ) -> None:
        self._translate, self._dialect, self._route = translate, dialect, route
        self._run_turn, self._metrics, self._redact = run_turn, metrics, redact
        self._max_body_bytes, self._body_timeout_s = max_body_bytes, body_timeout_s
        self._stopping = stopping
        self._stream_type = b"application/x-ndjson" if dialect == "ollama" else b"text/event-stream"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; raises only what ends the server itself."""
        started_s = time.perf_counter()
        status = await self._answer(scope, receive, send)
        self._metrics.request_done(
            route=self._route,
            dialect=self._dialect,
            status=status,
            seconds=time.perf_counter() - started_s,
        )

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> int:
        reply = _Reply(send, self._dialect, redact=self._redact, stream_type=self._stream_type)
        try:
            body = await read_body(
                receive,
                declared_bytes=_content_length(scope),
                max_bytes=self._max_body_bytes,
                timeout_s=self._body_timeout_s,
            )
            wanted = await self._translate(scope, body, scope["state"]["principal"])
            if isinstance(wanted, bytes):
                await reply.document(wanted, ())
                return reply.status
            request, translator = wanted
            async with client_present(receive, lambda: reply.complete):
                await self._take_turn(request, translator, reply)
        except ClientGone:
            return STATUS_CLIENT_GONE
        except asyncio.CancelledError:
            if not self._stopping.is_set():
                raise
            await reply.fail(
                ServerStopping("The server stopped before this answer was finished.", hint="Ask again.")
            )
        except Exception as error:  # noqa: BLE001 - every failure is answered in the dialect's shape
            await reply.fail(error)
        return reply.status

    async def _take_turn(self, request: ChatRequest, translator: Translator, reply: _Reply) -> None:
        metrics, outcome = self._metrics, "cancelled"
        metrics.in_flight.inc()
        events = self._run_turn(request)
        try:
            started, deltas, ended = None, [], None
            async for event in events:
                if isinstance(event, Delta):
                    if translator.streamed:
                        await reply.stream(translator.delta(event))
                    else:
                        deltas.append(event)
                elif isinstance(event, Started):
                    started = event
                    if translator.streamed:
                        reply.hold(translator.started(event), turn_headers(event))
                else:
                    ended = event
            assert started is not None, "a turn says where it begins"
            assert ended is not None, "a turn that raises nothing says how it ended"
            metrics.answer_done(model=started.served_model, usage=ended.usage, timings=ended.timings)
            outcome = "cancelled" if ended.stop_reason == "cancelled" else "answered"
            if translator.streamed:
                await reply.stream(translator.ended(ended), last=True)
            else:
                document = translator.whole(started, deltas, ended)
                await reply.document(document, turn_headers(started, ended))
        except Exception:
            outcome = "failed"
            raise
        finally:
            metrics.in_flight.dec()
            metrics.turn_done(dialect=self._dialect, outcome=outcome)
            await close(events)


class _Reply:
    """The response of one request: not begun, streaming, or complete."""

    def __init__(self, send: Send, dialect: Dialect, *, redact: Redact, stream_type: bytes) -> None:
        self._send, self._dialect, self._redact = send, dialect, redact
        self._stream_type = stream_type
        self._held: bytes = b""
        self._headers: Headers = []
        self._begun = False
        self.complete = False
        self.status = 200

    def hold(self, opening: bytes, headers: Headers) -> None:
        """Keep the beginning of a stream back until the engine has really begun."""
        self._held, self._headers = opening, headers

    async def stream(self, data: bytes, *, last: bool = False) -> None:
        if not self._begun:
            self._begun = True
            headers = [(b"content-type", self._stream_type), (b"cache-control", b"no-store"), *self._headers]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
            data, self._held = self._held + data, b""
        self.complete = last
        await self._send({"type": "http.response.body", "body": data, "more_body": not last})

    async def document(self, data: bytes, headers: Headers | tuple[()]) -> None:
        self._begun = self.complete = True
        await self._send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    (b"content-type", b"application/json"),
                    (b"content-length", str(len(data)).encode()),
                    *headers,
                ],
            }
        )
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    async def fail(self, error: BaseException) -> None:
        if not self._begun:
            self._begun = self.complete = True
            self.status = await send_error(self._send, error, self._dialect, redact=self._redact)
            return
        known: HomefireError = understood(error)
        self.status = known.http_status
        if not self.complete:
            await self.stream(stream_error(known, self._dialect, redact=self._redact), last=True)


async def close(events: AsyncIterator[TurnEvent]) -> None:
    """Close a turn's iterator now, which cancels what has not ended; nothing to do where it has."""
    aclose = getattr(events, "aclose", None)
    if aclose is not None:
        await aclose()


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


def _content_length(scope: Scope) -> bytes | None:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return bytes(value)
    return None
