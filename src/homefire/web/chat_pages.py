"""The chat page: conversations, streamed answers, thumbs, corrections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from homefire.api.context import Context
from homefire.api.event_stream import EventStream, encode_event
from homefire.chat.request import ChatRequest, Principal
from homefire.chat.running_turn import RunningTurn
from homefire.engines.base import Delta
from homefire.errors import Conflict, HomefireError
from homefire.store.nouns.conversation_rows import SessionRow
from homefire.types import Message
from homefire.web.login import is_signed_in
from homefire.web.partial_markdown import PartialMarkdown
from homefire.web.render import Page, Renderer
from homefire.web.views import NUM_SESSIONS, Views
from homefire.web.waiting import told_while_waiting, waiting_sentence

IDEAS = ("Hello! Who are you?", "What is 7 + 8?", "Where do we keep the spare key?")


def create_chat_router(context: Context, views: Views, renderer: Renderer) -> APIRouter:
    """Routes of the chat page and its fragments."""
    homefire = context.homefire
    router = APIRouter(include_in_schema=False, default_response_class=Page)

    def chat_page(request: Request, session_id: str | None) -> str:
        principal = principal_of(request)
        session = views.session(principal, session_id) if session_id else None
        return renderer.page(
            "chat.html",
            page="Chat",
            signed_in=is_signed_in(request),
            live_model=views.live_model(),
            session=session,
            is_fragment=False,
            sessions=homefire.store.sessions.list(principal.id, limit=NUM_SESSIONS),
            messages=views.messages(session) if session else [],
            ideas=IDEAS,
        )

    @router.get("/")
    def new_chat(request: Request) -> str:
        """The chat page with nothing said yet."""
        return chat_page(request, None)

    @router.get("/chat/{session_id}")
    def old_chat(request: Request, session_id: str) -> str:
        """The chat page with an earlier conversation; in a thread, as a long one takes a while to render."""
        return chat_page(request, session_id)

    @router.post("/web/ask")
    async def ask(
        request: Request, message: Annotated[str, Form()], session_id: Annotated[str, Form()] = ""
    ) -> str:
        """Take a question; when this answers it is on disk, and its answer is being written."""
        if session_id and homefire.turns.is_busy(session_id):
            raise Conflict(
                "The answer before this one is still being written.",
                hint="Wait until it ends, or stop it. What you wrote is still here.",
            )
        question = Message("user", message)
        chat = ChatRequest(
            messages=(question,),
            principal=principal_of(request),
            channel="web",
            session_id=session_id or None,
        )
        return await take(chat, question)

    @router.post("/web/turns/{turn_id}/regenerate")
    async def regenerate(request: Request, turn_id: str) -> str:
        """Answer a question once more, whether or not it got an answer."""
        turn = views.turn(principal_of(request), turn_id)
        chat = ChatRequest(
            messages=(),
            principal=principal_of(request),
            channel="web",
            session_id=turn.session_id,
            replaces_turn_id=turn_id,
        )
        return await take(chat, None)

    async def take(chat: ChatRequest, question: Message | None) -> str:
        """Begin a turn that continues no matter who watches; the place where its answer will appear."""
        turn = await homefire.turns.begin(chat)
        turn.on_end(count)
        session = views.session(chat.principal, turn.position.session_id)
        return renderer.page(
            "_running.html", turn_id=turn.turn_id, message=question, session=session, is_fresh=True
        ) + sessions_fragment(chat.principal, session)

    def count(turn: RunningTurn) -> None:
        context.metrics.turn_done(dialect="web", outcome=turn.outcome or "failed")
        if turn.ended is not None:
            context.metrics.answer_done(
                model=turn.route.model.name, usage=turn.ended.usage, timings=turn.ended.timings
            )

    def sessions_fragment(principal: Principal, session: SessionRow) -> str:
        return renderer.page(
            "_sessions.html",
            is_fragment=True,
            session=session,
            sessions=homefire.store.sessions.list(principal.id, limit=NUM_SESSIONS),
        )

    @router.get("/web/turns/{turn_id}")
    def turn_place(request: Request, turn_id: str) -> Response:
        """Leads to the answer in its conversation."""
        turn = views.turn(principal_of(request), turn_id)
        return RedirectResponse(f"/chat/{turn.session_id}#{turn_id}")

    @router.get("/web/turns/{turn_id}/events")
    async def stream(request: Request, turn_id: str) -> Response:
        """The answer as it is written, from its beginning, for as many as watch."""
        principal = principal_of(request)
        turn = views.turn(principal, turn_id)
        return EventStream(
            answer_events(turn_id, principal, turn.session_id),
            stopping=context.stopping,
            redact=homefire.redactor.redact,
        )

    def awaited(session_id: str) -> str:
        # Turns of a conversation are taken one at a time: what it waits for is what this turn waits for.
        return waiting_sentence(homefire.serving.waiting_of(session_id))

    async def answer_events(
        turn_id: str, principal: Principal, session_id: str
    ) -> AsyncGenerator[bytes, None]:
        partial = PartialMarkdown()
        yield encode_event("begin", renderer.page("_writing.html"))
        with suppress(HomefireError):  # the fragment that follows says what failed
            async with aclosing(homefire.turns.watch(turn_id, principal=principal)) as events:
                is_waiting = False
                async for told in told_while_waiting(events, lambda: awaited(session_id)):
                    if isinstance(told, str):
                        is_waiting = True
                        yield encode_event("waiting", renderer.page("_awaited.html", sentence=told))
                        continue
                    _, event = told
                    if not isinstance(event, Delta):
                        continue
                    if is_waiting:
                        is_waiting = False
                        yield encode_event("waiting", renderer.page("_awaited.html", sentence=""))
                    partial.feed(event.text)
                    for update in partial.updates(homefire.world.clock.monotonic_s()):
                        yield encode_event("settled", update.settled) + encode_event("tail", update.tail)
        # In a thread: a long answer takes longer to render than others should wait.
        yield encode_event("ended", await asyncio.to_thread(ending, turn_id, principal))
        yield encode_event("closed", "")

    def ending(turn_id: str, principal: Principal) -> str:
        message = views.answer(principal, turn_id, is_fresh=True)
        template = "_unanswered.html" if message["is_unanswered"] else "_answer.html"
        return renderer.page(template, message=message)

    @router.post("/web/turns/{turn_id}/stop")
    async def stop(request: Request, turn_id: str) -> Response:
        """End an answer; what was written stays."""
        await homefire.turns.cancel(turn_id, principal=principal_of(request))
        return Response(status_code=204)

    @router.post("/web/turns/{turn_id}/verdict")
    async def judge(
        request: Request, turn_id: str, verdict: Annotated[Literal["good", "bad", "none"], Form()]
    ) -> str:
        """Thumbs up or down, or neither again."""
        principal = principal_of(request)
        views.turn(principal, turn_id)
        await homefire.training.feedback(turn_id, verdict=verdict, principal=principal.id)
        return renderer.page("_thumbs.html", message=views.answer(principal, turn_id))

    @router.get("/web/turns/{turn_id}/correction")
    async def correction_form(request: Request, turn_id: str) -> str:
        """The form behind “this should have been…”."""
        answer = views.answer(principal_of(request), turn_id)
        return renderer.page("_correction.html", turn=answer["turn"], text=answer["correction"] or "")

    @router.post("/web/turns/{turn_id}/correction")
    async def correct(request: Request, turn_id: str, text: Annotated[str, Form()]) -> str:
        """Take a correction: from here on it is an example to learn."""
        principal = principal_of(request)
        views.turn(principal, turn_id)
        given = await homefire.training.feedback(
            turn_id, verdict="correction", text=text.replace("\r\n", "\n"), principal=principal.id
        )
        assert given.example_id is not None, "a correction is an example"
        report = views.correction(principal, given.example_id)
        return renderer.page("_taught.html", report=report, run=None, is_changed=True)

    @router.get("/web/turns/{turn_id}/corrected")
    async def corrected(request: Request, turn_id: str) -> str:
        """What was said of an answer so far: closes the form."""
        answer = views.answer(principal_of(request), turn_id)
        return renderer.page(
            "_corrected.html", text=answer["correction"], report=answer["report"], is_changed=False
        )

    return router


def principal_of(request: Request) -> Principal:
    """Who asks, as the guard recognised them."""
    principal: Principal = request.state.principal
    return principal
