"""Carries out what the planner decides: makes engines, loads them, has them sleep and wake, stops them.

It decides nothing and holds no queue. Each effect is one task, and its end is an event for the planner; what
that brings is carried out at once. An engine that does not load in `load_timeout_s` is stopped and its load has
failed. Errors while an engine is being stopped are logged: its room is free either way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import msgspec

from homefire.catalog.models import ModelInfo
from homefire.engines.base import Engine, EngineStatus, ModelSpec
from homefire.errors import EngineError, EngineTimeout
from homefire.serving.effects import (
    Effects,
    Evict,
    Load,
    ParkTraining,
    Prepare,
    Refuse,
    ResumeTraining,
    Sleep,
    Start,
    Wake,
)
from homefire.serving.planner import Planner
from homefire.world import Clock

log = logging.getLogger(__name__)

MakeSpec = Callable[[ModelInfo], Awaitable[ModelSpec]]
MakeEngine = Callable[[ModelSpec], Engine]
MAX_KNOWN = 256
"""Models whose description is kept; those that are not in use are dropped beyond that."""
OnTicket = Callable[[Start | Refuse], None]


class TrainingOccupant(Protocol):
    """Training that shares the memory of serving and can make way for it."""

    async def park(self) -> None:
        """Give the memory back and wait. Raises where that cannot be."""
        ...

    async def resume(self) -> int:
        """Go on; the bytes it takes now (0: there is nothing left to do)."""
        ...


class ResidentModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model that somebody asked for and that is not gone, for `status` and the lists of running models."""

    name: str
    digest: str
    state: Literal["loading", "ready", "asleep", "unloading"]
    pinned: bool
    num_active: int
    """Requests that use it now."""
    num_waiting: int
    held_bytes: int
    """What the planner counts for it."""
    context_length: int | None
    """Tokens one request may fill; None until it is loaded."""
    engine: EngineStatus | None


@dataclass(slots=True, eq=False)
class _Resident:
    model: ModelInfo
    engine: Engine | None = None
    need_bytes: int = 0
    is_asleep: bool = False
    work: asyncio.Task[None] | None = None


_STATES: dict[str, Literal["loading", "ready", "asleep", "unloading"]] = {
    "preparing": "loading",
    "prepared": "loading",
    "loading": "loading",
    "waking": "loading",
    "ready": "ready",
    "asleep": "asleep",
    "sleeping": "unloading",
    "evicting": "unloading",
}


def weights_key(model: ModelInfo) -> str:
    """What makes two requests share an engine: a name, and the weights it stands for now."""
    return f"{model.name}@{model.digest}"


class Residency:
    """The planner's hands. `make_spec` gives a model's files (verified, converted where needed)."""

    def __init__(
        self,
        planner: Planner,
        *,
        make_spec: MakeSpec,
        make_engine: MakeEngine,
        load_timeout_s: float,
        clock: Clock,
        on_ticket: OnTicket,
        training: TrainingOccupant | None = None,
    ) -> None:
        self._planner = planner
        self._make_spec, self._make_engine = make_spec, make_engine
        self._load_timeout_s = load_timeout_s
        self._clock = clock
        self._on_ticket = on_ticket
        self._training = training
        self._residents: dict[str, _Resident] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def introduce(self, key: str, model: ModelInfo) -> None:
        """Say which model a key means, before a request for it is submitted."""
        if key not in self._residents:
            if len(self._residents) >= MAX_KNOWN:
                self._residents = {k: one for k, one in self._residents.items() if self._planner.knows(k)}
            self._residents[key] = _Resident(model)

    def engine(self, key: str) -> Engine:
        """The engine of a model on which a request was started. EngineError when the server ends."""
        engine = self._residents[key].engine
        if engine is None:
            raise stopping()
        return engine

    def engine_if_ready(self, key: str) -> Engine | None:
        """The engine of a model that is loaded now: for reading its figures only."""
        return self._residents[key].engine if self._planner.is_ready(key) else None

    def apply(self, effects: Effects) -> None:
        """Carry out effects, in their order. Returns at once; their ends are events of their own."""
        for effect in effects:
            match effect:
                case Start() | Refuse():
                    self._on_ticket(effect)
                case Prepare(key):
                    self._begin(key, self._or_fail(key, self._prepare), "prepare")
                case Load(key) | Wake(key):
                    self._begin(key, self._or_fail(key, self._load), "load")
                case Sleep(key):
                    self._begin(key, self._sleep(key), "sleep")
                case Evict(key):
                    self._begin(key, self._evict(key, self._residents[key].work), "evict")
                case ParkTraining():
                    self._spawn(self._park_training(), "park training")
                case ResumeTraining():
                    self._spawn(self._resume_training(), "resume training")

    def status(self) -> list[ResidentModel]:
        """What is in memory, or on its way there or out. Cheap: asks no worker."""
        found = []
        for planned in self._planner.models():
            resident = self._residents[planned.key]
            engine = resident.engine if planned.state == "ready" else None
            found.append(
                ResidentModel(
                    name=resident.model.name,
                    digest=resident.model.digest,
                    state=_STATES[planned.state],
                    pinned=self._planner.is_pinned(planned.key),
                    num_active=planned.num_active,
                    num_waiting=planned.num_waiting,
                    held_bytes=planned.held_bytes,
                    context_length=engine.context_length if engine is not None else None,
                    engine=engine.status() if engine is not None else None,
                )
            )
        return found

    async def stop(self) -> None:
        """Stop every engine and wait for it. Requests under way get what the engine raises."""
        self.apply(self._planner.stop())
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _begin(self, key: str, work: Coroutine[Any, Any, None], verb: str) -> None:
        self._residents[key].work = self._spawn(work, f"{verb} {key.partition('@')[0]}")

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # Models

    async def _prepare(self, key: str) -> None:
        resident = self._residents[key]
        spec = await self._make_spec(resident.model)
        resident.engine = engine = self._make_engine(spec)
        resident.need_bytes = await engine.estimate()
        self.apply(
            self._planner.prepared(
                key,
                need_bytes=resident.need_bytes,
                num_slots=spec.num_parallel,
                can_sleep="sleep" in engine.capabilities,
                now_s=self._now_s(),
            )
        )

    async def _load(self, key: str) -> None:
        engine, resident = self.engine(key), self._residents[key]
        try:
            async with asyncio.timeout(self._load_timeout_s):
                if resident.is_asleep:
                    await engine.wake()
                    resident.is_asleep = False
                await engine.ensure_ready()
        except TimeoutError:
            raise EngineTimeout(
                f"{resident.model.name} was not loaded within {self._load_timeout_s:g} s.",
                hint="Raise serving.load_timeout_s for a model or disk that needs longer.",
                load_timeout_s=self._load_timeout_s,
            ) from None
        # Weights that are mapped from a file count only once they were read, so that what a process has now
        # can show that the estimate was too low, and never that it was too high.
        measured_bytes = max(resident.need_bytes, engine.status().rss_bytes or 0)
        self.apply(self._planner.loaded(key, measured_bytes=measured_bytes, now_s=self._now_s()))

    async def _or_fail(self, key: str, attempt: Callable[[str], Coroutine[Any, Any, None]]) -> None:
        try:
            await attempt(key)
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to those who wait for the model
            log.warning("%s could not be loaded: %s", key.partition("@")[0], error)
            await self._stop_engine(key)
            self.apply(self._planner.load_failed(key, error, now_s=self._now_s()))

    async def _sleep(self, key: str) -> None:
        engine = self.engine(key)
        try:
            await engine.sleep()
            self._residents[key].is_asleep = True
        except Exception:
            log.exception("%s could not be put to sleep; it is stopped instead.", key.partition("@")[0])
            await engine.stop()
        self.apply(self._planner.slept(key, held_bytes=engine.status().rss_bytes or 0, now_s=self._now_s()))

    async def _evict(self, key: str, work: asyncio.Task[None] | None) -> None:
        if work is not None and not work.done():
            work.cancel()
            await asyncio.wait([work])
        await self._stop_engine(key)
        self.apply(self._planner.unloaded(key, now_s=self._now_s()))

    async def _stop_engine(self, key: str) -> None:
        resident = self._residents[key]
        if resident.engine is not None:
            try:
                await resident.engine.stop()
            except Exception:
                log.exception("The engine of %s could not be stopped.", resident.model.name)
            resident.engine, resident.is_asleep = None, False

    # Training

    async def _park_training(self) -> None:
        assert self._training is not None, "only announced training is parked"
        try:
            await self._training.park()
        except Exception:
            log.exception("Training could not be parked; models wait until it ends.")
            self.apply(self._planner.training_not_parked(now_s=self._now_s()))
        else:
            self.apply(self._planner.training_parked(now_s=self._now_s()))

    async def _resume_training(self) -> None:
        assert self._training is not None, "only announced training is resumed"
        try:
            num_bytes = await self._training.resume()
        except Exception:
            log.exception("Training could not be resumed.")
            num_bytes = 0
        if num_bytes:
            self.apply(self._planner.training_started(num_bytes, now_s=self._now_s()))
        else:
            self.apply(self._planner.training_ended(now_s=self._now_s()))

    def _now_s(self) -> float:
        return self._clock.monotonic_s()


def stopping() -> EngineError:
    """What requests get while the server ends."""
    return EngineError("The server is stopping.", hint="Ask again when it is back.")
