"""Every long-lived task and thread of the server is known here, and none can end unseen.

A new one has no line in the table, which fails the first test: it is to be started through `Supervision`, or to say
itself how its end is noticed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from homefire.api.server import create_app
from homefire.app import Homefire
from homefire.catalog.scrub import Scrub
from homefire.engines import worker_process
from homefire.engines.process import LlamaCppEngine
from homefire.errors import EngineCrashed
from homefire.machine import supervision
from homefire.machine.supervision import Supervision
from homefire.store.writer import Writer
from homefire.training.dispatcher import Dispatcher
from homefire.world import World
from tests.engines.conftest import ember_gguf as ember_gguf
from tests.engines.support import QUICK, asking, collect, spec_for
from tests.faults.lives import open_home

SUPERVISED = {"scrub", "warm live"}
NOTICED_BY_ITSELF = {"training", "homefire-store-writer"}
"""They keep the reason of their end, which `Homefire.failures` shows."""
OF_THE_FRAMEWORK = {"MainThread"}
SHORT_LIVED = ("asyncio_", "asyncio-waitpid-", "ThreadPoolExecutor-", "scrub_")
"""Threads of pools, and those that wait for a child: what they run is awaited by whoever gave it."""


@contextlib.asynccontextmanager
async def served(root: Path) -> AsyncIterator[tuple[Homefire, httpx.AsyncClient]]:
    homefire = open_home(root)
    app = create_app(homefire)
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 50000))
    async with (
        homefire.running(),
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        yield homefire, client


def long_lived(before: set[asyncio.Task[Any]], threads: set[threading.Thread]) -> set[str]:
    tasks = {task.get_name() for task in asyncio.all_tasks() - before if not task.done()}
    named = {thread.name for thread in set(threading.enumerate()) - threads}
    return tasks | {name for name in named if not name.startswith(SHORT_LIVED)}


async def test_every_long_lived_task_and_thread_has_somebody_who_notices_its_end(tmp_path: Path) -> None:
    before, threads = asyncio.all_tasks(), set(threading.enumerate())
    async with served(tmp_path / "home") as (homefire, _):
        await until(lambda: [model.state for model in homefire.serving.status()] == ["ready"])
        found = long_lived(before, threads)
        known = SUPERVISED | NOTICED_BY_ITSELF
        assert found <= known, f"nobody notices the end of {found - known}"
        assert {"scrub", "training", "homefire-store-writer"} <= found
        assert homefire.failures() == {}


async def test_planted_bug_a_task_that_nobody_supervises_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(self: Supervision, name: str, work: Callable[[], Any]) -> None:
        self._forgotten = asyncio.ensure_future(work())  # type: ignore[attr-defined]

    monkeypatch.setattr(Supervision, "start", start)
    with pytest.raises(AssertionError, match="nobody notices"):
        await test_every_long_lived_task_and_thread_has_somebody_who_notices_its_end(tmp_path)


async def fails(*_: object) -> None:
    raise RuntimeError("it broke")


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for it; the time-out of the test says when it never comes."""
    for _ in range(10_000):
        if is_so():
            return
        await asyncio.sleep(0.01)


class Fault:
    """A method that fails while the fault is there."""

    def __init__(self, patch: pytest.MonkeyPatch, owner: type, name: str) -> None:
        self.is_there = True
        real = getattr(owner, name)

        async def method(*arguments: object) -> object:
            if self.is_there:
                await fails()
            return await real(*arguments)

        patch.setattr(owner, name, method)


@pytest.mark.parametrize(
    ("name", "owner", "method"),
    [
        ("scrub", Scrub, "run"),
        ("warm live", Homefire, "_warm_live"),
    ],
)
async def test_a_part_that_fails_is_logged_shown_and_begun_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
    owner: type,
    method: str,
) -> None:
    monkeypatch.setattr(supervision, "FIRST_PAUSE_S", 0.2)
    with monkeypatch.context() as patch:
        fault = Fault(patch, owner, method)
        async with served(tmp_path / "home") as (homefire, client):
            await until(lambda: name in homefire.failures())
            health = (await client.get("/health")).json()
            assert (health["state"], health["failed"]) == ("degraded", [name])
            assert "it broke" not in str(health)
            assert "it broke" in (await client.get("/v1/status")).json()["failures"][name]
            fault.is_there = False
            await until(lambda: not homefire.failures())
            assert (await client.get("/health")).json() == {"state": "ok", "store": "ok"}
    critical = [record for record in caplog.records if record.levelno >= logging.CRITICAL]
    assert [name in record.getMessage() for record in critical[:1]] == [True]


async def test_the_end_of_training_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dispatcher, "_work", fails)
    async with served(tmp_path / "home") as (homefire, client):
        await until(lambda: bool(homefire.failures()))
        assert (await client.get("/health")).json()["failed"] == ["training"]
        assert "RuntimeError" in (await client.get("/v1/status")).json()["failures"]["training"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_the_end_of_the_writing_thread_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`tests/store/test_writer.py` has the bug that leaves it out."""
    async with served(tmp_path / "home") as (homefire, client):
        await until(lambda: [model.state for model in homefire.serving.status()] == ["ready"])
        monkeypatch.setattr(Writer, "_gather", lambda self, first: 1 / 0)
        asked = await client.post("/v1/chat", json={"message": "hi", "stream": False})
        assert asked.status_code == 503
        health = (await client.get("/health")).json()
        assert health == {"state": "degraded", "store": "store_poisoned", "failed": ["store"]}
        assert "ZeroDivisionError" in (await client.get("/v1/status")).json()["failures"]["store"]


async def test_a_part_that_is_cancelled_by_somebody_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    found = Supervision()
    found.start("part", lambda: asyncio.sleep(3600))
    await asyncio.sleep(0)
    found._tasks["part"].cancel()
    await asyncio.wait([found._tasks["part"]])
    await asyncio.sleep(0)
    assert found.reasons() == {"part": "it was cancelled"}
    assert "part was cancelled" in caplog.text
    await found.stop()


async def test_what_is_stopped_is_no_failure() -> None:
    found = Supervision()
    for name in ("one", "two"):
        found.start(name, lambda: asyncio.sleep(3600))
    await asyncio.sleep(0)
    await found.stop("one")
    await found.stop()
    assert found.reasons() == {}


@pytest.mark.parametrize("part", ["_watch", "_read_stderr", "_take"])
async def test_an_engine_that_cannot_be_followed_is_ended_and_the_next_request_works(
    ember_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    engine = LlamaCppEngine(spec_for(ember_gguf), sockets=tmp_path, settings=QUICK, world=World())
    with monkeypatch.context() as patch:
        if part == "_take":
            patch.setattr(worker_process.WorkerProcess, part, lambda *_: 1 / 0)
        else:
            patch.setattr(worker_process.WorkerProcess, part, fails)
        with pytest.raises(EngineCrashed, match="could not be followed"):
            await engine.ensure_ready()
    assert (await collect(engine, asking("Hello", max_tokens=2))).finish
    await engine.stop()
