"""Corrections on the page: the state of each, and taking it back, changing it, teaching it again, and
settling what people disagree about.

The same fragment is beside a corrected answer and in the list of all corrections. Everybody sees their own.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from homefire.api.auth import principal_of
from homefire.api.context import Context
from homefire.api.native_learning import disagreements
from homefire.api.owner import check_owner
from homefire.web.learning import learning_fragment
from homefire.web.login import is_signed_in
from homefire.web.render import Page, Renderer
from homefire.web.views import Views

NEWEST = 1 << 62
NUM_LISTED = 20
STOP_ASKING = 286
"""The status after which htmx asks no more (https://htmx.org/docs/#polling)."""
WHY = "withdrawn on the page"


def create_correction_router(context: Context, views: Views, renderer: Renderer) -> APIRouter:
    """Routes of the list of corrections and of the fragment of one."""
    training = context.homefire.training
    router = APIRouter(include_in_schema=False, default_response_class=Page)

    def fragment(request: Request, example_id: str, *, is_changed: bool = False) -> str:
        report = views.correction(principal_of(request), example_id)
        return renderer.page("_taught.html", report=report, run=None, is_changed=is_changed)

    @router.get("/corrections")
    def corrections(request: Request, before: Annotated[int, Query(ge=0)] = NEWEST) -> str:
        """One page of them, newest first; in a thread, as each costs a few reads."""
        listed, older = views.corrections(principal_of(request), before=before, limit=NUM_LISTED)
        return renderer.page(
            "corrections.html",
            page="Corrections",
            signed_in=is_signed_in(request),
            live_model=views.live_model(),
            corrections=listed,
            disagreements=disagreements(context, principal_of(request)) if before == NEWEST else (),
            older=older,
            is_newest=before == NEWEST,
        )

    @router.get("/web/corrections/{example_id}")
    def show(request: Request, example_id: str) -> str:
        """A correction as it is now."""
        return fragment(request, example_id)

    @router.get("/web/corrections/{example_id}/learning")
    def learning(request: Request, example_id: str, shown: str = "") -> Response:
        """How far it is; the page asks again until that is final."""
        report = views.correction(principal_of(request), example_id)
        text, is_final = learning_fragment(context, views, renderer, report=report, shown=shown)
        return Page(text, status_code=STOP_ASKING if is_final else 200)

    @router.get("/web/corrections/{example_id}/edit")
    def edit_form(request: Request, example_id: str) -> str:
        """The form that changes it."""
        report = views.correction(principal_of(request), example_id)
        return renderer.page("_edit_correction.html", report=report)

    @router.post("/web/corrections/{example_id}/edit")
    async def edit(
        request: Request,
        example_id: str,
        question: Annotated[str, Form()],
        answer: Annotated[str, Form()],
    ) -> str:
        """Put another one in its place."""
        before = views.correction(principal_of(request), example_id)
        question, answer = (text.replace("\r\n", "\n") for text in (question, answer))
        made = await training.changes.edit(
            before.example_id,
            principal=principal_of(request).id,
            answer=answer if answer != before.answer else None,
            question=question if question != before.question else None,
        )
        return fragment(request, made.example_id, is_changed=True)

    @router.post("/web/corrections/{example_id}/withdraw")
    async def withdraw(request: Request, example_id: str) -> str:
        """Take it back; un-teach it where what is live knows it."""
        await training.changes.withdraw(example_id, principal=principal_of(request).id, why=WHY)
        return fragment(request, example_id, is_changed=True)

    @router.post("/web/corrections/{example_id}/retry")
    async def retry(request: Request, example_id: str) -> str:
        """Teach it once more, by itself."""
        await training.changes.retry(example_id, principal=principal_of(request).id)
        return fragment(request, example_id, is_changed=True)

    @router.post("/web/corrections/{example_id}/settle")
    async def settle(request: Request, example_id: str) -> Response:
        """Keep this answer where people disagree; for the owner of the home only."""
        check_owner(context, principal_of(request), to="settle a disagreement")
        await training.changes.settle(example_id, owner=principal_of(request).id)
        return RedirectResponse("/corrections", status_code=303)

    return router
