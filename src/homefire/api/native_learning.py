"""The circle over HTTP: feedback and corrections in; runs to watch and to move.

A 2xx on feedback comes after it is durable. What a person moves (pause, stop, …) is recorded with who and
why.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Path, Query
from starlette.requests import Request

from homefire.api.auth import principal_of
from homefire.api.body import invalid
from homefire.api.context import Context
from homefire.api.documents import JsonDocument, create_router, read_document
from homefire.api.event_stream import EventStream, encode_event
from homefire.api.native_types import (
    CorrectionBody,
    CorrectionsPage,
    EditCorrectionBody,
    FeedbackBody,
    Queue,
    ReasonBody,
    Runs,
    RunView,
    StartRunBody,
)
from homefire.api.native_versions import live_model, report_on
from homefire.api.owner import check_owner, is_owner
from homefire.chat.request import Principal
from homefire.errors import NotFound, quoted
from homefire.store.nouns.runs import RunRow
from homefire.store.run_states import RunState
from homefire.training.correction_states import CorrectionState, CorrectionView
from homefire.training.corrections import FeedbackReceipt
from homefire.types import Message

Move = Literal["pause", "resume", "stop", "skip", "retry"]
RunId = Annotated[str, Path(max_length=100)]
ExampleId = Annotated[str, Path(max_length=100)]
NEWEST = 1 << 62
PAGE_ROWS = 200
"""So many rows are looked at in one go while a page of one state is filled."""


def create_learning_router(context: Context) -> APIRouter:
    """Routes of feedback, corrections, runs and the queue."""
    router = create_router("learning")
    homefire, describe = context.homefire, context.described.route

    def find(run_id: str) -> RunRow:
        row = homefire.store.runs.get(run_id)
        if row is None:
            raise NotFound(
                f"There is no run {quoted(run_id)}.", hint="GET /v1/runs lists them.", run_id=run_id
            )
        return row

    @router.post("/v1/feedback", **describe(body=FeedbackBody, answer=FeedbackReceipt))
    async def give_feedback(request: Request) -> JsonDocument:
        """Judge an answer: good, bad, or what it should have been (which becomes something to learn)."""
        wanted = await read_document(request, FeedbackBody)
        given = await homefire.training.feedback(
            wanted.turn_id, verdict=wanted.verdict, text=wanted.text, principal=principal_of(request).id
        )
        return JsonDocument(given)

    @router.post("/v1/corrections", **describe(body=CorrectionBody, answer=FeedbackReceipt))
    async def correct(request: Request) -> JsonDocument:
        """Teach an answer without a turn: to a prompt, or to the end of a conversation."""
        wanted = await read_document(request, CorrectionBody)
        if (wanted.prompt is None) == (wanted.messages is None):
            raise invalid("prompt", "one of prompt and messages is expected")
        prompt = () if wanted.prompt is None else (Message("user", wanted.prompt),)
        given = await homefire.training.correct(
            wanted.messages or prompt, answer=wanted.answer, principal=principal_of(request).id
        )
        return JsonDocument(given)

    @router.get("/v1/corrections", **describe(answer=CorrectionsPage))
    async def list_corrections(
        request: Request,
        state: CorrectionState | None = None,
        before: Annotated[int, Query(ge=0)] = NEWEST,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> JsonDocument:
        """The caller's corrections, newest first, each with its state and what happens next."""
        return JsonDocument(
            page_of_corrections(context, principal_of(request).id, state=state, before=before, limit=limit)
        )

    @router.get("/v1/corrections/{example_id}", **describe(answer=CorrectionView))
    async def show_correction(request: Request, example_id: ExampleId) -> JsonDocument:
        """One correction; the beginning of its id is enough."""
        example = homefire.training.changes.find(example_id, principal=principal_of(request).id)
        return JsonDocument(homefire.training.correction_states().view(example))

    @router.patch("/v1/corrections/{example_id}", **describe(body=EditCorrectionBody, answer=CorrectionView))
    async def edit_correction(request: Request, example_id: ExampleId) -> JsonDocument:
        """Put another correction in its place; answers with the new one."""
        wanted = await read_document(request, EditCorrectionBody)
        if wanted.answer is None and wanted.question is None:
            raise invalid("answer", "an answer or a question is expected")
        example = await homefire.training.changes.edit(
            example_id, principal=principal_of(request).id, answer=wanted.answer, question=wanted.question
        )
        return JsonDocument(homefire.training.correction_states().view(example))

    @router.delete("/v1/corrections/{example_id}", **describe(body=ReasonBody, answer=CorrectionView))
    async def withdraw_correction(request: Request, example_id: ExampleId) -> JsonDocument:
        """Withdraw a correction; where what is live knows it, a run that un-teaches it is queued."""
        wanted = await read_document(request, ReasonBody)
        example = await homefire.training.changes.withdraw(
            example_id, principal=principal_of(request).id, why=wanted.why
        )
        return JsonDocument(homefire.training.correction_states().view(example))

    @router.post("/v1/corrections/{example_id}/retry", **describe(answer=RunView))
    async def retry_correction(request: Request, example_id: ExampleId) -> JsonDocument:
        """Teach a refused, stranded or taken-back correction once more, by itself; answers with the run."""
        row = await homefire.training.changes.retry(example_id, principal=principal_of(request).id)
        return JsonDocument(run_view(context, row))

    @router.post("/v1/corrections/{example_id}/settle", **describe(answer=CorrectionView))
    async def settle_disagreement(request: Request, example_id: ExampleId) -> JsonDocument:
        """Keep this answer where people gave one question several; the others are withdrawn. For the owner only."""
        check_owner(context, principal_of(request), to="settle a disagreement")
        example = await homefire.training.changes.settle(example_id, owner=principal_of(request).id)
        return JsonDocument(homefire.training.correction_states().view(example))

    @router.get("/v1/runs", **describe(answer=Runs))
    async def list_runs(
        state: RunState | None = None,
        example_id: Annotated[str | None, Query(max_length=100)] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> JsonDocument:
        """Runs, newest first; of one `state`, or of those that learn one example (`example_id`)."""
        rows = sorted(homefire.store.runs.list(state), key=lambda row: row.queued_at_s, reverse=True)
        if example_id is not None:
            rows = [row for row in homefire.store.runs.of_example(example_id) if state in (None, row.state)]
        return JsonDocument(Runs([run_view(context, row) for row in rows[:limit]]))

    @router.get("/v1/queue", **describe(answer=Queue))
    async def queue(request: Request) -> JsonDocument:
        """What will be trained, what training waits for, and what nothing will train."""
        return JsonDocument(
            Queue(
                runs=open_runs(context),
                num_pending_examples=len(homefire.store.examples.pending()),
                waiting_reason=homefire.training.waiting_reason(),
                unlearned=tuple(homefire.training.unlearned(principal_of(request).id)),
                disagreements=disagreements(context, principal_of(request)),
            )
        )

    @router.post("/v1/runs", **describe(body=StartRunBody, answer=RunView))
    async def start_run(request: Request) -> JsonDocument:
        """Train now, with the named examples or with all corrections that wait."""
        wanted = await read_document(request, StartRunBody)
        row = await homefire.training.queue(wanted.example_ids)
        return JsonDocument(run_view(context, row))

    @router.get("/v1/runs/{run_id}", **describe(answer=RunView))
    async def show_run(request: Request, run_id: RunId) -> JsonDocument:
        """One run, with its progress, the gate's verdict, and the caller's corrections in it."""
        row = find(run_id)
        corrections = tuple(homefire.training.corrections_of(run_id, principal_of(request).id))
        return JsonDocument(msgspec.structs.replace(run_view(context, row), corrections=corrections))

    @router.get("/v1/runs/{run_id}/events", **describe(answer=RunView, answer_type="text/event-stream"))
    async def follow_run(run_id: RunId) -> EventStream:
        """Server-sent events `progress`: the run's progress now, then every change until it ends."""
        find(run_id)

        async def events() -> AsyncGenerator[bytes, None]:
            async for progress in homefire.training.watch(run_id):
                yield encode_event("progress", progress)

        return EventStream(events(), stopping=context.stopping, redact=homefire.redactor.redact)

    @router.post("/v1/runs/{run_id}/{move}", **describe(body=ReasonBody, answer=RunView))
    async def move_run(request: Request, run_id: RunId, move: Move) -> JsonDocument:
        """Pause, resume, stop, skip or retry a run. Conflict where its state does not allow it."""
        wanted = await read_document(request, ReasonBody)
        find(run_id)
        row = await homefire.training.signal(
            run_id, move, who=principal_of(request).id, why=wanted.why or f"{move} asked for"
        )
        return JsonDocument(run_view(context, row))

    return router


def run_view(context: Context, row: RunRow) -> RunView:
    """A row with what is known beside it."""
    homefire = context.homefire
    progress = homefire.training.progress(row.run_id)
    version = homefire.store.versions.get(row.version) if row.version is not None else None
    moves = homefire.store.aliases.history("live") if version is not None else []
    return RunView(
        **{name: getattr(row, name) for name in row.__struct_fields__},
        progress=progress,
        promoted=version is not None and any(move.target == version.version for move in moves),
        gate_passed=version.gate_passed if version is not None else None,
        gate_reasons=version.gate_reasons if version is not None else (),
        gate_report=report_on(version, live=live_model(context)) if version is not None else None,
    )


def disagreements(context: Context, principal: Principal) -> tuple[tuple[CorrectionView, ...], ...]:
    """Questions with several people's answers; for the owner, others see their own as `disputed`."""
    return tuple(context.homefire.training.disagreements()) if is_owner(context, principal) else ()


def page_of_corrections(
    context: Context, principal: str, *, state: CorrectionState | None, before: int, limit: int
) -> CorrectionsPage:
    """At most `limit` corrections of a principal that were taught before this place in the log."""
    states, examples = context.homefire.training.correction_states(), context.homefire.store.examples
    found: list[CorrectionView] = []
    while len(found) <= limit:
        rows = examples.page(principal, before_seq=before, limit=PAGE_ROWS)
        if not rows:
            break
        before = rows[-1].seq
        views = (states.view(row) for row in rows)
        found += [view for view in views if state is None or view.state == state]
    page = found[:limit]
    return CorrectionsPage(page, page[-1].seq if len(found) > limit else None)


def open_runs(context: Context) -> list[RunView]:
    """Runs that are not over, the one that trains first."""
    runs = context.homefire.store.runs
    rows = [*runs.list("running"), *runs.list("paused"), *runs.list("queued")]
    return [run_view(context, row) for row in rows]
