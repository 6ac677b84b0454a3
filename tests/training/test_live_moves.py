"""Live moves while a run is under way: whatever the order, nothing that was taught is left on a branch of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from homefire.config.schema import Settings, TrainingSettings
from homefire.store.nouns.runs import RunRow
from homefire.training import completion
from tests.support.small_training import SmallTraining, small_training

SLOW = json.dumps({"steps": 30, "step_s": 0.02})


@asynccontextmanager
async def training(root: Path) -> AsyncIterator[SmallTraining]:
    async with small_training(root, Settings(training=TrainingSettings(auto=False, quiet_s=0.0))) as small:
        yield small


async def taught(small: SmallTraining, question: str) -> RunRow:
    run = await small.daemon.queue([await small.correct(question, f"answer to {question}")])
    return await small.ended(run.run_id)


async def settled(small: SmallTraining) -> None:
    """Until no run is left, those that follow from others included."""
    while open_runs := [run for run in small.store.runs.list() if run.state in ("queued", "running")]:
        for run in open_runs:
            await small.ended(run.run_id)


def knows(small: SmallTraining, *questions: str) -> bool:
    answers = small.live_answers()
    return all(answers.get(question) == f"answer to {question}" for question in questions)


async def test_a_rollback_while_a_run_trains_is_what_it_is_taught_upon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with training(tmp_path) as small:
        await taught(small, "first")
        monkeypatch.setenv("STAND_IN", SLOW)
        run = await small.daemon.queue([await small.correct("second", "answer to second")])
        await small.until(run.run_id, lambda progress: progress.step > 2)
        await small.promotion.rollback(who="me", why="worse")
        assert small.live == "small"
        await settled(small)
        assert knows(small, "second")
        assert not knows(small, "first"), "it was taken back"
        version = small.store.versions.get(small.live)
        assert version is not None
        assert version.parent == "small"


@pytest.mark.parametrize("again", ["stop", "skip"])
async def test_a_run_with_a_result_of_an_older_parent_is_taught_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    """It was stopped when all but the publishing was done; then another version went live."""
    made = asyncio.Event()

    async def hold(*_: Any, **__: Any) -> Any:
        made.set()
        await asyncio.Event().wait()

    async with training(tmp_path) as small:
        with monkeypatch.context() as patched:
            patched.setattr(completion.Completion, "_publish", hold)
            run = await small.daemon.queue([await small.correct("held", "answer to held")])
            await made.wait()
            await small.daemon.signal(run.run_id, again, who="me", why="x")  # type: ignore[arg-type]
        await taught(small, "other")
        await small.daemon.signal(run.run_id, "retry", who="me", why="y")
        await settled(small)
        assert knows(small, "held", "other")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_two_paused_runs_are_both_taught_in_whichever_order_they_are_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: tuple[int, int]
) -> None:
    monkeypatch.setenv("STAND_IN", SLOW)
    async with training(tmp_path) as small:
        runs = []
        for question in ("one", "two"):
            run = await small.daemon.queue([await small.correct(question, f"answer to {question}")])
            await small.until(run.run_id, lambda progress: progress.step > 2)
            await small.daemon.signal(run.run_id, "pause", who="me", why="x")
            runs.append(run)
        monkeypatch.setenv("STAND_IN", "{}")
        await taught(small, "three")
        for number in order:
            await small.daemon.signal(runs[number].run_id, "resume", who="me", why="y")
            await small.ended(runs[number].run_id)
        await settled(small)
        assert knows(small, "one", "two", "three")
        assert small.store.versions.get(small.live) is not None


async def test_a_person_who_promotes_something_else_during_the_gate_is_not_overruled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged, may_go_on = asyncio.Event(), asyncio.Event()
    real = completion.Completion._promote

    async def late(self: Any, run: Any, version: Any) -> Any:
        judged.set()
        await may_go_on.wait()
        return await real(self, run, version)

    async with training(tmp_path) as small:
        await taught(small, "first")
        monkeypatch.setattr(completion.Completion, "_promote", late)
        run = await small.daemon.queue([await small.correct("second", "answer to second")])
        await judged.wait()
        await small.promotion.promote("small", who="me", why="I prefer the base")
        may_go_on.set()
        ended = await small.ended(run.run_id)
        assert "live moved from v001 to small" in ended.why
        await settled(small)
        assert knows(small, "second")
        live = small.store.versions.get(small.live)
        assert live is not None
        assert live.parent == "small"
