"""A trainer that is kept ready: who gets it, when it goes, and that nothing depends on it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from homefire.config.schema import Settings, TrainingSettings
from homefire.training.evaluation import GateEvaluator
from homefire.training.memory import TrainingMemory
from homefire.training.warm_trainer import MIN_FREE_BYTES, WARM_BYTES, WarmTrainer
from homefire.versions.promotion import Promotion
from homefire.world import SystemClock
from tests.support.small_training import SmallTraining, small_training
from tests.support.stand_in import STAND_IN

PLENTY = 8 << 30


def quick(**training: Any) -> Settings:
    return Settings(training=TrainingSettings(quiet_s=0.0, **training))


def warm_of(training: SmallTraining) -> WarmTrainer:
    return training.daemon._context.warm


async def is_ready(warm: WarmTrainer) -> int:
    """The process id of the trainer that waits."""
    while warm.pid is None:  # noqa: ASYNC110 - nothing tells of it, and nothing else should
        await asyncio.sleep(0)
    return warm.pid


def pids(training: SmallTraining, run_id: str) -> list[int]:
    """The processes that worked on a run."""
    return [int(line) for line in (training.home.runs / run_id / "pids").read_text().split()]


async def one_run(training: SmallTraining, question: str) -> str:
    """Correct, and wait until the run is done."""
    example_id = await training.correct(question, "a")
    run_id = await training.run_of(example_id)
    assert (await training.ended(run_id)).state == "done"
    return run_id


async def test_a_run_is_trained_by_the_process_that_waited_and_the_next_one_is_got_ready(
    tmp_path: Path,
) -> None:
    async with small_training(tmp_path, quick(), warm_command=STAND_IN) as training:
        training.daemon.expect_corrections()
        waited = await is_ready(warm_of(training))
        run_id = await one_run(training, "q1")
        assert pids(training, run_id) == [waited]
        following = await is_ready(warm_of(training))
        assert following != waited
        assert pids(training, await one_run(training, "q2")) == [following]


async def test_a_trainer_that_died_while_it_waited_holds_up_nothing(tmp_path: Path) -> None:
    async with small_training(tmp_path, quick(), warm_command=STAND_IN) as training:
        training.daemon.expect_corrections()
        waited = await is_ready(warm_of(training))
        os.kill(waited, signal.SIGKILL)
        run_id = await one_run(training, "q")
        assert waited not in pids(training, run_id)


async def test_none_is_started_where_the_settings_want_none(tmp_path: Path) -> None:
    async with small_training(tmp_path, quick(warm_s=0.0), warm_command=STAND_IN) as training:
        training.daemon.expect_corrections()
        await one_run(training, "q")
        assert warm_of(training)._keeping is None


async def test_a_warm_trainer_that_cannot_be_started_costs_only_time(tmp_path: Path) -> None:
    async with small_training(tmp_path, quick(), warm_command=("/nowhere/python",)) as training:
        training.daemon.expect_corrections()
        await one_run(training, "q")


@asynccontextmanager
async def kept(
    tmp_path: Path, *, free_bytes: Callable[[], int] = lambda: PLENTY, **training: Any
) -> AsyncIterator[tuple[WarmTrainer, list[int]]]:
    held: list[int] = []
    warm = WarmTrainer(
        TrainingSettings(**training),
        command=STAND_IN,
        log_folder=tmp_path,
        clock=SystemClock(),
        on_bytes=held.append,
        free_bytes=free_bytes,
    )
    warm.expect()
    try:
        yield warm, held
    finally:
        await warm.stop()


async def test_it_is_told_to_nobody_and_given_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMEFIRE_API_KEY", "secret-of-the-house")
    async with kept(tmp_path) as (warm, _):
        environ = Path(f"/proc/{await is_ready(warm)}/environ").read_bytes()
        assert b"secret-of-the-house" not in environ


async def test_it_ends_when_no_correction_comes(tmp_path: Path) -> None:
    async with kept(tmp_path, warm_s=0.2) as (warm, held):
        await is_ready(warm)
        assert warm._keeping is not None
        await warm._keeping
        assert (warm.pid, held[0], held[-1]) == (None, WARM_BYTES, 0)


async def test_where_memory_is_short_none_is_started_and_one_that_waits_is_given_back(tmp_path: Path) -> None:
    async with kept(tmp_path, free_bytes=lambda: MIN_FREE_BYTES) as (warm, _):
        assert warm._keeping is None
    answers = iter((PLENTY, MIN_FREE_BYTES - 1))
    async with kept(tmp_path, free_bytes=lambda: next(answers)) as (warm, held):
        assert warm._keeping is not None
        await warm._keeping
        assert (warm.pid, held[-1]) == (None, 0)


async def test_it_makes_way_for_a_model_and_comes_back_only_when_there_is_room(tmp_path: Path) -> None:
    memory, told = TrainingMemory(), list[int]()
    memory.announce_to(told.append)
    async with small_training(tmp_path, quick(), warm_command=STAND_IN, memory=memory) as training:
        training.daemon.expect_corrections()
        waited = await is_ready(warm_of(training))
        assert told == [WARM_BYTES]
        await memory.park()
        assert not Path(f"/proc/{waited}").exists()
        example_id = await training.correct()
        assert "memory" in (training.daemon.waiting_reason() or "")
        assert training.daemon.run_of(example_id) is None
        assert await memory.resume() > 0
        run_id = await training.run_of(example_id)
        assert (await training.ended(run_id)).state == "done"
    assert told[-1] == 0


async def test_a_run_makes_way_for_a_model_and_continues_from_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", '{"steps": 40, "step_s": 0.02}')
    memory, told = TrainingMemory(), list[int]()
    memory.announce_to(told.append)
    async with small_training(tmp_path, quick(), memory=memory) as training:
        example_id = await training.correct()
        run_id = await training.run_of(example_id)
        await training.until(run_id, lambda progress: progress.step > 4)
        assert told[-1] > WARM_BYTES
        await memory.park()
        (worker,) = pids(training, run_id)
        assert not Path(f"/proc/{worker}").exists()
        shown = await training.until(run_id, lambda progress: progress.state == "queued")
        assert (shown.attempts, "made way" in shown.why) == (0, True)
        assert await memory.resume() == told[-1]
        assert (await training.ended(run_id)).state == "done"
        assert len(pids(training, run_id)) == 2
    assert told[-1] == 0


async def test_what_promoting_needs_is_never_waited_for_by_the_run_that_promotes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model wants the run's memory while it is judged, and its promotion needs what that model waits for."""
    memory, gating, parked = TrainingMemory(), asyncio.Event(), asyncio.Event()
    parking: list[asyncio.Task[None]] = []
    real_judge, real_promote = GateEvaluator.judge, Promotion.promote

    async def judge(self: GateEvaluator, *arguments: Any, **named: Any) -> Any:
        gating.set()
        await parked.wait()
        return await real_judge(self, *arguments, **named)

    async def promote(self: Promotion, version: str, **named: Any) -> Any:
        await parking[0]
        return await real_promote(self, version, **named)

    monkeypatch.setattr(GateEvaluator, "judge", judge)
    monkeypatch.setattr(Promotion, "promote", promote)
    async with small_training(tmp_path, quick(), memory=memory) as training, asyncio.timeout(60):
        run_id = await training.run_of(await training.correct())
        await gating.wait()
        parking.append(asyncio.create_task(memory.park()))
        await asyncio.sleep(0)
        parked.set()
        assert (await training.ended(run_id)).state == "done"
        assert training.live == "v001"
        assert await memory.resume() == 0
