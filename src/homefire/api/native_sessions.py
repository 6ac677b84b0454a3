"""Conversations over HTTP. A session is its principal's: another's does not exist for the caller."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from homefire.api.auth import principal_of
from homefire.api.context import Context
from homefire.api.documents import JsonDocument, create_router, read_document
from homefire.api.native_types import ErasureBody, Sessions, SessionView
from homefire.chat.request import Principal
from homefire.sessions.ownership import session_of, turn_of
from homefire.sessions.transcript import transcript
from homefire.training.erasure import ErasureReport

SessionId = Annotated[str, Path(max_length=100)]


def create_session_router(context: Context) -> APIRouter:
    """Routes of sessions."""
    router = create_router("sessions")
    store, describe = context.homefire.store, context.described.route

    def view(principal: Principal, session_id: str) -> SessionView:
        session = session_of(store, principal.id, session_id)
        tip = session.tip_message_id
        return SessionView(
            session=session,
            messages=store.messages.path(tip) if tip is not None else [],
            turns=store.turns.list(session_id),
        )

    @router.get("/v1/sessions", **describe(answer=Sessions))
    async def list_sessions(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
        before: Annotated[int | None, Query(ge=0)] = None,
    ) -> JsonDocument:
        """The caller's conversations, the latest first; `before` (the `seq` of the last row) pages back."""
        found = store.sessions.list(principal_of(request).id, limit=limit, before=before)
        return JsonDocument(Sessions(found))

    @router.get("/v1/sessions/{session_id}", **describe(answer=SessionView))
    async def show_session(request: Request, session_id: SessionId) -> JsonDocument:
        """One conversation: the messages of its newest branch, and all its turns."""
        return JsonDocument(view(principal_of(request), session_id))

    @router.get("/v1/sessions/{session_id}/export", **describe(answer=SessionView))
    async def export_session(
        request: Request,
        session_id: SessionId,
        form: Annotated[Literal["md", "json"], Query(alias="format")] = "md",
    ) -> Response:
        """One conversation to keep, as Markdown or JSON."""
        found = view(principal_of(request), session_id)
        headers = {"content-disposition": f'attachment; filename="{found.session.session_id}.{form}"'}
        if form == "json":
            pretty = msgspec.json.format(msgspec.json.encode(found), indent=2)
            return Response(pretty, media_type="application/json", headers=headers)
        return Response(markdown(found), media_type="text/markdown; charset=utf-8", headers=headers)

    async def erase(request: Request, subject: str) -> JsonDocument:
        wanted = await read_document(request, ErasureBody)
        report = await context.homefire.training.erase(
            subject, principal=principal_of(request).id, why=wanted.why, dry_run=wanted.dry_run
        )
        return JsonDocument(report)

    @router.delete("/v1/sessions/{session_id}", **describe(body=ErasureBody, answer=ErasureReport))
    async def erase_session(request: Request, session_id: SessionId) -> JsonDocument:
        """Erase all that was said in a conversation; the answer says what still holds it. With `dry_run` only that."""
        session_of(store, principal_of(request).id, session_id)
        return await erase(request, session_id)

    @router.delete("/v1/turns/{turn_id}", **describe(body=ErasureBody, answer=ErasureReport))
    async def erase_turn(request: Request, turn_id: SessionId) -> JsonDocument:
        """Erase a question and its answer, as a conversation is erased."""
        turn_of(store, principal_of(request).id, turn_id)
        return await erase(request, turn_id)

    @router.delete("/v1/messages/{message_id}", **describe(body=ErasureBody, answer=ErasureReport))
    async def erase_message(request: Request, message_id: SessionId) -> JsonDocument:
        """Erase one message, as a conversation is erased."""
        return await erase(request, message_id)

    return router


def markdown(found: SessionView) -> str:
    """A conversation as Markdown."""
    names = {"user": "You", "assistant": "Homefire", "system": "System", "tool": "Tool"}
    parts = [f"# {found.session.title or found.session.session_id}"]
    parts += [
        f"**{names.get(message.role, message.role)}:**\n\n{transcript(message.content)}"
        for message in found.messages
    ]
    return "\n\n".join(parts) + "\n"
