"""Serving: whole streams, freed slots, one retry before the first token, typed errors, honest times."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from homefire.engines.base import Delta, EngineRequest, Finish, Generated
from homefire.errors import (
    BadModel,
    EngineCrashed,
    EngineError,
    EngineOutOfMemory,
    InvalidRequest,
    QueueFull,
    RequestTimeout,
)
from homefire.serving.router import Route, Router, RouteRequest
from homefire.serving.serving import QueueStatus, Serving
from homefire.types import Message
from homefire.world import World
from tests.serving.models import FakeCatalog, settings, settle
from tests.support.clock import HandClock
from tests.support.scripted_engine import ScriptedEngine

ANSWER = "Hello there, I am scripted."


def ask(text: str = "Hi") -> EngineRequest:
    return EngineRequest(messages=(Message("user", text),))


def route_to(catalog: FakeCatalog, name: str = "default") -> Route:
    return Router(catalog).route(RouteRequest(model=name))  # type: ignore[arg-type]


@asynccontextmanager
async def serving(
    catalog: FakeCatalog, *, world: World | None = None, **sections: dict[str, Any]
) -> AsyncIterator[Serving]:
    configured = settings(**sections)
    catalog.num_parallel = configured.serving.num_parallel
    make_engine, world = catalog.make_engine, world or World()
    made = Serving(catalog, configured, make_engine=make_engine, world=world)  # type: ignore[arg-type]
    try:
        yield made
        assert_free(made)
    finally:
        await made.stop()


def assert_free(served: Serving) -> None:
    """Nothing is held: no place in the queue, no model, no slot."""
    assert served.queue() == QueueStatus(num_active=0, num_waiting=0)
    assert all(model.num_active == 0 for model in served.status())
    assert served._waiters == {}


async def collect(stream: AsyncIterator[Generated]) -> tuple[str, Finish | None]:
    text, finish = "", None
    async for item in stream:
        if isinstance(item, Delta):
            text += item.text
        else:
            finish = item
    return text, finish


async def test_an_answer_streams_and_ends_with_its_times() -> None:
    load_gate, clock = asyncio.Event(), HandClock()
    catalog = FakeCatalog(make=lambda files: ScriptedEngine(files, load_gate=load_gate))
    async with serving(catalog, world=World(clock=clock)) as served:
        answer = asyncio.create_task(collect(served.generate(route_to(catalog), ask())))
        await settle()
        clock.time_s += 0.25
        load_gate.set()
        text, finish = await answer
        assert text == ANSWER
        assert finish is not None
        assert (finish.timings.load_ms, finish.timings.queue_ms) == (250, 0)
        assert finish.timings.first_token_ms == 250
        _, finish = await collect(served.generate(route_to(catalog), ask()))
        assert finish is not None
        assert (finish.timings.load_ms, finish.timings.first_token_ms) == (0, 0)


async def test_waiting_for_a_slot_counts_as_queue_time() -> None:
    gate, clock = asyncio.Event(), HandClock()
    catalog = FakeCatalog(make=lambda files: ScriptedEngine(files, gate=gate))
    async with serving(catalog, world=World(clock=clock), serving={"num_parallel": 1}) as served:
        tasks = [
            asyncio.create_task(collect(served.generate(route_to(catalog), ask(str(i))))) for i in range(2)
        ]
        await settle()
        clock.time_s += 0.25
        queue = served.queue()
        assert (queue.num_active, queue.num_waiting) == (1, 1)
        assert [(one.model, one.position, one.reason) for one in queue.waiting] == [
            ("ember", 1, "waits for a slot of ember")
        ]
        gate.set()
        (_, first), (_, second) = await asyncio.gather(*tasks)
        assert first is not None
        assert second is not None
        assert (first.timings.queue_ms, second.timings.queue_ms) == (0, 250)


async def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    gate = asyncio.Event()
    catalog = FakeCatalog(make=lambda files: ScriptedEngine(files, gate=gate))
    async with serving(catalog, serving={"num_parallel": 1, "max_queue": 1}) as served:
        await served.warm("default")
        taken = [asyncio.create_task(collect(served.generate(route_to(catalog), ask()))) for _ in range(2)]
        await settle()
        with pytest.raises(QueueFull) as caught:
            await collect(served.generate(route_to(catalog), ask()))
        assert caught.value.details["num_waiting"] == 1
        assert caught.value.details["retry_after_s"] == 2  # two before it, one at a time, a second each
        gate.set()
        assert [text for text, _ in await asyncio.gather(*taken)] == [ANSWER] * 2


async def test_a_crash_before_the_first_token_is_tried_once_more() -> None:
    crashes = [EngineCrashed("gone"), None]
    catalog = FakeCatalog()
    async with serving(catalog) as served:
        await served.warm("default")
        (engine,) = catalog.engines
        engine.fail_with = crashes[0]

        def recover(request: EngineRequest) -> str:
            engine.fail_with = crashes[min(len(engine.requests) - 1, 1)]
            return ANSWER

        engine.answer = recover
        text, _ = await collect(served.generate(route_to(catalog), ask()))
        assert text == ANSWER
        assert len(engine.requests) == 2


@pytest.mark.parametrize(("num_given", "num_tries"), [(0, 2), (1, 1), (3, 1)])
async def test_a_crash_is_never_retried_after_a_token_nor_twice(num_given: int, num_tries: int) -> None:
    catalog = FakeCatalog(
        make=lambda files: ScriptedEngine(files, fail_with=EngineCrashed("gone"), fail_after=num_given)
    )
    async with serving(catalog) as served:
        stream = served.generate(route_to(catalog), ask())
        for _ in range(num_given):
            assert isinstance(await anext(stream), Delta)
        with pytest.raises(EngineCrashed):
            await anext(stream)
        assert len(catalog.engines[0].requests) == num_tries


async def test_a_model_that_does_not_load_is_its_own_error() -> None:
    catalog = FakeCatalog(make=lambda files: ScriptedEngine(files, load_fails_with=BadModel("torn")))
    async with serving(catalog) as served:
        with pytest.raises(BadModel, match="torn"):
            await collect(served.generate(route_to(catalog), ask()))


class EndsEarly(ScriptedEngine):
    async def _answer(self, request: EngineRequest, prompt_tokens: int) -> AsyncIterator[Generated]:
        yield Delta("Hel")


async def test_a_stream_that_breaks_off_is_an_error_not_an_answer() -> None:
    catalog = FakeCatalog(make=EndsEarly)
    async with serving(catalog) as served:
        with pytest.raises(EngineError, match="middle of an answer"):
            await collect(served.generate(route_to(catalog), ask()))


@pytest.mark.parametrize("stage", ["queue", "load", "decode"])
async def test_a_request_that_takes_too_long_is_ended_in_every_stage(stage: str) -> None:
    closed = asyncio.Event()
    catalog = FakeCatalog(
        make=lambda files: ScriptedEngine(
            files, gate=closed if stage != "load" else None, load_gate=closed if stage == "load" else None
        )
    )
    async with serving(catalog, server={"request_timeout_s": 0.02}, serving={"num_parallel": 1}) as served:
        tasks = [
            asyncio.create_task(collect(served.generate(route_to(catalog), ask())))
            for _ in range(2 if stage == "queue" else 1)
        ]
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(result, RequestTimeout)
        assert_free(served)


@pytest.mark.parametrize("what", ["count", "embed", "warm"])
async def test_counting_embedding_and_warming_obey_the_deadline_and_say_what_they_waited_for(
    what: str,
) -> None:
    catalog = FakeCatalog(make=lambda spec: ScriptedEngine(spec, load_gate=asyncio.Event()))
    async with serving(catalog, server={"request_timeout_s": 0.02}) as served:
        route = route_to(catalog)
        calls = {
            "count": lambda: served.count_tokens(route, [], prompt="one two"),
            "embed": lambda: served.embed(route, ["one"]),
            "warm": lambda: served.warm("default"),
        }
        with pytest.raises(RequestTimeout, match="ember is loading") as caught:
            await calls[what]()
        assert caught.value.details["request_timeout_s"] == 0.02


class SlowToCount(ScriptedEngine):
    async def count_tokens(self, messages: Any, *, prompt: str | None = None) -> int:
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_count_that_hangs_is_ended_at_the_callers_own_deadline() -> None:
    catalog = FakeCatalog(make=SlowToCount)
    async with serving(catalog) as served:
        moment_s = asyncio.get_running_loop().time() + 0.02
        with pytest.raises(RequestTimeout):
            await served.count_tokens(route_to(catalog), [], prompt="one", deadline_s=moment_s)


async def test_a_model_that_can_never_fit_is_refused_with_the_figures() -> None:
    catalog = FakeCatalog(make=lambda spec: ScriptedEngine(spec, num_bytes=3_000_000_000))
    async with serving(catalog, serving={"memory_budget_bytes": 2_000_000_000}) as served:
        with pytest.raises(EngineOutOfMemory, match=r"needs 3.0 GB of memory; the budget is 2.0 GB"):
            await collect(served.generate(route_to(catalog), ask()))
        await settle()
        assert served.status() == []
        assert [engine.num_loads for engine in catalog.engines] == [0]


async def test_each_who_waited_for_a_failed_load_gets_an_error_of_its_own() -> None:
    catalog = FakeCatalog(
        make=lambda spec: ScriptedEngine(spec, load_fails_with=BadModel("torn", why="test"))
    )
    async with serving(catalog) as served:
        errors = await asyncio.gather(
            *(collect(served.generate(route_to(catalog), ask())) for _ in range(3)), return_exceptions=True
        )
        assert [(str(error), error.details) for error in errors] == [("torn", {"why": "test"})] * 3  # type: ignore[union-attr]
        assert len({id(error) for error in errors}) == 3


@pytest.mark.parametrize("stage", ["queue", "load", "decode"])
@pytest.mark.parametrize("by", ["task", "iterator"])
async def test_leaving_frees_everything_in_every_stage(stage: str, by: str) -> None:
    closed = asyncio.Event()
    catalog = FakeCatalog(
        make=lambda files: ScriptedEngine(
            files, gate=closed, load_gate=closed if stage == "load" else None, answer="one two"
        )
    )
    async with serving(catalog, serving={"num_parallel": 1}) as served:
        route = route_to(catalog)
        first = asyncio.create_task(collect(served.generate(route, ask())))
        await settle()
        leaver = first
        if stage == "queue":
            leaver = asyncio.create_task(collect(served.generate(route, ask())))
            await settle()
            assert served.queue().num_waiting == 1
        if by == "iterator" and stage == "decode":
            first.cancel()
            await asyncio.wait([first])
            closed.set()
            async with aclosing(served.generate(route, ask())) as stream:
                assert await anext(stream) == Delta("one")
            assert catalog.engines[0].num_active == 0
            return
        leaver.cancel()
        await asyncio.wait([leaver])
        assert served.queue().num_waiting == 0
        if stage == "queue":
            closed.set()
            assert (await first)[0] == "one two"
        assert_free(served)
        assert sum(engine.num_active for engine in catalog.engines) == 0


async def test_counting_waits_for_no_slot_of_a_loaded_model() -> None:
    gate = asyncio.Event()
    catalog = FakeCatalog(make=lambda files: ScriptedEngine(files, gate=gate))
    async with serving(catalog, serving={"num_parallel": 1}) as served:
        route = route_to(catalog)
        assert served.context_length(route) is None
        assert await served.count_tokens(route, [Message("user", "one two")]) == 4
        assert served.context_length(route) == 1024
        running = asyncio.create_task(collect(served.generate(route, ask())))
        await settle()
        assert await served.count_tokens(route, [], prompt="one two three") == 3
        assert served.queue().num_active == 1
        gate.set()
        await running


class NoVectors(ScriptedEngine):
    capabilities = ScriptedEngine.capabilities - {"embeddings"}


async def test_embeddings_come_from_models_that_have_them() -> None:
    catalog = FakeCatalog()
    async with serving(catalog) as served:
        (vector,) = (await served.embed(route_to(catalog), ["hi"])).vectors
        assert sum(value * value for value in vector) == pytest.approx(1)
    catalog = FakeCatalog(make=NoVectors)
    async with serving(catalog) as served:
        with pytest.raises(InvalidRequest, match="no embeddings"):
            await served.embed(route_to(catalog), ["hi"])


async def test_warming_the_live_model_pins_it() -> None:
    catalog = FakeCatalog("ember", "other")
    async with serving(catalog) as served:
        await served.warm("default")
        await served.warm("other")
        assert {model.name: model.pinned for model in served.status()} == {"ember": True, "other": False}


async def test_a_swap_under_load_fails_no_request_and_the_way_back_loads_nothing() -> None:
    catalog = FakeCatalog("v001", "v002")
    async with serving(catalog) as served:
        await served.warm("default")
        served_by: list[str] = []
        swapped = asyncio.Event()

        async def client() -> None:
            while not swapped.is_set() or "v002" not in served_by:
                await asyncio.sleep(0)  # a scripted engine lets nobody else run
                route = route_to(catalog)
                text, finish = await collect(served.generate(route, ask()))
                assert finish is not None
                assert text == ANSWER
                served_by.append(route.model.name)

        async def swaps() -> None:
            for name in ("v002", "v001", "v002"):
                await settle(7)
                await served.swap_to(catalog.resolve(name).model)  # type: ignore[arg-type]
                catalog.aliases["live"] = name
            swapped.set()

        await asyncio.gather(*(client() for _ in range(4)), swaps())
        assert set(served_by) == {"v001", "v002"}
        assert [engine.num_loads for engine in catalog.engines] == [1, 1]


async def storm(served: Serving, catalog: FakeCatalog, *, num_requests: int, seed: int) -> None:
    """Requests for four models with room for one, random cancels and crashes: survivors get whole streams."""
    chance = random.Random(seed)

    async def client(name: str) -> None:
        text, finish = await collect(served.generate(route_to(catalog, name), ask()))
        assert text == ANSWER
        assert finish is not None

    tasks = []
    for _ in range(num_requests):
        name = chance.choice(list(catalog.models))
        tasks.append(asyncio.create_task(client(name)))
        if chance.random() < 0.3:
            await asyncio.sleep(0)
        if chance.random() < 0.2:
            chance.choice(tasks).cancel()
        if chance.random() < 0.05 and catalog.engines:
            await chance.choice(catalog.engines).stop()
    done, waiting = await asyncio.wait(tasks, timeout=30)
    assert not waiting
    crashed = [task for task in done if not task.cancelled() and isinstance(task.exception(), EngineCrashed)]
    for task in done:
        if not task.cancelled() and task not in crashed:
            task.result()
    assert len(crashed) < num_requests / 4
    assert_free(served)
    assert all(engine.num_active == 0 for engine in catalog.engines)


@pytest.mark.parametrize("seed", range(3))
async def test_four_models_in_room_for_one_with_cancels_and_crashes_lose_nobody(seed: int) -> None:
    catalog = FakeCatalog("a", "b", "c", "d")
    async with serving(catalog, serving={"max_models": 1, "num_parallel": 2, "max_queue": 400}) as served:
        await storm(served, catalog, num_requests=300, seed=seed)


class LosesCancels(Serving):
    def _finish(self, ticket: int) -> None:
        """The slot stays taken."""


async def test_control_a_lost_cancel_is_noticed() -> None:
    catalog = FakeCatalog()
    served = LosesCancels(catalog, settings(), make_engine=catalog.make_engine, world=World())  # type: ignore[arg-type]
    async with aclosing(served.generate(route_to(catalog), ask())) as stream:
        await anext(stream)
    with pytest.raises(AssertionError):
        assert_free(served)
    await served.stop()
