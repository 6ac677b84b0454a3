"""Which models are loaded: at most `max_models`, one engine each; the longest idle one leaves first.

Promises:
- one load for each model, however many wait for it (single flight); a failed one is forgotten, so that the
  next request tries again from the files;
- an engine with an active lease is never stopped, and a request only ever gets a ready one;
- `swap_to` returns when the new model is wholly loaded and stops nothing that is in use: it may exceed
  `max_models` by one until the old one has drained. The old one stays while there is room: the way back is
  instant;
- the pinned model (`live`) leaves last, and only when all others are busy.

A client that leaves during a load leaves the load running, for its model is likely asked for again; until
then it is among the first to go when room is needed. A lease on a loaded model costs a few microseconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import msgspec

from homefire.catalog.models import ModelInfo
from homefire.engines.base import Engine, EngineStatus, ModelSpec
from homefire.errors import EngineError, EngineTimeout
from homefire.world import Clock

log = logging.getLogger(__name__)

Prepare = Callable[[ModelInfo], Awaitable[ModelSpec]]
MakeEngine = Callable[[ModelSpec], Engine]


class ResidentModel(msgspec.Struct, frozen=True, kw_only=True):
    """One loaded (or loading) model, for `status` and the front doors' lists of running models."""

    name: str
    digest: str
    state: Literal["loading", "ready"]
    pinned: bool
    num_leases: int
    """Requests that use it now or wait for its load."""
    context_length: int | None
    """Tokens one request may fill; None until it is loaded."""
    engine: EngineStatus | None


@dataclass(slots=True, eq=False)
class _Resident:
    model: ModelInfo
    last_used_s: float
    num_leases: int = 0
    loading: asyncio.Task[Engine] | None = None
    engine: Engine | None = None  # set when it is loaded whole
    may_exceed: bool = False
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    """A ready engine that is not stopped while this is held, and how long its holder waited for the load."""

    engine: Engine
    load_ms: float
    resident: _Resident


def weights_key(model: ModelInfo) -> str:
    """What makes two requests share an engine: a name, and the weights it stands for now."""
    return f"{model.name}@{model.digest}"


class Residency:
    """See the module. `prepare` gives a model's spec (verified, converted where needed)."""

    def __init__(
        self,
        prepare: Prepare,
        make_engine: MakeEngine,
        *,
        max_models: int,
        load_timeout_s: float,
        clock: Clock,
    ) -> None:
        self._prepare = prepare
        self._make_engine = make_engine
        self._max_models = max_models
        self._load_timeout_s = load_timeout_s
        self._clock = clock
        self._residents: dict[str, _Resident] = {}
        self._occupying: set[_Resident] = set()  # those with memory of their own: loading, ready or stopping
        self._pinned: str | None = None
        self._freed = asyncio.Event()
        self._leaving: set[asyncio.Task[None]] = set()
        self._stopped = False

    async def acquire(self, model: ModelInfo) -> Lease:
        """A ready engine for `model`, until `release`. Raises what its load raises."""
        resident = self._hold(model)
        asked_s = self._clock.monotonic_s()
        try:
            engine = await self._ready(resident)
        except BaseException:
            self._release(resident)
            raise
        return Lease(engine, (self._clock.monotonic_s() - asked_s) * 1000, resident)

    def release(self, lease: Lease) -> None:
        """Give a lease back, once."""
        self._release(lease.resident)
        if len(self._occupying) > self._max_models and self._num_staying() > self._max_models:
            self._leave_one(spare_pinned=True)

    @asynccontextmanager
    async def lease(self, model: ModelInfo) -> AsyncIterator[Lease]:
        """`acquire` and `release` around a block."""
        lease = await self.acquire(model)
        try:
            yield lease
        finally:
            self.release(lease)

    async def swap_to(self, model: ModelInfo) -> None:
        """Load `model` whole, beside whatever is in use, and pin it; requests then find it ready."""
        resident = self._hold(model)
        try:
            resident.may_exceed = True
            self._announce_room()
            await self._ready(resident)
            self.pin(model)
        finally:
            resident.may_exceed = False
            self._release(resident)

    def pin(self, model: ModelInfo) -> None:
        """Make this model the one that leaves last."""
        self._pinned = weights_key(model)

    def unload(self, model: ModelInfo) -> None:
        """Let a model go now: who uses it finishes first, who asks later loads it anew."""
        resident = self._residents.get(weights_key(model))
        if resident is not None:
            self._leave(resident)

    def engine_if_ready(self, model: ModelInfo) -> Engine | None:
        """The engine of a model that is loaded now, without a lease: for reading its figures only."""
        resident = self._residents.get(weights_key(model))
        return resident.engine if resident is not None else None

    def status(self) -> list[ResidentModel]:
        """What is loaded or loading now. Cheap: asks no worker."""
        return [
            ResidentModel(
                name=resident.model.name,
                digest=resident.model.digest,
                state="loading" if resident.engine is None else "ready",
                pinned=key == self._pinned,
                num_leases=resident.num_leases,
                context_length=resident.engine.context_length if resident.engine else None,
                engine=resident.engine.status() if resident.engine else None,
            )
            for key, resident in self._residents.items()
        ]

    async def stop(self) -> None:
        """Stop every engine; running requests get what the engine raises, later ones EngineError."""
        self._stopped = True
        for resident in list(self._residents.values()):
            self._leave(resident)
        for resident in self._occupying:
            if resident.loading is not None:
                resident.loading.cancel()  # of one that was already leaving; a finished load does not mind
        self._announce_room()
        while self._leaving:
            await asyncio.wait(self._leaving)

    def _hold(self, model: ModelInfo) -> _Resident:
        if self._stopped:
            raise EngineError("The server is stopping.", hint="Ask again when it is back.")
        key = weights_key(model)
        resident = self._residents.get(key)
        if resident is None:
            resident = self._residents[key] = _Resident(model, self._clock.monotonic_s())
            resident.loading = asyncio.create_task(self._load(resident), name=f"load {model.name}")
            resident.loading.add_done_callback(_log_failure)
        resident.num_leases += 1
        return resident

    def _release(self, resident: _Resident) -> None:
        resident.num_leases -= 1
        resident.last_used_s = self._clock.monotonic_s()
        if not resident.num_leases:
            self._announce_room()

    async def _ready(self, resident: _Resident) -> Engine:
        if resident.engine is None:
            return await _wait_for(resident)
        try:
            # Never trust an earlier answer: the engine starts itself again here after a crash.
            await resident.engine.ensure_ready()
        except Exception:
            # Its files may be the cause: the next request prepares, and so verifies, them again.
            self._leave(resident)
            raise
        return resident.engine

    async def _load(self, resident: _Resident) -> Engine:
        engine: Engine | None = None
        try:
            spec = await self._prepare(resident.model)
            await self._claim_room(resident)
            engine = self._make_engine(spec)
            try:
                async with asyncio.timeout(self._load_timeout_s):
                    await engine.ensure_ready()
            except TimeoutError as error:
                raise EngineTimeout(
                    f"{resident.model.name} was not loaded within {self._load_timeout_s:g} s.",
                    hint="Raise serving.load_timeout_s for a model or disk that needs longer.",
                    load_timeout_s=self._load_timeout_s,
                ) from error
        except BaseException:
            self._forget(resident)
            if engine is not None:
                await engine.stop()
            self._occupying.discard(resident)
            self._announce_room()
            raise
        resident.engine = engine
        return engine

    async def _claim_room(self, resident: _Resident) -> None:
        while len(self._occupying) >= self._max_models:
            if self._num_staying() >= self._max_models:
                found_room = self._leave_one(spare_pinned=resident.may_exceed)
                if not found_room and resident.may_exceed:
                    break
            self._freed.clear()
            await self._freed.wait()
        self._occupying.add(resident)

    def _num_staying(self) -> int:
        return sum(not resident.leaving for resident in self._occupying)

    def _leave_one(self, *, spare_pinned: bool) -> bool:
        idle = [
            resident
            for resident in self._occupying
            if not resident.num_leases
            and not resident.leaving
            and not (spare_pinned and weights_key(resident.model) == self._pinned)
        ]
        if not idle:
            return False
        self._leave(min(idle, key=lambda it: (weights_key(it.model) == self._pinned, it.last_used_s)))
        return True

    def _leave(self, resident: _Resident) -> None:
        self._forget(resident)
        if not resident.leaving:
            resident.leaving = True
            task = asyncio.create_task(self._unload(resident), name=f"unload {resident.model.name}")
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def _unload(self, resident: _Resident) -> None:
        assert resident.loading is not None
        if resident.engine is None:
            if self._stopped or not resident.num_leases:
                resident.loading.cancel()  # it stops its engine and gives up its room itself
            await asyncio.wait([resident.loading])
            if resident.engine is None:
                return
        try:
            while resident.num_leases and not self._stopped:
                self._freed.clear()
                await self._freed.wait()
            await resident.engine.stop()
        finally:
            self._occupying.discard(resident)
            self._announce_room()

    def _forget(self, resident: _Resident) -> None:
        key = weights_key(resident.model)
        if self._residents.get(key) is resident:
            del self._residents[key]

    def _announce_room(self) -> None:
        self._freed.set()


async def _wait_for(resident: _Resident) -> Engine:
    assert resident.loading is not None
    try:
        return await asyncio.shield(resident.loading)
    except asyncio.CancelledError:
        waiter = asyncio.current_task()
        if resident.loading.cancelled() and not (waiter and waiter.cancelling()):
            raise EngineError("The server is stopping.", hint="Ask again when it is back.") from None
        raise


def _log_failure(loading: asyncio.Task[Engine]) -> None:
    if not loading.cancelled() and (error := loading.exception()) is not None:
        log.warning("A model could not be loaded: %s", error)
