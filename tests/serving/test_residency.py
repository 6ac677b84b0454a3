"""Residency: single-flight loads, room by eviction of what is idle, swaps that interrupt nobody."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from homefire.catalog.models import ModelInfo
from homefire.errors import BadModel, EngineCrashed, EngineError, EngineTimeout
from homefire.serving.residency import Residency
from homefire.world import SystemClock
from tests.serving.models import Stable, settle
from tests.support.model_info import model_info
from tests.support.scripted_engine import ScriptedEngine

A, B, C, D = (model_info(name, digest="sha256:0") for name in "abcd")


@asynccontextmanager
async def residency(
    stable: Stable, *, max_models: int = 2, load_timeout_s: float = 60
) -> AsyncIterator[Residency]:
    made = Residency(
        stable.spec,
        stable.make_engine,
        max_models=max_models,
        load_timeout_s=load_timeout_s,
        clock=SystemClock(),
    )
    try:
        yield made
    finally:
        await made.stop()
        assert stable.loaded == [], "an engine outlived its residency"


async def use(kept: Residency, model: ModelInfo) -> None:
    async with kept.lease(model):
        pass


async def test_concurrent_requests_share_one_load() -> None:
    gate = asyncio.Event()
    stable = Stable(lambda files: ScriptedEngine(files, load_gate=gate))
    async with residency(stable) as kept:
        waiting = [asyncio.create_task(use(kept, A)) for _ in range(20)]
        await settle()
        assert [model.state for model in kept.status()] == ["loading"]
        gate.set()
        await asyncio.gather(*waiting)
        assert (stable.num_prepared, [engine.num_loads for engine in stable.engines]) == (1, [1])


async def test_a_failed_load_reaches_all_who_wait_and_the_next_request_tries_again() -> None:
    stable = Stable(lambda files: ScriptedEngine(files, load_fails_with=BadModel("torn")))
    async with residency(stable) as kept:
        results = await asyncio.gather(*(use(kept, A) for _ in range(3)), return_exceptions=True)
        assert [type(result) for result in results] == [BadModel] * 3
        assert kept.status() == []
        stable.make = ScriptedEngine
        await use(kept, A)
        assert stable.num_prepared == 2


async def test_the_longest_idle_model_leaves_when_room_is_needed() -> None:
    stable = Stable()
    async with residency(stable) as kept:
        for model in (A, B, A, C):
            await use(kept, model)
        assert stable.loaded == ["a", "c"]


async def test_an_engine_in_use_is_never_stopped_and_the_newcomer_waits() -> None:
    stable = Stable()
    async with residency(stable, max_models=1) as kept:
        async with kept.lease(A) as lease:
            newcomer = asyncio.create_task(use(kept, B))
            await settle()
            assert not newcomer.done()
            assert lease.engine.status().state == "ready"
        await newcomer
        assert stable.loaded == ["b"]


async def test_one_newcomer_makes_one_leave() -> None:
    stable = Stable()
    async with residency(stable, max_models=3) as kept:
        for model in (A, B, C, D):
            await use(kept, model)
        assert stable.loaded == ["b", "c", "d"]


async def test_the_pinned_model_leaves_last_but_blocks_nobody() -> None:
    stable = Stable()
    async with residency(stable, max_models=2) as kept:
        kept.pin(A)  # type: ignore[arg-type]
        for model in (A, B, C):
            await use(kept, model)
        assert stable.loaded == ["a", "c"]
        async with kept.lease(C):
            await use(kept, B)
        assert stable.loaded == ["b", "c"]


async def test_a_swap_is_loaded_whole_before_it_returns_and_stops_nothing_in_use() -> None:
    stable = Stable()
    async with residency(stable, max_models=1) as kept:
        kept.pin(A)  # type: ignore[arg-type]
        async with kept.lease(A) as old:
            await kept.swap_to(B)  # type: ignore[arg-type]
            assert stable.loaded == ["a", "b"]
            assert old.engine.status().state == "ready"
        await settle()
        assert stable.loaded == ["b"], "the old one drains, then leaves"
        assert [(model.name, model.pinned) for model in kept.status()] == [("b", True)]


async def test_after_a_swap_the_old_version_stays_while_there_is_room() -> None:
    stable = Stable()
    async with residency(stable, max_models=3) as kept:
        await kept.swap_to(A)  # type: ignore[arg-type]
        await kept.swap_to(B)  # type: ignore[arg-type]
        await kept.swap_to(A)  # type: ignore[arg-type]
        assert stable.loaded == ["a", "b"]
        assert [engine.num_loads for engine in stable.engines] == [1, 1]


async def test_a_failed_swap_leaves_the_old_one_serving() -> None:
    stable = Stable()
    async with residency(stable, max_models=1) as kept:
        await kept.swap_to(A)  # type: ignore[arg-type]
        stable.make = lambda files: ScriptedEngine(files, load_fails_with=BadModel("torn"))
        with pytest.raises(BadModel):
            await kept.swap_to(B)  # type: ignore[arg-type]
        assert stable.loaded == ["a"]
        assert [(model.name, model.pinned) for model in kept.status()] == [("a", True)]


async def test_a_client_that_leaves_during_a_load_frees_its_room_for_others() -> None:
    stable = Stable(lambda files: ScriptedEngine(files, load_gate=asyncio.Event()))
    async with residency(stable, max_models=1) as kept:
        leaver = asyncio.create_task(use(kept, A))
        await settle()
        leaver.cancel()
        await asyncio.wait([leaver])
        assert [model.num_leases for model in kept.status()] == [0]
        stable.make = ScriptedEngine
        await use(kept, B)
        assert stable.loaded == ["b"]
        assert stable.of("a")[0].num_stops == 1


async def test_a_load_that_hangs_is_a_clean_error() -> None:
    stable = Stable(lambda files: ScriptedEngine(files, load_gate=asyncio.Event()))
    async with residency(stable, load_timeout_s=0.01) as kept:
        with pytest.raises(EngineTimeout, match="load_timeout_s"):
            await use(kept, A)
        assert stable.engines[0].num_stops == 1


async def test_an_engine_that_cannot_come_back_is_prepared_anew() -> None:
    stable = Stable()
    async with residency(stable) as kept:
        await use(kept, A)
        (engine,) = stable.engines
        await engine.stop()
        engine.load_fails_with = EngineCrashed("it will not start")
        with pytest.raises(EngineCrashed):
            await use(kept, A)
        await use(kept, A)
        assert stable.num_prepared == 2


async def test_new_weights_under_an_old_name_get_their_own_engine() -> None:
    stable = Stable()
    async with residency(stable) as kept:
        await use(kept, model_info("a", digest="sha256:1"))
        await use(kept, model_info("a", digest="sha256:2"))
        assert len(stable.engines) == 2


async def test_a_model_let_go_while_it_loads_still_serves_those_who_wait() -> None:
    gate = asyncio.Event()
    stable = Stable(lambda files: ScriptedEngine(files, load_gate=gate))
    async with residency(stable) as kept:
        waiting = asyncio.create_task(use(kept, A))
        await settle()
        kept.unload(A)  # type: ignore[arg-type]
        gate.set()
        await waiting
        await settle()
        assert stable.loaded == []
        assert stable.engines[0].num_loads == 1


async def test_a_model_let_go_while_it_is_used_leaves_afterwards() -> None:
    stable = Stable()
    async with residency(stable) as kept:
        async with kept.lease(A) as lease:
            kept.unload(A)  # type: ignore[arg-type]
            await settle()
            assert lease.engine.status().state == "ready"
        await settle()
        assert stable.loaded == []


async def test_stopping_ends_a_load_that_was_let_go() -> None:
    stable = Stable(lambda files: ScriptedEngine(files, load_gate=asyncio.Event()))
    async with residency(stable) as kept:
        waiting = asyncio.create_task(use(kept, A))
        await settle()
        kept.unload(A)  # type: ignore[arg-type]
        await kept.stop()
        with pytest.raises(EngineError, match="stopping"):
            await waiting


async def test_stopping_ends_waiting_requests_with_a_clean_error() -> None:
    stable = Stable(lambda files: ScriptedEngine(files, load_gate=asyncio.Event()))
    async with residency(stable) as kept:
        waiting = asyncio.create_task(use(kept, A))
        await settle()
        await kept.stop()
        with pytest.raises(EngineError, match="stopping"):
            await waiting
        with pytest.raises(EngineError, match="stopping"):
            await use(kept, B)


async def run_storm(kept: Residency, stable: Stable, *, seed: int, max_models: int) -> None:
    """Random users, some of whom leave; nobody may ever hold a stopped engine."""
    chance = random.Random(seed)
    models = [A, B, C, D]
    room = asyncio.Semaphore(max_models)  # the scheduler's part: no more busy models than there is room

    async def user() -> None:
        async with room, kept.lease(chance.choice(models)) as lease:
            for _ in range(chance.randrange(4)):
                assert lease.engine.status().state == "ready"
                assert len(stable.loaded) <= max_models
                await asyncio.sleep(0)

    tasks = [asyncio.create_task(user()) for _ in range(60)]
    for task in chance.sample(tasks, 15):
        for _ in range(chance.randrange(5)):
            await asyncio.sleep(0)
        task.cancel()
    done, _ = await asyncio.wait(tasks, timeout=5)
    assert len(done) == len(tasks), "somebody waits for ever"
    failures = [error for task in done if not task.cancelled() and (error := task.exception()) is not None]
    if failures:
        raise failures[0]
    assert all(model.num_leases == 0 for model in kept.status())


@pytest.mark.parametrize("max_models", [1, 2, 3])
async def test_a_storm_of_users_never_holds_a_stopped_engine(max_models: int) -> None:
    for seed in range(5):
        stable = Stable()
        async with residency(stable, max_models=max_models) as kept:
            await run_storm(kept, stable, seed=seed, max_models=max_models)


class EvictsTheBusy(Residency):
    def _leave_one(self, *, spare_pinned: bool) -> bool:
        self._leave(next(resident for resident in self._occupying if not resident.leaving))
        return True

    async def _unload(self, resident) -> None:  # type: ignore[no-untyped-def]
        await (await resident.loading).stop()
        self._occupying.discard(resident)
        self._announce_room()


class ForgetsToLeave(Residency):
    async def _claim_room(self, resident) -> None:  # type: ignore[no-untyped-def]
        self._occupying.add(resident)


@pytest.mark.parametrize("bug", [EvictsTheBusy, ForgetsToLeave])
async def test_control_a_planted_bug_is_noticed(bug: type[Residency]) -> None:
    stable = Stable()
    kept = bug(stable.spec, stable.make_engine, max_models=2, load_timeout_s=60, clock=SystemClock())
    with pytest.raises(AssertionError):
        await run_storm(kept, stable, seed=1, max_models=2)
    await kept.stop()
