"""One turn, from a message to a recorded answer: the only place where the circle's serving half is walked.

    check → place in a session → context → route → serving → deltas → durable record → Ended

Promises:
- when Ended is seen, the turn is on disk; if it cannot be recorded the client gets that error, never an
  Ended;
- a client that leaves (a closed iterator, a cancelled task) stops the generation and is recorded as
  cancelled, with what was said so far; an engine's failure is recorded as failed, then raised;
- messages left out of a prompt are declared in Started, in Ended and in the record;
- turns of one named session are taken one at a time; a session is only ever its principal's.

What is refused (bad input, a full queue, a prompt that cannot fit) is no turn: nothing was taken, nothing is
recorded. Costs about 0.1 ms of this process besides the store's append and the engine.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import msgspec

from homefire.chat.checks import check_request
from homefire.chat.context import Context, compose, room_for_prompt, surely_fits, trim
from homefire.chat.place import Place, find_place, queue_of
from homefire.chat.request import ChatRequest, Ended, Started, TurnEvent
from homefire.config.schema import ChatSettings, Settings
from homefire.engines.base import Delta, EngineRequest, Finish, Generated
from homefire.errors import ContextOverflow, HomefireError, InvalidRequest, QueueFull
from homefire.serving.router import Route, Router, RouteRequest
from homefire.serving.serving import Serving
from homefire.sessions import digest
from homefire.store.events import RecordedMessage, TurnRecorded
from homefire.store.store import Store
from homefire.types import Sampling
from homefire.world import World

log = logging.getLogger(__name__)

Outcome = Literal["answered", "cancelled", "failed"]


@dataclass(slots=True)
class _Turn:
    """A turn under way."""

    turn_id: str
    request: ChatRequest
    place: Place
    route: Route
    context: Context
    sampling: Sampling
    deadline_s: float
    """On the event loop's clock; for counting, waiting, loading and generating together."""
    answer: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.answer)


class Turns:
    """Takes turns. One for each server."""

    def __init__(
        self, store: Store, serving: Serving, router: Router, settings: Settings, *, world: World
    ) -> None:
        self._store = store
        self._serving = serving
        self._router = router
        self._settings: ChatSettings = settings.chat
        self._request_timeout_s = settings.server.request_timeout_s
        self._world = world
        self._queues: dict[str, _Queue] = {}

    async def run(self, request: ChatRequest) -> AsyncGenerator[TurnEvent, None]:
        """Take one turn: Started (with the first text), Delta…, Ended (durable). Close it to cancel.

        Raises InvalidRequest, ContextOverflow, NotFound (session, turn, model), QueueFull, RequestTimeout,
        EngineError, StoreError. Nothing was yielded when a refusal is raised.
        """
        check_request(request)
        async with self._one_at_a_time(queue_of(self._store, request)):
            turn = self._begin(request)
            finish: Finish | None = None
            started = False
            try:
                async with aclosing(self._generate(turn)) as stream:
                    async for item in stream:
                        if not started:
                            started = True
                            yield _started(turn)
                        if isinstance(item, Delta):
                            turn.answer.append(item.text)
                            yield item
                        else:
                            finish = item
            except (GeneratorExit, asyncio.CancelledError):
                await self._record_cancelled(turn)
                raise
            except (InvalidRequest, QueueFull):
                raise
            except Exception as error:
                code = error.code if isinstance(error, HomefireError) else HomefireError.code
                await self._store.append(self._event(turn, "failed", error_code=code))
                raise
            assert finish is not None, "serving ends a stream with a Finish or an error"
            yield await self._record(turn, finish)

    def _begin(self, request: ChatRequest) -> _Turn:
        settings = self._settings
        route = self._router.route(
            RouteRequest(
                model=request.model,
                messages=request.messages,
                channel=request.channel,
                principal_id=request.principal.id,
                session_id=request.session_id,
            )
        )
        place = find_place(self._store, self._world, request)
        context = (
            Context(())
            if request.prompt is not None
            else compose(place.conversation, system_prompt=settings.system_prompt)
        )
        sampling = request.sampling
        if sampling.max_tokens is None:
            sampling = msgspec.structs.replace(sampling, max_tokens=settings.max_tokens)
        if sampling.temperature is None and settings.temperature is not None:
            sampling = msgspec.structs.replace(sampling, temperature=settings.temperature)
        deadline_s = asyncio.get_running_loop().time() + self._request_timeout_s
        return _Turn(self._world.new_id("turn"), request, place, route, context, sampling, deadline_s)

    async def _generate(self, turn: _Turn) -> AsyncGenerator[Generated, None]:
        may_trim = turn.request.prompt is None and (
            (turn.request.overflow or self._settings.overflow) == "trim"
        )
        limit = self._serving.context_length(turn.route)
        if may_trim and limit is not None and not self._surely_fits(turn, limit):
            await self._trim(turn, limit)
        num_items = 0
        try:
            async with aclosing(self._ask(turn)) as stream:
                async for item in stream:
                    num_items += 1
                    yield item
            return
        except ContextOverflow as overflow:
            if not may_trim or num_items or turn.context.num_trimmed_messages:
                raise
            limit = int(overflow.details["limit"])
        await self._trim(turn, limit)
        async with aclosing(self._ask(turn)) as stream:
            async for item in stream:
                yield item

    def _ask(self, turn: _Turn) -> AsyncGenerator[Generated, None]:
        request = EngineRequest(
            messages=turn.context.messages,
            prompt=turn.request.prompt,
            sampling=turn.sampling,
            conversation=turn.place.session_id,
        )
        return self._serving.generate(turn.route, request, deadline_s=turn.deadline_s)

    def _surely_fits(self, turn: _Turn, limit: int) -> bool:
        assert turn.sampling.max_tokens is not None
        return surely_fits(turn.context, room=room_for_prompt(limit, max_tokens=turn.sampling.max_tokens))

    async def _trim(self, turn: _Turn, limit: int) -> None:
        assert turn.sampling.max_tokens is not None
        turn.context = await trim(
            turn.context,
            limit=limit,
            max_tokens=turn.sampling.max_tokens,
            count=partial(self._serving.count_tokens, turn.route, deadline_s=turn.deadline_s),
        )

    async def _record(self, turn: _Turn, finish: Finish) -> Ended:
        outcome: Outcome = "cancelled" if finish.stop_reason == "cancelled" else "answered"
        event = self._event(turn, outcome, finish=finish)
        await self._store.append(event)
        return Ended(
            turn_id=turn.turn_id,
            message_id=event.messages[-1].message_id,
            text=event.messages[-1].content,
            stop_reason=finish.stop_reason,
            stop_string=finish.stop_string,
            usage=finish.usage,
            timings=finish.timings,
            num_trimmed_messages=turn.context.num_trimmed_messages,
        )

    async def _record_cancelled(self, turn: _Turn) -> None:
        # The store takes an append before its first await: a second cancellation cannot lose the record.
        try:
            await self._store.append(self._event(turn, "cancelled"))
        except HomefireError:
            # The client is gone: the log is the only place left to say it, and the cancellation must go on.
            log.exception("Turn %s was cancelled, and could not be recorded.", turn.turn_id)

    def _event(
        self, turn: _Turn, outcome: Outcome, *, finish: Finish | None = None, error_code: str | None = None
    ) -> TurnRecorded:
        return TurnRecorded(
            turn_id=turn.turn_id,
            session_id=turn.place.session_id,
            session_key=turn.place.session_key,
            principal=turn.request.principal.id,
            channel=turn.request.channel,
            parent_message_id=turn.place.parent_message_id,
            messages=self._messages(turn, has_answer=finish is not None or bool(turn.answer)),
            requested_model=turn.request.model,
            served_model=turn.route.model.name,
            served_digest=turn.route.model.digest,
            route_reason=turn.route.reason,
            outcome=outcome,
            stop_reason=finish.stop_reason if finish else "cancelled" if outcome == "cancelled" else None,
            usage=finish.usage if finish else None,
            timings=finish.timings if finish else None,
            num_trimmed_messages=turn.context.num_trimmed_messages,
            error_code=error_code,
        )

    def _messages(self, turn: _Turn, *, has_answer: bool) -> tuple[RecordedMessage, ...]:
        said = [(message.role, message.content) for message in turn.place.new]
        if has_answer:
            said.append(("assistant", turn.text))
        link = turn.place.parent_digest
        recorded = []
        # Sorted, because identifiers of one millisecond have no order of their own and readers list by them.
        message_ids = sorted(self._world.new_id("msg") for _ in said)
        for message_id, (role, content) in zip(message_ids, said, strict=True):
            link = digest.chain(link, role, content)
            recorded.append(RecordedMessage(message_id, role, content, link))
        return tuple(recorded)

    @asynccontextmanager
    async def _one_at_a_time(self, session_id: str | None) -> AsyncIterator[None]:
        if session_id is None:
            yield
            return
        queue = self._queues.setdefault(session_id, _Queue())
        queue.num_users += 1
        try:
            async with queue.lock:
                yield
        finally:
            queue.num_users -= 1
            if not queue.num_users:
                del self._queues[session_id]


@dataclass(slots=True)
class _Queue:
    """Those who take or wait for a turn in one session."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    num_users: int = 0


def _started(turn: _Turn) -> Started:
    return Started(
        turn_id=turn.turn_id,
        session_id=turn.place.session_id,
        model=turn.request.model,
        served_model=turn.route.model.name,
        route_reason=turn.route.reason,
        num_trimmed_messages=turn.context.num_trimmed_messages,
    )
