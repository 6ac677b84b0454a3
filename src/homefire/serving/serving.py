"""From a route to tokens: wait in the scheduler, lease a ready engine, stream, and free everything.

Promises:
- whoever stops iterating (or is cancelled) frees queue place, lease and engine slot, whether the request was
  in queue, load, prefill or decode;
- a crashed engine is asked once more, but only while nothing of the answer was given out;
- no request lasts longer than `server.request_timeout_s`, all waiting included; errors are those of
  `homefire.errors`.

Costs about 30 µs of this process per request besides the engine's own, and 3 µs per item of the stream.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar, cast

import msgspec

from homefire.catalog.catalog import Catalog
from homefire.catalog.models import LIVE, ModelInfo
from homefire.config.schema import Settings
from homefire.engines.base import Delta, Embeddings, Engine, EngineRequest, Finish, Generated
from homefire.errors import EngineCrashed, EngineError, InvalidRequest, QueueFull, RequestTimeout
from homefire.serving.residency import MakeEngine, Residency, ResidentModel, weights_key
from homefire.serving.router import Route
from homefire.serving.scheduler import Effect, Refuse, Scheduler, Start
from homefire.types import Message
from homefire.world import World

_T = TypeVar("_T")


class QueueStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How busy serving is: requests that generate, and those that wait for a slot."""

    num_active: int
    num_waiting: int


class Serving:
    """See the module. One for each server; `stop` ends its engines."""

    def __init__(
        self, catalog: Catalog, settings: Settings, *, make_engine: MakeEngine, world: World
    ) -> None:
        self._catalog = catalog
        self._clock = world.clock
        self._request_timeout_s = settings.server.request_timeout_s
        self._scheduler = Scheduler(
            num_parallel=settings.serving.num_parallel,
            max_models=settings.serving.max_models,
            max_waiting=settings.serving.max_queue,
        )
        self._residency = Residency(
            catalog.spec,
            make_engine,
            max_models=settings.serving.max_models,
            load_timeout_s=settings.serving.load_timeout_s,
            clock=world.clock,
        )
        self._num_tickets = 0
        self._waiters: dict[int, asyncio.Future[None]] = {}
        self._mean_request_s = 1.0

    async def generate(self, route: Route, request: EngineRequest) -> AsyncGenerator[Generated, None]:
        """Stream the answer of `route.model`; the last item is a Finish with queue and load times filled in.

        `first_token_ms` counts from this call. Raises QueueFull, RequestTimeout, ContextOverflow,
        EngineError, and what loading the model raises.
        """
        asked_s = self._clock.monotonic_s()
        deadline_s = self._deadline_s()
        ticket = await self._enter(route.model, deadline_s)
        try:
            queue_ms = (self._clock.monotonic_s() - asked_s) * 1000
            load_ms, first_token_ms = 0.0, None
            for may_retry in (True, False):
                lease = await self._in_time(self._residency.acquire(route.model), deadline_s)
                load_ms += lease.load_ms
                stream = cast("AsyncGenerator[Generated, None]", lease.engine.generate(request))
                try:
                    while (item := await self._in_time(anext(stream, None), deadline_s)) is not None:
                        if first_token_ms is None:
                            first_token_ms = (self._clock.monotonic_s() - asked_s) * 1000
                        if isinstance(item, Delta):
                            yield item
                            continue
                        yield _timed(item, queue_ms=queue_ms, load_ms=load_ms, first_token_ms=first_token_ms)
                        return
                    raise EngineError(f"The engine of {route.model.name} stopped in the middle of an answer.")
                except EngineCrashed:
                    if first_token_ms is not None or not may_retry:
                        raise
                finally:
                    try:
                        await stream.aclose()
                    finally:
                        self._residency.release(lease)
        finally:
            self._leave(ticket, asked_s)

    async def count_tokens(
        self, route: Route, messages: Sequence[Message], *, prompt: str | None = None
    ) -> int:
        """Tokens of the conversation as `route.model` would see it (or of `prompt`, raw).

        Waits in no queue where the model is loaded: counting takes no slot.
        """
        if self._residency.engine_if_ready(route.model) is not None:
            async with self._residency.lease(route.model) as lease:
                return await lease.engine.count_tokens(messages, prompt=prompt)
        async with self._engine(route.model) as engine:
            return await engine.count_tokens(messages, prompt=prompt)

    async def embed(self, route: Route, texts: Sequence[str]) -> Embeddings:
        """One unit vector for each text, and their tokens. Raises InvalidRequest where the model gives none."""
        async with self._engine(route.model) as engine:
            if "embeddings" not in engine.capabilities:
                raise InvalidRequest(f"{route.model.name} gives no embeddings.", param="model")
            return await engine.embed(texts)

    def context_length(self, route: Route) -> int | None:
        """Tokens one request may fill; None while the model is not loaded."""
        engine = self._residency.engine_if_ready(route.model)
        return engine.context_length if engine is not None else None

    async def warm(self, name: str) -> None:
        """Load what `name` stands for; what `live` stands for stays loaded before all others."""
        resolved = self._catalog.resolve(name)
        if LIVE in resolved.chain:
            self._residency.pin(resolved.model)
        async with self._residency.lease(resolved.model):
            pass

    def unload(self, name: str) -> None:
        """Let go what `name` stands for: its running requests finish, the next one loads it anew."""
        self.let_go(self._catalog.resolve(name).model)

    def let_go(self, model: ModelInfo) -> None:
        """`unload` of a model whose name may be gone already; nothing where it is not loaded."""
        self._residency.unload(model)

    async def swap_to(self, model: ModelInfo) -> None:
        """Load `model` whole while the old one serves on; call it before the alias `live` moves."""
        await self._residency.swap_to(model)

    def status(self) -> list[ResidentModel]:
        """The loaded models. Cheap."""
        return self._residency.status()

    def queue(self) -> QueueStatus:
        """How many requests generate and wait."""
        return QueueStatus(num_active=self._scheduler.num_active, num_waiting=self._scheduler.num_waiting)

    async def stop(self) -> None:
        """End all engines."""
        await self._residency.stop()

    @asynccontextmanager
    async def _engine(self, model: ModelInfo) -> AsyncIterator[Engine]:
        asked_s = self._clock.monotonic_s()
        deadline_s = self._deadline_s()
        ticket = await self._enter(model, deadline_s)
        try:
            lease = await self._in_time(self._residency.acquire(model), deadline_s)
            try:
                yield lease.engine
            finally:
                self._residency.release(lease)
        finally:
            self._leave(ticket, asked_s)

    async def _enter(self, model: ModelInfo, deadline_s: float) -> int:
        self._num_tickets += 1
        ticket = self._num_tickets
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[ticket] = future
        self._carry_out(self._scheduler.submitted(ticket, weights_key(model)))
        if future.done():
            future.result()
            return ticket
        try:
            await self._in_time(future, deadline_s)
        except BaseException:
            self._waiters.pop(ticket, None)
            self._carry_out(self._scheduler.cancelled(ticket))
            raise
        return ticket

    def _leave(self, ticket: int, asked_s: float) -> None:
        self._mean_request_s += 0.1 * (self._clock.monotonic_s() - asked_s - self._mean_request_s)
        self._carry_out(self._scheduler.finished(ticket))

    def _carry_out(self, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            waiter = self._waiters.pop(effect.ticket)
            if waiter.done():
                continue  # its client is gone and is about to say so to the scheduler
            match effect:
                case Start():
                    waiter.set_result(None)
                case Refuse():
                    waiter.set_exception(self._queue_full(effect.num_waiting))

    def _queue_full(self, num_waiting: int) -> QueueFull:
        wait_s = self._mean_request_s * (num_waiting + 1) / self._scheduler.num_parallel
        retry_after_s = max(1, math.ceil(wait_s))
        return QueueFull(
            f"{num_waiting} requests wait already; serving.max_queue allows no more.",
            hint=f"Come back in about {retry_after_s} s.",
            num_waiting=num_waiting,
            retry_after_s=retry_after_s,
        )

    def _deadline_s(self) -> float:
        return asyncio.get_running_loop().time() + self._request_timeout_s

    async def _in_time(self, awaitable: Awaitable[_T], deadline_s: float) -> _T:
        try:
            async with asyncio.timeout_at(deadline_s):
                return await awaitable
        except TimeoutError:
            raise RequestTimeout(
                f"The request was not finished within {self._request_timeout_s:g} s and was cancelled.",
                hint="Ask for fewer tokens, or raise server.request_timeout_s.",
                request_timeout_s=self._request_timeout_s,
            ) from None


def _timed(finish: Finish, *, queue_ms: float, load_ms: float, first_token_ms: float) -> Finish:
    timings = msgspec.structs.replace(
        finish.timings, queue_ms=queue_ms, load_ms=load_ms, first_token_ms=first_token_ms
    )
    return msgspec.structs.replace(finish, timings=timings)
