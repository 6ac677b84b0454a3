"""Turns over HTTP: what became of one, watching it from any position, and stopping it.

A turn belongs to the server. A client that lost its connection, or another device of the same person, reads its
events again from the number it saw last (`Last-Event-ID`, or `after`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from homefire.api.auth import principal_of
from homefire.api.context import Context
from homefire.api.documents import JsonDocument, create_router
from homefire.api.event_stream import EventStream, encode_event, last_event_id
from homefire.chat.request import Ended, Principal, Started, Stopped, StreamEvent
from homefire.errors import InvalidRequest
from homefire.sessions.ownership import turn_of
from homefire.store.nouns.conversation_rows import TurnRow

TurnId = Annotated[str, Path(max_length=100)]


def create_turn_router(context: Context) -> APIRouter:
    """Routes of turns."""
    router = create_router("turns")
    homefire, describe = context.homefire, context.described.route

    @router.get("/v1/turns/{turn_id}", **describe(answer=TurnRow))
    async def show_turn(request: Request, turn_id: TurnId) -> JsonDocument:
        """One turn: what was asked of which model, and how it ended (`outcome` is null while it runs)."""
        return JsonDocument(turn_of(homefire.store, principal_of(request).id, turn_id))

    @router.get("/v1/turns/{turn_id}/events", **describe(answer_type="text/event-stream"))
    async def watch_turn(
        request: Request, turn_id: TurnId, after: Annotated[int | None, Query(ge=0)] = None
    ) -> Response:
        """The events of a turn (`started`, `delta`, `ended` or `stopped`, or `error`), numbered from 1.

        Begins after the number in `Last-Event-ID` or `after`. Of a turn that ended long ago the last event
        alone is told; it holds the whole text. Leaving ends nothing.
        """
        principal = principal_of(request)
        turn_of(homefire.store, principal.id, turn_id)
        # A browser that comes back asks at the same address again, and says in the header how far it came.
        seen = after or 0 if last_event_id(request) is None else _seen(request)
        return EventStream(
            events(turn_id, principal, seen), stopping=context.stopping, redact=homefire.redactor.redact
        )

    async def events(turn_id: str, principal: Principal, after: int) -> AsyncGenerator[bytes, None]:
        async with aclosing(homefire.turns.watch(turn_id, principal=principal, after=after)) as found:
            async for number, event in found:
                yield encode_event(_name_of(event), event, event_id=str(number))

    @router.post("/v1/turns/{turn_id}/cancel", **describe(answer=TurnRow))
    async def cancel_turn(request: Request, turn_id: TurnId) -> JsonDocument:
        """Stop an answer; what was written is kept. Nothing happens to a turn that is over."""
        principal = principal_of(request)
        await homefire.turns.cancel(turn_id, principal=principal)
        return JsonDocument(turn_of(homefire.store, principal.id, turn_id))

    return router


def _seen(request: Request) -> int:
    text = last_event_id(request) or "0"
    if not text.isdecimal() or len(text) > 12:
        raise InvalidRequest("Last-Event-ID is not the number of an event.", param="last-event-id")
    return int(text)


def _name_of(event: StreamEvent) -> str:
    match event:
        case Started():
            return "started"
        case Ended():
            return "ended"
        case Stopped():
            return "stopped"
        case _:
            return "delta"
