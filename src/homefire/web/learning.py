"""What becomes of a correction and of a run, as fragments: asked for by the chat page, streamed to a run's page."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator

from homefire.api.context import Context
from homefire.api.event_stream import encode_event
from homefire.store.nouns.runs import RunRow
from homefire.web.correction_report import CorrectionReport
from homefire.web.render import Renderer
from homefire.web.views import Views

NEXT_TRY_WITHIN_S = 10.0
"""So long after a refusal the next try may still be queued."""


def learning_fragment(
    context: Context, views: Views, renderer: Renderer, *, report: CorrectionReport, shown: str
) -> tuple[str, bool]:
    """How far a correction is, with its run in full, and whether that is final.

    The buttons come with it only where they are not those `shown`: who is about to press one keeps it.
    """
    row = context.homefire.store.runs.get(report.run_id) if report.run_id is not None else None
    run = views.run(row) if row is not None else None
    is_final = not report.is_moving
    if is_final and row is not None and row.state == "refused":
        now_s = context.homefire.world.clock.now_s()
        is_final = now_s - (row.ended_at_s or now_s) > NEXT_TRY_WITHIN_S
    text = renderer.page("_learning.html", report=report, run=run)
    if shown != " ".join(report.actions):
        text += renderer.page("_correction_actions.html", report=report, is_fragment=True)
    if run is not None and run["has_ended"]:
        text += renderer.page("_live.html", live_model=views.live_model())
    return text, is_final


async def watch_run(
    context: Context, views: Views, renderer: Renderer, *, run_id: str
) -> AsyncGenerator[bytes, None]:
    """Progress as fragments (`progress`) and loss points (`losses`), until the run has ended."""
    store = context.homefire.store

    def fragment() -> str:
        row: RunRow | None = store.runs.get(run_id)
        return renderer.page("_progress.html", run=views.run(row), on_run_page=True) if row else ""

    last_step, last_text = -1, ""
    async for progress in context.homefire.training.watch(run_id):
        text = fragment()
        if text != last_text:
            yield encode_event("progress", text)
            last_text = text
        points = [point for point in progress.losses if point[0] > last_step]
        if points:
            last_step = points[-1][0]
            yield encode_event("losses", json.dumps(points))
    yield encode_event("progress", fragment() + renderer.page("_live.html", live_model=views.live_model()))
    yield encode_event("closed", "")
