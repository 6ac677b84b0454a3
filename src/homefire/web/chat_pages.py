"""The chat page: conversations, streamed answers, thumbs, corrections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from homefire.api.context import Context
from homefire.chat.request import ChatRequest, Ended, Principal, Started
from homefire.engines.base import Delta
from homefire.errors import HomefireError, NotFound
from homefire.types import Message
from homefire.web.learning import learning_fragment
from homefire.web.login import is_signed_in
from homefire.web.partial_markdown import PartialMarkdown
from homefire.web.pending import Pending, PendingAnswers
from homefire.web.render import Page, Renderer
from homefire.web.sse import encode_event, respond_with_events, until
from homefire.web.views import NUM_SESSIONS, Views

IDEAS = ("Hello! Who are you?", "What is 7 + 8?", "Where do we keep the spare key?")

STOP_ASKING = 286
"""The status after which htmx asks no more (https://htmx.org/docs/#polling)."""


def create_chat_router(context: Context, views: Views, renderer: Renderer) -> APIRouter:
    """Routes of the chat page and its fragments."""
    homefire = context.homefire
    router = APIRouter(include_in_schema=False, default_response_class=Page)
    pending_answers = PendingAnswers(homefire.world)

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
        """Take a question and answer with the place where its answer will appear."""
        question = Message("user", message)
        chat = ChatRequest(
            messages=(question,),
            principal=principal_of(request),
            channel="web",
            session_id=session_id or None,
        )
        pending = pending_answers.add(chat)
        return renderer.page("_pending.html", pending_id=pending.pending_id, message=question)

    @router.post("/web/turns/{turn_id}/regenerate")
    async def regenerate(request: Request, turn_id: str) -> str:
        """Answer a question once more."""
        turn = views.turn(principal_of(request), turn_id)
        chat = ChatRequest(
            messages=(),
            principal=principal_of(request),
            channel="web",
            session_id=turn.session_id,
            replaces_turn_id=turn_id,
        )
        pending = pending_answers.add(chat)
        return renderer.page("_pending.html", pending_id=pending.pending_id, message=None)

    @router.get("/web/pending/{pending_id}")
    async def stream(pending_id: str) -> Response:
        """The answer, word by word."""
        pending = pending_answers.begin(pending_id)
        if pending is None:
            return Response(status_code=204)
        return respond_with_events(answer_events(pending))

    async def answer_events(pending: Pending) -> AsyncIterator[bytes]:
        turn_id, model, outcome = None, "", "failed"
        events = homefire.turns.run(pending.request)
        partial = PartialMarkdown()
        try:
            async for event in until(pending.stop, events):
                if isinstance(event, Started):
                    turn_id, model, outcome = event.turn_id, event.served_model, "cancelled"
                elif isinstance(event, Delta):
                    partial.feed(event.text)
                    for update in partial.updates(homefire.world.clock.monotonic_s()):
                        yield encode_event("settled", update.settled) + encode_event("tail", update.tail)
                elif isinstance(event, Ended):
                    outcome = "answered"
                    context.metrics.answer_done(model=model, usage=event.usage, timings=event.timings)
            await events.aclose()
            if turn_id is not None:
                # In a thread: a long answer takes longer to render than others should wait.
                yield encode_event(
                    "ended", await asyncio.to_thread(answer, turn_id, pending.request.principal)
                )
        except HomefireError as error:
            yield encode_event("ended", renderer.page("_problem.html", error=error))
        finally:
            await events.aclose()
            pending_answers.end(pending)
            context.metrics.turn_done(dialect="web", outcome=outcome)
        yield encode_event("closed", "")

    def answer(turn_id: str, principal: Principal) -> str:
        written = renderer.page("_answer.html", message=views.answer(principal, turn_id, is_fresh=True))
        sessions = renderer.page(
            "_sessions.html",
            is_fragment=True,
            session=views.session(principal, views.turn(principal, turn_id).session_id),
            sessions=homefire.store.sessions.list(principal.id, limit=NUM_SESSIONS),
        )
        return written + sessions

    @router.post("/web/pending/{pending_id}/stop")
    async def stop(pending_id: str) -> Response:
        """End an answer; what was written stays."""
        pending_answers.stop(pending_id)
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
            turn_id, verdict="correction", text=text, principal=principal.id
        )
        return renderer.page("_taught.html", text=text, example_id=given.example_id)

    @router.get("/web/examples/{example_id}/learning")
    async def learning(example_id: str) -> Response:
        """How far a correction is; the page asks again until the answer is final."""
        if homefire.store.examples.get(example_id) is None:
            raise NotFound(f"There is no example {example_id!r}.")
        text, is_final = learning_fragment(context, views, renderer, example_id=example_id)
        return Page(text, status_code=STOP_ASKING if is_final else 200)

    @router.get("/web/turns/{turn_id}/corrected")
    async def corrected(request: Request, turn_id: str) -> str:
        """What was said of an answer so far: closes the form."""
        return renderer.page(
            "_corrected.html", text=views.answer(principal_of(request), turn_id)["correction"]
        )

    return router


def principal_of(request: Request) -> Principal:
    """Who asks, as the guard recognised them."""
    principal: Principal = request.state.principal
    return principal
