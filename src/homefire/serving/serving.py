"""From a route to tokens: wait for the planner, take the ready engine, stream, and free everything.

Promises:
- whoever stops iterating (or is cancelled) frees its place and its slot, whether the request was waiting, in
  prefill or in decode;
- a crashed engine is asked once more, but only while nothing of the answer was given out;
- no request lasts longer than `server.request_timeout_s`, waiting, loading and counting included; errors are
  those of `homefire.errors`.

There is one queue, the planner's; what each request in it waits for can be read at any time (`queue`).
Costs about 20 µs of this process per request besides the engine's own, and 1 µs per item of the stream.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar, cast

import msgspec

from homefire.catalog.catalog import Catalog
from homefire.catalog.models import LIVE, ModelInfo
from homefire.config.schema import Settings
from homefire.engines.base import Delta, Embeddings, Engine, EngineRequest, Finish, Generated
from homefire.errors import (
    EngineCrashed,
    EngineError,
    EngineOutOfMemory,
    HomefireError,
    InvalidRequest,
    QueueFull,
    RequestTimeout,
)
from homefire.machine.memory import available_bytes
from homefire.serving.deadline import Deadline
from homefire.serving.effects import (
    Cause,
    Effects,
    Expired,
    LoadFailed,
    NeverFits,
    QueueIsFull,
    Refuse,
    Start,
    Stopping,
    WaitingRequest,
)
from homefire.serving.plan_state import gigabytes
from homefire.serving.planner import Lane, Planner
from homefire.serving.residency import (
    MakeEngine,
    Residency,
    ResidentModel,
    TrainingOccupant,
    stopping,
    weights_key,
)
from homefire.serving.router import Route
from homefire.types import Message
from homefire.world import World

AUTOMATIC_SHARE = 0.9
"""Of the memory that is free at the start: the budget where the settings name none."""

_T = TypeVar("_T")


class QueueStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How busy serving is: requests that use a model, and those that wait, with what they wait for."""

    num_active: int
    num_waiting: int
    waiting: tuple[WaitingRequest, ...] = ()


class Serving:
    """One for each server; `stop` ends its engines."""

    def __init__(
        self,
        catalog: Catalog,
        settings: Settings,
        *,
        make_engine: MakeEngine,
        world: World,
        training: TrainingOccupant | None = None,
    ) -> None:
        """`training` is parked when chat needs its memory, once it was announced (`training_holds`)."""
        self._catalog = catalog
        self._clock = world.clock
        self._request_timeout_s = settings.server.request_timeout_s
        budget_bytes = settings.serving.memory_budget_bytes
        self._planner = Planner(
            budget_bytes=budget_bytes or max(1, int(available_bytes() * AUTOMATIC_SHARE)),
            max_models=settings.serving.max_models,
            max_waiting=settings.serving.max_queue,
        )
        self._residency = Residency(
            self._planner,
            make_spec=catalog.spec,
            make_engine=make_engine,
            load_timeout_s=settings.serving.load_timeout_s,
            clock=world.clock,
            on_ticket=self._on_ticket,
            training=training,
        )
        self._num_tickets = 0
        self._waiters: dict[int, asyncio.Future[Start]] = {}
        self._ticket_of: dict[str, int] = {}
        self._live: str | None = None
        self._tick: asyncio.TimerHandle | None = None

    # Requests

    async def generate(
        self,
        route: Route,
        request: EngineRequest,
        *,
        lane: Lane = "interactive",
        deadline_s: float | None = None,
    ) -> AsyncGenerator[Generated, None]:
        """Stream the answer of `route.model`; the last item is a Finish with queue and load times filled in.

        `first_token_ms` counts from this call. `deadline_s` is a moment of the event loop's clock; None: the
        whole `server.request_timeout_s` from now. Raises QueueFull, RequestTimeout, ContextOverflow,
        EngineError, and what loading the model raises.
        """
        now_s = self._clock.monotonic_s
        asked_s = now_s()
        deadline = Deadline(self._request_timeout_s, at_s=deadline_s)
        try:
            start = await self._enter(route.model, deadline, lane=lane, conversation=request.conversation)
            try:
                load_s, first_token_ms = start.load_s, None
                for may_retry in (True, False):
                    ready_s = now_s()
                    with deadline:
                        engine = await self._ready_engine(route.model)
                    load_s += now_s() - ready_s
                    stream = cast("AsyncGenerator[Generated, None]", engine.generate(request))
                    try:
                        while True:
                            try:
                                with deadline:
                                    item = await stream.__anext__()
                            except StopAsyncIteration:
                                raise _broken_off(route.model) from None
                            if first_token_ms is None:
                                first_token_ms = (now_s() - asked_s) * 1000
                            if isinstance(item, Delta):
                                yield item
                                continue
                            queue_ms = (start.waited_s - start.load_s) * 1000
                            yield _timed(item, queue_ms, load_s * 1000, first_token_ms)
                            return
                    except EngineCrashed:
                        if first_token_ms is not None or not may_retry:
                            raise
                    finally:
                        await stream.aclose()
            finally:
                self._finish(start.ticket)
        finally:
            deadline.close()

    async def count_tokens(
        self,
        route: Route,
        messages: Sequence[Message],
        *,
        prompt: str | None = None,
        deadline_s: float | None = None,
    ) -> int:
        """Tokens of the conversation as `route.model` would see it (or of `prompt`, raw).

        Takes no slot: where the model is loaded it is done at once.
        """
        return await self._ask(
            route.model,
            lambda engine: engine.count_tokens(messages, prompt=prompt),
            num_slots=0,
            deadline_s=deadline_s,
        )

    async def embed(
        self, route: Route, texts: Sequence[str], *, deadline_s: float | None = None
    ) -> Embeddings:
        """One unit vector for each text, and their tokens. Raises InvalidRequest where the model gives none."""

        async def embed_all(engine: Engine) -> Embeddings:
            if "embeddings" not in engine.capabilities:
                raise InvalidRequest(f"{route.model.name} gives no embeddings.", param="model")
            return await engine.embed(texts)

        return await self._ask(route.model, embed_all, num_slots=1, deadline_s=deadline_s)

    def context_length(self, route: Route) -> int | None:
        """Tokens one request may fill; None while the model is not loaded."""
        engine = self._residency.engine_if_ready(weights_key(route.model))
        return engine.context_length if engine is not None else None

    # Models

    async def warm(self, name: str, *, deadline_s: float | None = None) -> None:
        """Load what `name` stands for; what `live` stands for stays loaded before all others."""
        resolved = self._catalog.resolve(name)
        if LIVE in resolved.chain:
            self._pin_live(resolved.model)

        async def nothing(engine: Engine) -> None:
            """It is loaded."""

        await self._ask(resolved.model, nothing, num_slots=0, deadline_s=deadline_s)

    def unload(self, name: str) -> None:
        """Evict what `name` stands for: its requests are served first, the next one loads it again."""
        self.evict(self._catalog.resolve(name).model)

    def evict(self, model: ModelInfo) -> None:
        """`unload` of a model whose name may be gone already; nothing where it is not loaded."""
        self._residency.apply(self._planner.unload(weights_key(model), now_s=self._clock.monotonic_s()))

    async def swap_to(self, model: ModelInfo) -> None:
        """Load `model` whole, beside whatever is in use, and pin it. Call it before the alias `live` moves.

        Stops nothing in use: the memory budget may be exceeded by this model until the old one has drained.
        The old one stays loaded while there is room, so that the way back is instant.
        """
        start = await self._enter(model, None, num_slots=0, may_exceed=True)
        try:
            await self._ready_engine(model)
            self._pin_live(model)
        finally:
            self._finish(start.ticket)

    # Training that shares the memory

    def training_holds(self, num_bytes: int) -> None:
        """Training takes this much memory from now on, and may be parked; 0: it takes none any more.

        No more is counted than the budget has beside what is pinned: training that was parked must be able to
        come back.
        """
        now_s = self._clock.monotonic_s()
        counted_bytes = min(num_bytes, self._planner.most_for_training_bytes)
        if counted_bytes > 0:
            self._apply(self._planner.training_started(counted_bytes, now_s=now_s))
        else:
            self._apply(self._planner.training_ended(now_s=now_s))

    # Readings

    def status(self) -> list[ResidentModel]:
        """The models in memory, or on their way. Cheap."""
        return self._residency.status()

    def queue(self) -> QueueStatus:
        """How many requests use a model and wait, and what each waits for."""
        planner = self._planner
        return QueueStatus(
            num_active=planner.num_active,
            num_waiting=planner.num_waiting,
            waiting=tuple(planner.waiting(self._clock.monotonic_s())),
        )

    def waiting_of(self, conversation: str) -> WaitingRequest | None:
        """What the conversation's newest request waits for; None when it waits for no place (any more)."""
        ticket = self._ticket_of.get(conversation)
        return (
            next((each for each in self.queue().waiting if each.ticket == ticket), None) if ticket else None
        )

    async def stop(self) -> None:
        """End all engines."""
        if self._tick is not None:
            self._tick.cancel()
        await self._residency.stop()

    # Tickets

    async def _ask(
        self,
        model: ModelInfo,
        call: Callable[[Engine], Awaitable[_T]],
        *,
        num_slots: int,
        deadline_s: float | None,
    ) -> _T:
        deadline = Deadline(self._request_timeout_s, at_s=deadline_s)
        try:
            start = await self._enter(model, deadline, num_slots=num_slots)
            try:
                with deadline:
                    return await call(await self._ready_engine(model))
            finally:
                self._finish(start.ticket)
        finally:
            deadline.close()

    async def _enter(
        self,
        model: ModelInfo,
        deadline: Deadline | None,
        *,
        num_slots: int = 1,
        lane: Lane = "interactive",
        may_exceed: bool = False,
        conversation: str | None = None,
    ) -> Start:
        """Wait until the planner lets a request through to its model."""
        key, now_s = weights_key(model), self._clock.monotonic_s()
        self._num_tickets += 1
        ticket = self._num_tickets
        deadline_s = math.inf if deadline is None else now_s + deadline.left_s()
        self._residency.introduce(key, model)
        effects = self._planner.submitted(
            ticket,
            key,
            now_s=now_s,
            deadline_s=deadline_s,
            num_slots=num_slots,
            lane=lane,
            may_exceed=may_exceed,
        )
        if len(effects) == 1 and isinstance(effects[0], Start):
            return effects[0]  # by far the most frequent: the model is ready and nobody waits
        waiter: asyncio.Future[Start] = asyncio.get_running_loop().create_future()
        self._waiters[ticket] = waiter
        if conversation is not None:
            self._ticket_of[conversation] = ticket
        self._apply(effects)
        if deadline is not None:
            deadline.on_expiry = partial(self._expire, deadline_s)
        try:
            return await waiter
        except asyncio.CancelledError:
            self._waiters.pop(ticket, None)
            if waiter.done() and not waiter.cancelled():
                waiter.exception()  # nobody else will look at it
            self._apply(self._planner.cancelled(ticket, now_s=self._clock.monotonic_s()))
            raise
        finally:
            if deadline is not None:
                deadline.on_expiry = None
            if conversation is not None and self._ticket_of.get(conversation) == ticket:
                del self._ticket_of[conversation]

    def _watch_training(self) -> None:
        """Wake the planner when parked training may take the room of models that were idle for long."""
        now_s = self._clock.monotonic_s()
        due_s = self._planner.training_due_s(now_s)
        if due_s is not None and self._tick is None:
            self._tick = asyncio.get_running_loop().call_later(due_s - now_s, self._tick_training)

    def _tick_training(self) -> None:
        self._tick = None
        self._apply(self._planner.tick(self._clock.monotonic_s()))
        self._watch_training()

    def _expire(self, deadline_s: float) -> None:
        # The event loop's clock may be a little ahead of ours.
        self._apply(self._planner.tick(max(deadline_s, self._clock.monotonic_s())))

    def _finish(self, ticket: int) -> None:
        self._apply(self._planner.finished(ticket, now_s=self._clock.monotonic_s()))
        if self._planner.is_training_parked:
            self._watch_training()

    def _apply(self, effects: Effects) -> None:
        if effects:
            self._residency.apply(effects)

    async def _ready_engine(self, model: ModelInfo) -> Engine:
        """The engine of a started request. It starts itself again here after a crash: no status is trusted."""
        key = weights_key(model)
        engine = self._residency.engine(key)
        try:
            await engine.ensure_ready()
        except Exception:
            # Its files may be the cause: the next request has them prepared, and so verified, anew.
            self._apply(self._planner.broken(key, now_s=self._clock.monotonic_s()))
            raise
        return engine

    def _pin_live(self, model: ModelInfo) -> None:
        key, now_s = weights_key(model), self._clock.monotonic_s()
        if self._live not in (None, key):
            assert self._live is not None
            self._apply(self._planner.unpinned(self._live, now_s=now_s))
        self._live = key
        self._apply(self._planner.pinned(key, now_s=now_s))

    def _on_ticket(self, effect: Start | Refuse) -> None:
        waiter = self._waiters.pop(effect.ticket, None)
        if waiter is None or waiter.done():
            return  # its client is gone and is about to say so to the planner
        if isinstance(effect, Start):
            waiter.set_result(effect)
        else:
            waiter.set_exception(self._error(effect.cause))

    def _error(self, cause: Cause) -> BaseException:
        match cause:
            case QueueIsFull(num_waiting, retry_after_s):
                return QueueFull(
                    f"{num_waiting} requests wait already; serving.max_queue allows no more.",
                    hint=f"Come back in about {retry_after_s} s.",
                    num_waiting=num_waiting,
                    retry_after_s=retry_after_s,
                )
            case NeverFits(model, need_bytes, budget_bytes):
                return EngineOutOfMemory(
                    f"{model} needs {gigabytes(need_bytes)} of memory; the budget is {gigabytes(budget_bytes)}.",
                    hint="Lower serving.context_length or serving.num_parallel, use a smaller model, or raise "
                    "serving.memory_budget_bytes.",
                    needed_bytes=need_bytes,
                    budget_bytes=budget_bytes,
                )
            case Expired(waited_s, reason):
                return RequestTimeout(
                    f"The request did not begin within {self._request_timeout_s:g} s: {reason}.",
                    hint="Ask again, or raise server.request_timeout_s.",
                    request_timeout_s=self._request_timeout_s,
                    waited_s=round(waited_s, 3),
                    reason=reason,
                )
            case LoadFailed(error):
                return error.copy() if isinstance(error, HomefireError) else error
            case Stopping():
                return stopping()


def _broken_off(model: ModelInfo) -> EngineError:
    return EngineError(f"The engine of {model.name} stopped in the middle of an answer.")


def _timed(finish: Finish, queue_ms: float, load_ms: float, first_token_ms: float) -> Finish:
    timings = msgspec.structs.replace(
        finish.timings, queue_ms=queue_ms, load_ms=load_ms, first_token_ms=first_token_ms
    )
    return msgspec.structs.replace(finish, timings=timings)
