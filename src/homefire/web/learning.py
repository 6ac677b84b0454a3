"""What becomes of a correction and of a run, as fragments: asked for by the chat page, streamed to a run's page."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator

from homefire.api.context import Context
from homefire.api.event_stream import encode_event
from homefire.store.nouns.runs import RunRow
from homefire.web.render import Renderer
from homefire.web.views import Views

NEXT_TRY_WITHIN_S = 10.0
"""So long after a refusal the next try may still be queued."""


def learning_fragment(
    context: Context, views: Views, renderer: Renderer, *, example_id: str
) -> tuple[str, bool]:
    """How far a correction is, and whether that is final."""
    training, store = context.homefire.training, context.homefire.store
    run_id = training.run_of(example_id)
    row = store.runs.get(run_id) if run_id is not None else None
    if row is None:
        return renderer.page("_waiting.html", reason=training.waiting_reason()), False
    run = views.run(row)
    is_final = run["has_ended"]
    if is_final and run["state"] == "refused":
        now_s = context.homefire.world.clock.now_s()
        is_final = now_s - (row.ended_at_s or now_s) > NEXT_TRY_WITHIN_S
    text = renderer.page("_progress.html", run=run, on_run_page=False)
    if run["has_ended"]:
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
