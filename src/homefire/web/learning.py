"""Streams that tell what becomes of a correction and of a run."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from homefire.app import Homefire
from homefire.store.events import RunQueued
from homefire.web.render import Renderer
from homefire.web.sse import encode_event
from homefire.web.views import Views


async def watch_example(homefire: Homefire, renderer: Renderer, example_id: str) -> AsyncIterator[bytes]:
    """Events from a correction to the end of the run that learned it."""
    run_id = homefire.store.runs.of_example(example_id)
    if run_id is None:
        async with homefire.store.subscribe() as happening:
            run_id = homefire.store.runs.of_example(example_id)
            while run_id is None:
                recorded = await anext(happening)
                if isinstance(recorded.event, RunQueued):
                    run_id = homefire.store.runs.of_example(example_id)
    async for event in watch_run(homefire, renderer, run_id):
        yield event


async def watch_run(homefire: Homefire, renderer: Renderer, run_id: str) -> AsyncIterator[bytes]:
    """Progress as fragments (`progress`) and loss points (`losses`), until the run has ended."""
    views = Views(homefire)
    last_step = -1
    last_text = ""
    async for progress in homefire.training.watch(run_id):
        row = homefire.store.runs.get(run_id)
        text = renderer.page("_progress.html", run=views.run(row))
        if text != last_text:
            yield encode_event("progress", text)
            last_text = text
        points = [point for point in progress.losses if point[0] > last_step]
        if points:
            last_step = points[-1][0]
            yield encode_event("losses", json.dumps(points))
    row = homefire.store.runs.get(run_id)
    yield encode_event("progress", renderer.page("_progress.html", run=views.run(row)))
    yield encode_event("closed", "")
