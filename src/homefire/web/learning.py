"""Streams that tell what becomes of a correction and of a run."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from homefire.api.context import Context
from homefire.store.nouns.runs import RunQueued, RunRow
from homefire.web.render import Renderer
from homefire.web.sse import encode_event, until
from homefire.web.views import Views


async def watch_example(
    context: Context, views: Views, renderer: Renderer, *, example_id: str
) -> AsyncIterator[bytes]:
    """Events from a correction to the end of the run that learned it."""
    training = context.homefire.training
    happening = context.homefire.store.subscribe()
    try:
        run_id = training.run_of(example_id)
        if run_id is None:
            async for recorded in until(context.stopping, happening):
                if isinstance(recorded.event, RunQueued) and (run_id := training.run_of(example_id)):
                    break
    finally:
        happening.close()
    if run_id is not None:
        async for event in watch_run(context, views, renderer, run_id=run_id):
            yield event


async def watch_run(
    context: Context, views: Views, renderer: Renderer, *, run_id: str, on_run_page: bool = False
) -> AsyncIterator[bytes]:
    """Progress as fragments (`progress`) and loss points (`losses`), until the run has ended."""
    store = context.homefire.store

    def fragment() -> str:
        row: RunRow | None = store.runs.get(run_id)
        return renderer.page("_progress.html", run=views.run(row), on_run_page=on_run_page) if row else ""

    last_step, last_text = -1, ""
    async for progress in until(context.stopping, context.homefire.training.watch(run_id)):
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
