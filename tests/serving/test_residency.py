"""The planner's hands: engines are loaded once, stopped only when unused, and every failure is an event."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from homefire.engines.base import Delta, EngineRequest
from homefire.errors import BadModel, EngineCrashed, EngineError, EngineTimeout, HomefireError
from homefire.serving.residency import Residency
from homefire.serving.router import Router, RouteRequest
from homefire.serving.serving import Serving
from homefire.types import Message
from homefire.world import World
from tests.serving.models import FakeCatalog, settings, settle, until
from tests.support.model_info import model_info
from tests.support.scripted_engine import ScriptedEngine

MIB = 1 << 20
NAMES = ("a", "b", "c", "d")


@asynccontextmanager
async def serving(
    catalog: FakeCatalog, *, budget: float = 8, training: Any = None, **section: Any
) -> AsyncIterator[Serving]:
    """Room for `budget` engines of one MiB each."""
    configured = settings(serving={"memory_budget_bytes": int(budget * MIB), **section})
    made = Serving(
        catalog,  # type: ignore[arg-type]
        configured,
        make_engine=catalog.make_engine,
        world=World(),
        training=training,
    )
    try:
        yield made
    finally:
        await made.stop()
        assert catalog.loaded == [], "an engine outlived the server"
        assert made._residency._tasks == set()


async def ask(served: Serving, catalog: FakeCatalog, name: str) -> str:
    """A whole answer."""
    route = Router(catalog).route(RouteRequest(model=name))  # type: ignore[arg-type]
    request = EngineRequest(messages=(Message("user", "Hi"),))
    return "".join([item.text async for item in served.generate(route, request) if isinstance(item, Delta)])


@asynccontextmanager
async def in_use(served: Serving, catalog: FakeCatalog, name: str) -> AsyncIterator[ScriptedEngine]:
    """The engine of a model, while a request generates on it."""
    gate = asyncio.Event()
    make = catalog.make
    catalog.make = lambda spec: ScriptedEngine(spec, gate=gate)
    task = asyncio.create_task(ask(served, catalog, name))
    await until(lambda: any(engine.num_active for engine in catalog.of(name)))
    catalog.make = make
    try:
        yield next(engine for engine in catalog.of(name) if engine.num_active)
    finally:
        gate.set()
        await task


def states(served: Serving) -> dict[str, str]:
    return {model.name: model.state for model in served.status()}


async def test_concurrent_requests_share_one_load() -> None:
    gate = asyncio.Event()
    catalog = FakeCatalog(*NAMES, make=lambda spec: ScriptedEngine(spec, load_gate=gate))
    async with serving(catalog) as served:
        waiting = [asyncio.create_task(ask(served, catalog, "a")) for _ in range(20)]
        await settle()
        assert states(served) == {"a": "loading"}
        gate.set()
        await asyncio.gather(*waiting)
        assert (catalog.num_prepared, [engine.num_loads for engine in catalog.engines]) == (1, [1])


async def test_a_failed_load_reaches_all_who_wait_and_the_next_request_tries_again() -> None:
    catalog = FakeCatalog(*NAMES, make=lambda spec: ScriptedEngine(spec, load_fails_with=BadModel("torn")))
    async with serving(catalog) as served:
        results = await asyncio.gather(*(ask(served, catalog, "a") for _ in range(3)), return_exceptions=True)
        assert [type(result) for result in results] == [BadModel] * 3
        assert served.status() == []
        assert [engine.num_stops for engine in catalog.engines] == [1]
        catalog.make = ScriptedEngine
        await ask(served, catalog, "a")
        assert catalog.num_prepared == 2


class CannotEstimate(ScriptedEngine):
    async def estimate(self) -> int:
        raise ZeroDivisionError


class CannotStop(ScriptedEngine):
    async def stop(self) -> None:
        await super().stop()
        raise OSError


async def test_any_error_of_an_engine_is_the_error_of_its_request_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    catalog = FakeCatalog(*NAMES, make=CannotEstimate)
    async with serving(catalog, budget=1) as served:
        with pytest.raises(ZeroDivisionError):
            await ask(served, catalog, "a")
        catalog.make = CannotStop
        await ask(served, catalog, "b")
        await ask(served, catalog, "c")
        assert states(served) == {"c": "ready"}
    assert "The engine of b could not be stopped" in caplog.text


async def test_an_engine_in_use_is_never_stopped_and_the_newcomer_waits() -> None:
    catalog = FakeCatalog(*NAMES)
    async with serving(catalog, budget=1) as served:
        async with in_use(served, catalog, "a") as engine:
            newcomer = asyncio.create_task(ask(served, catalog, "b"))
            await settle()
            assert engine.status().state == "ready"
            (waiting,) = served.queue().waiting
            assert waiting.reason == "waits for room: 1 MB needed, a is busy with 1 request"
        await newcomer
        assert catalog.loaded == ["b"]


async def test_an_engine_that_takes_more_than_it_said_makes_others_leave() -> None:
    class Grows(ScriptedEngine):
        def status(self) -> Any:
            import msgspec

            return msgspec.structs.replace(super().status(), rss_bytes=2 * MIB)

    catalog = FakeCatalog(*NAMES)
    async with serving(catalog, budget=2) as served:
        await ask(served, catalog, "a")
        catalog.make = Grows
        await ask(served, catalog, "b")
        await settle()
        assert {model.name: model.held_bytes for model in served.status()} == {"b": 2 * MIB}


async def test_a_swap_is_loaded_whole_before_it_returns_and_stops_nothing_in_use() -> None:
    catalog = FakeCatalog(*NAMES, aliases={"live": "a"})
    async with serving(catalog, budget=1) as served:
        await served.warm("live")
        await ask(served, catalog, "a")
        await catalog.engines[0].stop()
        async with in_use(served, catalog, "c"):
            pass
        await served.warm("live")
        gate = catalog.of("a")[-1].gate = asyncio.Event()
        running = asyncio.create_task(ask(served, catalog, "a"))
        await until(lambda: catalog.of("a")[-1].num_active == 1)
        await served.swap_to(catalog.resolve("b").model)
        assert catalog.loaded == ["a", "b"]
        gate.set()
        await running
        await settle()
        assert catalog.loaded == ["b"], "the old one drains, then leaves"
        assert [(model.name, model.pinned) for model in served.status()] == [("b", True)]


async def test_after_a_swap_the_old_version_stays_while_there_is_room() -> None:
    catalog = FakeCatalog(*NAMES)
    async with serving(catalog) as served:
        for name in ("a", "b", "a"):
            await served.swap_to(catalog.resolve(name).model)
        assert catalog.loaded == ["a", "b"]
        assert [engine.num_loads for engine in catalog.engines] == [1, 1]
        assert {model.name: model.pinned for model in served.status()} == {"a": True, "b": False}


async def test_a_failed_swap_leaves_the_old_one_serving() -> None:
    catalog = FakeCatalog(*NAMES)
    async with serving(catalog, budget=1) as served:
        await served.swap_to(catalog.resolve("a").model)
        catalog.make = lambda spec: ScriptedEngine(spec, load_fails_with=BadModel("torn"))
        with pytest.raises(BadModel):
            await served.swap_to(catalog.resolve("b").model)
        assert catalog.loaded == ["a"]
        assert [(model.name, model.pinned) for model in served.status()] == [("a", True)]


async def test_a_client_that_leaves_during_a_load_frees_its_room_for_others() -> None:
    catalog = FakeCatalog(*NAMES, make=lambda spec: ScriptedEngine(spec, load_gate=asyncio.Event()))
    async with serving(catalog, budget=1) as served:
        leaver = asyncio.create_task(ask(served, catalog, "a"))
        await settle()
        leaver.cancel()
        await asyncio.wait([leaver])
        assert states(served) == {"a": "loading"}, "its model is likely asked for again"
        catalog.make = ScriptedEngine
        await ask(served, catalog, "b")
        assert catalog.loaded == ["b"]
        assert catalog.of("a")[0].num_stops == 1


async def test_a_load_that_hangs_is_a_clean_error() -> None:
    catalog = FakeCatalog(*NAMES, make=lambda spec: ScriptedEngine(spec, load_gate=asyncio.Event()))
    async with serving(catalog, load_timeout_s=0.01) as served:
        with pytest.raises(EngineTimeout, match="load_timeout_s"):
            await ask(served, catalog, "a")
        assert catalog.engines[0].num_stops == 1


async def test_an_engine_that_cannot_come_back_is_prepared_anew() -> None:
    catalog = FakeCatalog(*NAMES)
    async with serving(catalog) as served:
        await ask(served, catalog, "a")
        (engine,) = catalog.engines
        await engine.stop()
        engine.load_fails_with = EngineCrashed("it will not start")
        with pytest.raises(EngineCrashed):
            await ask(served, catalog, "a")
        await ask(served, catalog, "a")
        assert catalog.num_prepared == 2


async def test_new_weights_under_an_old_name_get_their_own_engine() -> None:
    catalog = FakeCatalog(*NAMES)
    async with serving(catalog) as served:
        await ask(served, catalog, "a")
        catalog.models["a"] = model_info("a", digest="sha256:2")
        await ask(served, catalog, "a")
        assert len(catalog.engines) == 2


async def test_a_model_unloaded_while_it_loads_still_serves_those_who_wait() -> None:
    gate = asyncio.Event()
    catalog = FakeCatalog(*NAMES, make=lambda spec: ScriptedEngine(spec, load_gate=gate))
    async with serving(catalog) as served:
        waiting = asyncio.create_task(ask(served, catalog, "a"))
        await settle()
        served.unload("a")
        gate.set()
        await waiting
        await settle()
        assert catalog.loaded == []
        assert catalog.engines[0].num_loads == 1


async def test_a_model_unloaded_while_it_is_used_leaves_afterwards() -> None:
    catalog = FakeCatalog(*NAMES)
    async with serving(catalog) as served:
        async with in_use(served, catalog, "a") as engine:
            served.unload("a")
            await settle()
            assert engine.status().state == "ready"
        await settle()
        assert catalog.loaded == []


async def test_a_load_that_ends_just_when_it_is_given_up_is_no_load(caplog: pytest.LogCaptureFixture) -> None:
    gate = asyncio.Event()
    catalog = FakeCatalog(*NAMES, make=lambda spec: ScriptedEngine(spec, load_gate=gate))
    async with serving(catalog) as served:
        leaver = asyncio.create_task(ask(served, catalog, "a"))
        await settle()
        leaver.cancel()
        await asyncio.wait([leaver])
        gate.set()  # the load goes on at the next turn of the event loop
        served.unload("a")
        await settle()
        assert served.status() == []
        assert catalog.engines[0].num_stops == 1
        assert "could not be loaded" not in caplog.text


async def test_an_engine_that_can_sleep_sleeps_and_wakes_for_the_next_request() -> None:
    catalog = FakeCatalog(*NAMES, make=lambda spec: ScriptedEngine(spec, can_sleep=True))
    async with serving(catalog, budget=1) as served:
        await ask(served, catalog, "a")
        await ask(served, catalog, "b")
        assert states(served) == {"a": "asleep", "b": "ready"}
        await ask(served, catalog, "a")
        (engine,) = catalog.of("a")
        assert (engine.num_loads, engine.num_sleeps, engine.num_wakes) == (1, 1, 1)


class CannotSleep(ScriptedEngine):
    async def sleep(self) -> None:
        raise EngineError("No.")


async def test_an_engine_that_fails_to_sleep_is_stopped_instead() -> None:
    catalog = FakeCatalog(*NAMES, make=lambda spec: CannotSleep(spec, can_sleep=True))
    async with serving(catalog, budget=1) as served:
        for name in ("a", "b", "a"):
            await ask(served, catalog, name)
        (engine,) = catalog.of("a")
        assert (engine.num_loads, engine.num_wakes) == (2, 0)


class Trainer:
    """Parks and resumes when it is told to."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.told: list[str] = []

    async def park(self) -> None:
        self.told.append("park")
        if self.fails:
            raise EngineError("not now")

    async def resume(self) -> int:
        self.told.append("resume")
        return 3 * MIB


async def test_training_makes_way_for_chat_and_goes_on_afterwards() -> None:
    catalog, trainer = FakeCatalog(*NAMES), Trainer()
    async with serving(catalog, budget=4, training=trainer) as served:
        served.training_holds(3 * MIB)
        await ask(served, catalog, "a")
        assert trainer.told == []
        await ask(served, catalog, "b")
        assert trainer.told == [], "an idle model leaves first"
        async with in_use(served, catalog, "c"):
            await ask(served, catalog, "a")
            assert trainer.told == ["park"]
        served.unload("a")
        await settle()
        assert trainer.told == ["park", "resume"]


async def test_parked_training_goes_on_by_itself_when_models_were_idle_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("homefire.serving.memory_plan.TRAINING_PATIENCE_S", 0.02)
    catalog, trainer = FakeCatalog(*NAMES), Trainer()
    async with serving(catalog, budget=3, training=trainer) as served:
        served.training_holds(3 * MIB)
        await ask(served, catalog, "a")
        for _ in range(500):
            if trainer.told == ["park", "resume"]:
                break
            await asyncio.sleep(0.01)
        assert trainer.told == ["park", "resume"]
        assert catalog.loaded == []


async def test_training_that_does_not_park_is_waited_for() -> None:
    catalog, trainer = FakeCatalog(*NAMES), Trainer(fails=True)
    async with serving(catalog, budget=3, training=trainer) as served:
        served.training_holds(3 * MIB)
        waiting = asyncio.create_task(ask(served, catalog, "a"))
        await settle()
        assert not waiting.done()
        served.training_holds(0)
        await waiting
        assert trainer.told == ["park"]


async def test_where_training_does_not_park_a_model_that_falls_idle_makes_room() -> None:
    catalog, trainer = FakeCatalog(*NAMES), Trainer(fails=True)
    async with serving(catalog, budget=4, training=trainer) as served:
        served.training_holds(3 * MIB)
        async with in_use(served, catalog, "a"):
            waiting = asyncio.create_task(ask(served, catalog, "b"))
            await until(lambda: trainer.told == ["park"])
        await until(waiting.done)
        assert states(served) == {"b": "ready"}


async def test_only_a_loaded_model_shows_the_figures_of_its_engine() -> None:
    gate = asyncio.Event()
    catalog = FakeCatalog("a", make=lambda spec: ScriptedEngine(spec, load_gate=gate))
    async with serving(catalog) as served:
        loading = asyncio.create_task(ask(served, catalog, "a"))
        await until(lambda: bool(served.status()) and served.status()[0].state == "loading")
        (model,) = served.status()
        (key,) = served._residency._residents
        assert (model.engine, model.context_length) == (None, None)
        assert served._residency.engine_if_ready(key) is None
        gate.set()
        await loading
        (model,) = served.status()
        (engine,) = catalog.of("a")
        assert (model.engine, model.context_length) == (engine.status(), engine.context_length)
        assert served._residency.engine_if_ready(key) is engine


@pytest.mark.parametrize("stage", ["preparing", "loading", "unloaded"])
async def test_stopping_ends_waiting_requests_with_a_clean_error(stage: str) -> None:
    catalog = FakeCatalog(*NAMES, make=lambda spec: ScriptedEngine(spec, load_gate=asyncio.Event()))
    async with serving(catalog) as served:
        waiting = asyncio.create_task(ask(served, catalog, "a"))
        await asyncio.sleep(0)
        if stage != "preparing":
            await settle()
        if stage == "unloaded":
            served.unload("a")
        await served.stop()
        with pytest.raises(EngineError, match="stopping"):
            await waiting
        with pytest.raises(EngineError, match="stopping"):
            await ask(served, catalog, "b")


async def test_models_that_are_gone_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homefire.serving.residency.MAX_KNOWN", 3)
    catalog = FakeCatalog("a")
    async with serving(catalog, budget=1) as served:
        for index in range(10):
            catalog.models["a"] = model_info("a", digest=f"sha256:{index}")
            await ask(served, catalog, "a")
        assert len(served._residency._residents) <= 3


async def storm(served: Serving, catalog: FakeCatalog, *, seed: int, budget: int) -> None:
    """Random users, some of whom leave, faulty loads, unloads and swaps; never too much at once."""
    chance = random.Random(seed)

    async def user() -> None:
        assert await ask(served, catalog, chance.choice(NAMES)) == "Hello there, I am scripted."

    def watched(spec: Any) -> ScriptedEngine:
        engine = ScriptedEngine(spec, load_fails_with=BadModel("torn") if chance.random() < 0.1 else None)
        original = engine.ensure_ready

        async def ensure_ready() -> None:
            await asyncio.sleep(0)
            await original()
            assert len(catalog.loaded) <= budget, "over budget"

        engine.ensure_ready = ensure_ready  # type: ignore[method-assign]
        return engine

    catalog.make = watched
    tasks = [asyncio.create_task(user()) for _ in range(80)]
    for task in chance.sample(tasks, 20):
        for _ in range(chance.randrange(5)):
            await asyncio.sleep(0)
        if chance.random() < 0.3:
            served.unload(chance.choice(NAMES))
        task.cancel()
    done, _ = await asyncio.wait(tasks, timeout=20)
    assert len(done) == len(tasks), "somebody waits for ever"
    failures = [task.exception() for task in done if not task.cancelled()]
    unexpected = [error for error in failures if error is not None and not isinstance(error, HomefireError)]
    assert unexpected == []
    assert all(model.num_active == 0 for model in served.status())


@pytest.mark.parametrize("budget", [1, 2, 3])
async def test_a_storm_of_users_loses_nobody_and_never_takes_too_much(budget: int) -> None:
    for seed in range(5):
        catalog = FakeCatalog(*NAMES)
        async with serving(catalog, budget=budget) as served:
            await storm(served, catalog, seed=seed, budget=budget)


class EvictsWithoutStopping(Residency):
    async def _evict(self, key: str, work: Any) -> None:
        self._residents[key].engine = None
        await super()._evict(key, work)


class StopsTooLate(Residency):
    async def _stop_engine(self, key: str) -> None:
        engine = self._residents[key].engine
        self._residents[key].engine = None
        if engine is not None:
            asyncio.get_running_loop().call_later(0.05, lambda: asyncio.ensure_future(engine.stop()))


@pytest.mark.parametrize("bug", [EvictsWithoutStopping, StopsTooLate])
async def test_control_a_planted_bug_is_noticed(
    bug: type[Residency], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("homefire.serving.serving.Residency", bug)
    catalog = FakeCatalog(*NAMES)
    served = Serving(
        catalog,  # type: ignore[arg-type]
        settings(serving={"memory_budget_bytes": 2 * MIB}, server={"request_timeout_s": 1.0}),
        make_engine=catalog.make_engine,
        world=World(),
    )
    with pytest.raises(AssertionError):
        await storm(served, catalog, seed=1, budget=2)
    await served.stop()
    await asyncio.sleep(0.1)
