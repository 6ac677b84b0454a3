"""A server that finishes a run, killed at every event it records and started again (promise 5)."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from homefire.store.events import Event
from homefire.store.nouns.aliases import AliasMoved
from homefire.store.nouns.runs import RunMoved, RunRow
from homefire.store.nouns.versions import GateJudged, VersionPublished, VersionRow
from homefire.store.store import Store
from homefire.training import completion as completion_module
from homefire.training import dispatcher as dispatcher_module
from homefire.versions.library import Library
from tests.training import test_daemon
from tests.training.test_daemon import Server, Start

start = test_daemon.start
"""The fixture that lets a server live on a home."""

Plant = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture
async def trained(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    """A home whose server was killed when the worker had just ended, and the run."""
    reached = asyncio.Event()

    async def kill(*_args: Any, **_kwargs: Any) -> None:
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(dispatcher_module, "FAREWELL_S", 0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(completion_module.Completion, "_publish", kill)
        async with start() as server:
            run_id = await server.run_of(await server.correct("q", "a"))
            await reached.wait()
    return Path(shutil.copytree(tmp_path / "home", tmp_path / "trained")), run_id


class KillAtEvent:
    """Ends the server before or after its event number `number`; nothing is recorded from then on."""

    def __init__(self, patch: pytest.MonkeyPatch, number: int, *, is_recorded: bool) -> None:
        self.killed = asyncio.Event()
        self._left, self._is_recorded = number, is_recorded
        real, watch = Store.append, self

        async def append(store: Store, *events: Event) -> Any:
            if watch.killed.is_set():
                raise asyncio.CancelledError
            is_now = watch._left == 0
            watch._left -= 1
            recorded = await real(store, *events) if watch._is_recorded or not is_now else ()
            if is_now:
                watch.killed.set()
                await asyncio.Event().wait()
            return recorded

        patch.setattr(Store, "append", append)


async def faults_after_kills(
    start: Start, trained: tuple[Path, str], *, is_recorded: bool, plant: Plant | None = None
) -> list[str]:
    """Starts the server on copies of the home, killed at one event after another, and then once more; what
    the run came to, where that is not right."""
    scene, run_id = trained
    home = scene.with_name("home")
    with pytest.MonkeyPatch.context() as planted:
        if plant is not None:
            plant(planted)
        for number in itertools.count():
            shutil.rmtree(home)
            shutil.copytree(scene, home)
            was_killed = await live_until_killed(start, run_id, number, is_recorded=is_recorded)
            async with start() as server:
                await server.end_of(run_id)
                found = [f"killed at {number}: {fault}" for fault in faults(server, run_id)]
            if found or not was_killed:
                assert found or number >= 5, "there was less to record than a run has to say"
                return found
    raise AssertionError("the run has no end")


async def live_until_killed(start: Start, run_id: str, number: int, *, is_recorded: bool) -> bool:
    """Whether the server was killed before the run had ended."""
    with pytest.MonkeyPatch.context() as patch:
        kill = KillAtEvent(patch, number, is_recorded=is_recorded)
        async with start() as server:
            waits = [asyncio.create_task(server.end_of(run_id)), asyncio.create_task(kill.killed.wait())]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
    return kill.killed.is_set()


def faults(server: Server, run_id: str) -> list[str]:
    """Every fact of the run must be in the log, once."""
    events = [recorded.event for recorded in server.store.events()]
    run = server.store.runs.get(run_id)
    assert run is not None
    counts = {
        "published": sum(isinstance(event, VersionPublished) for event in events),
        "judged": sum(isinstance(event, GateJudged) for event in events),
        "promoted": sum(isinstance(event, AliasMoved) and event.target != "small" for event in events),
        "ended": sum(isinstance(event, RunMoved) and event.state == "done" for event in events),
    }
    found = [f"{what} {count} times" for what, count in counts.items() if count != 1]
    if (run.state, run.version, server.live) != ("done", "v001", "v001"):
        found.append(f"the run is {run.state}, its version {run.version}, and live is {server.live}")
    return found


@pytest.mark.parametrize("is_recorded", [False, True], ids=["before", "after"])
async def test_a_server_killed_at_any_event_ends_the_run_once(
    start: Start, trained: tuple[Path, str], is_recorded: bool
) -> None:
    assert await faults_after_kills(start, trained, is_recorded=is_recorded) == []


def publish_again(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks whether the run has a version already."""
    patch.setattr(Library, "of_run", lambda self, run_id: None)


def judge_again(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks whether the version was judged already."""
    real = completion_module.Completion._judge

    async def judge(self: Any, run: RunRow, version: VersionRow) -> VersionRow:
        return await real(self, run, msgspec.structs.replace(version, gate_passed=None))

    patch.setattr(completion_module.Completion, "_judge", judge)


@pytest.mark.parametrize(
    ("plant", "words"), [(publish_again, "published 2 times"), (judge_again, "judged 2 times")]
)
async def test_planted_bug_a_phase_that_does_not_look_for_its_fact_is_noticed(
    start: Start, trained: tuple[Path, str], plant: Plant, words: str
) -> None:
    found = await faults_after_kills(start, trained, is_recorded=True, plant=plant)
    assert any(words in fault for fault in found), found
