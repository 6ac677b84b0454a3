"""The pages of runs: what was trained, what is being trained, and its loss curve."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response

from homefire.api.auth import principal_of
from homefire.api.context import Context
from homefire.api.event_stream import EventStream
from homefire.errors import NotFound, quoted
from homefire.store.nouns.runs import RunRow
from homefire.web.learning import watch_run
from homefire.web.login import is_signed_in
from homefire.web.render import Page, Renderer
from homefire.web.views import Views

Action = Literal["pause", "resume", "stop", "skip", "retry"]


def create_run_router(context: Context, views: Views, renderer: Renderer) -> APIRouter:
    """Routes of the run pages."""
    homefire = context.homefire
    router = APIRouter(include_in_schema=False, default_response_class=Page)

    def find(run_id: str) -> RunRow:
        row = homefire.store.runs.get(run_id)
        if row is None:
            raise NotFound(f"There is no run {quoted(run_id)}.")
        return row

    @router.get("/runs")
    def runs(request: Request) -> str:
        """All runs; in a thread, as each row of the page costs a few reads."""
        return renderer.page(
            "runs.html",
            page="Runs",
            signed_in=is_signed_in(request),
            live_model=views.live_model(),
            runs=views.runs(principal_of(request)),
            waiting=homefire.training.waiting_reason(),
        )

    @router.get("/runs/{run_id}")
    def run(request: Request, run_id: str) -> str:
        """One run."""
        row = find(run_id)
        return renderer.page(
            "run.html",
            page="Runs",
            signed_in=is_signed_in(request),
            losses=homefire.training.losses(run_id),
            live_model=views.live_model(),
            run=views.run(row),
            examples=views.examples(row, principal_of(request)),
            on_run_page=True,
        )

    @router.get("/web/runs/{run_id}/progress")
    async def progress(run_id: str) -> Response:
        """The run as it goes on."""
        events = watch_run(context, views, renderer, run_id=find(run_id).run_id)
        return EventStream(events, stopping=context.stopping, redact=homefire.redactor.redact)

    @router.post("/web/runs/{run_id}/{action}")
    async def act(run_id: str, action: Action) -> str:
        """Pause, resume, stop, skip or retry; answers with the run's new state."""
        await homefire.training.signal(
            find(run_id).run_id, action, who="web", why=f"{action} pressed on the page"
        )
        return renderer.page("_progress.html", run=views.run(find(run_id)), on_run_page=True)

    return router
