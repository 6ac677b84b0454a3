"""Every file operation between a correction and a live version, refused: the next correction goes live all the same.

The daemon, the gate, publishing and promotion are the real ones; trainer and engines are stand-ins, so that a case
takes a fraction of a second. Without HOMEFIRE_FAULTS=all a sample is taken, another one for each seed.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import random
from pathlib import Path

import pytest

from homefire.config.schema import GateSettings, Settings, StoreSettings, TrainingSettings
from homefire.errors import HomefireError
from homefire.store.nouns.runs import RunRow
from homefire.training import dispatcher, failures
from homefire.training.dispatcher import Dispatcher
from homefire.training.run_lease import RunLease
from tests.faults.refusals import ERRORS, Refusals, refused, refusing_world
from tests.support.small_training import SmallTraining, small_training

SEED = int(os.environ.get("HOMEFIRE_FAULT_SEED", "6"))
NUM_SAMPLED = 24
MOST_OPERATIONS = 320
"""More than one correction needs (a test checks it)."""
FAULT_S = 0.4
"""A fault ends after so long where it has not ended by itself."""
DEADLINE_S = 30.0
SETTINGS = Settings(
    training=TrainingSettings(quiet_s=0.0, max_attempts=3),
    gate=GateSettings(max_tries=1),
    store=StoreSettings(reserve_bytes=0),
)

Case = tuple[int, int, int]
"""Which operation, which error, how many times in a row."""


def cases() -> list[Case]:
    every = [
        (number, error, num_refused)
        for number in range(1, MOST_OPERATIONS)
        for error in ERRORS
        for num_refused in (1, 40)
    ]
    if os.environ.get("HOMEFIRE_FAULTS") == "all":
        return every
    return random.Random(SEED).sample(every, NUM_SAMPLED)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be done now is tried again soon."""
    monkeypatch.setattr(dispatcher, "RETRY_S", 0.02)
    monkeypatch.setattr(dispatcher, "MAX_RETRY_S", 0.1)
    monkeypatch.setattr(failures, "FIRST_PAUSE_S", {})
    monkeypatch.setattr(failures, "FIRST_PAUSE_OTHER_S", 0.02)
    monkeypatch.setenv("STAND_IN", json.dumps({"steps": 2}))


async def taught(small: SmallTraining, question: str) -> None:
    """Correct, and wait until what is live knows it."""
    example_id = await small.correct(question, f"answer to {question}")
    while True:
        run_id = await small.run_of(example_id)
        await small.ended(run_id)
        if small.live_answers().get(question) == f"answer to {question}":
            return
        again = small.daemon.run_of(example_id)
        assert again != run_id, (small.store.runs.get(run_id), small.daemon.waiting_reason())


async def first_correction(small: SmallTraining, refusals: Refusals) -> str | None:
    """Give it while the fault holds; its example where it was acknowledged."""
    try:
        example_id = await small.correct("first", "answer to first")
    except HomefireError:
        return None
    deadline_s = asyncio.get_running_loop().time() + FAULT_S
    while asyncio.get_running_loop().time() < deadline_s and not refusals.is_over:
        await asyncio.sleep(0.01)
        run_id = small.daemon.run_of(example_id)
        run = small.store.runs.get(run_id) if run_id is not None else None
        if run is not None and run.ended_at_s is not None:
            break
    return example_id


async def test_the_count_covers_one_correction(tmp_path: Path) -> None:
    """And a control: the harness does refuse, and what is refused for good is noticed."""
    world = refusing_world()
    with refused(Refusals(tmp_path, number=0, error=errno.EIO, num_refused=1)) as counting:
        async with small_training(tmp_path, SETTINGS, world=world) as small:
            counting.num_seen = 0
            await taught(small, "first")
    assert 100 < counting.num_seen < MOST_OPERATIONS, counting.num_seen


@pytest.mark.parametrize(
    ("number", "error", "num_refused"),
    [pytest.param(*case, id=f"{case[0]}-{errno.errorcode[case[1]]}-{case[2]}") for case in cases()],
)
async def test_the_next_correction_goes_live_once_the_fault_ends(
    tmp_path: Path, number: int, error: int, num_refused: int
) -> None:
    world = refusing_world()
    refusals = Refusals(tmp_path, number=number, error=error, num_refused=num_refused)
    first: str | None = None
    async with small_training(tmp_path, SETTINGS, world=world) as small:
        with refused(refusals):
            first = await first_correction(small, refusals)
        if small.store.failure is None:
            async with asyncio.timeout(DEADLINE_S):
                await taught(small, "second")
                await nothing_is_stuck(small)
            assert_nothing_lost(small, first)
            return
    # The store takes no more writes after a failed flush: then a restart is what helps, and it is said.
    async with small_training(tmp_path, SETTINGS, world=world) as small, asyncio.timeout(DEADLINE_S):
        await taught(small, "second")
        await nothing_is_stuck(small)
        assert_nothing_lost(small, first)


async def test_the_oracle_notices_a_loop_that_an_error_of_the_system_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted bug: the dispatcher lets go of everything that is not its own error, and nobody watches over it."""

    async def serve(self: Dispatcher, run: RunRow) -> None:
        lease = self.lease = RunLease(run, self._context)
        await self.move(run, await lease.start() or await lease.run())

    async def work(self: Dispatcher) -> None:
        while not self._is_stopping:
            await self._wait(await self._step())

    monkeypatch.setattr(Dispatcher, "_serve", serve)
    monkeypatch.setattr(Dispatcher, "_work", work)
    monkeypatch.setattr(Dispatcher, "_start_again", lambda self: None)
    refusals = Refusals(tmp_path, number=1, error=errno.EMFILE, num_refused=1, only="spec.json")
    async with small_training(tmp_path, SETTINGS, world=refusing_world()) as small:
        with refused(refusals):
            await first_correction(small, refusals)
        assert refusals.num_failed == 1
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2.0):
                await taught(small, "second")
        assert small.daemon.failure is not None


async def nothing_is_stuck(small: SmallTraining) -> None:
    """Every run comes to its end by itself."""
    for run in small.store.runs.list():
        await small.ended(run.run_id)


def assert_nothing_lost(small: SmallTraining, example_id: str | None) -> None:
    """What was acknowledged is known to the live model, or it is said why not."""
    assert small.daemon.failure is None
    if example_id is None or small.live_answers().get("first") == "answer to first":
        return
    example = small.store.examples.get(example_id)
    assert example is not None
    view = small.daemon.correction_states().view(example)
    assert view.state in ("refused", "stranded"), view
    assert view.why, view
