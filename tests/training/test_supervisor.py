"""Failures and what follows from them, progress and who sees it, and one worker process held tightly."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from homefire.config.schema import TrainingSettings
from homefire.machine.memory import num_oom_kills
from homefire.store.nouns.runs import RunRow
from homefire.trainer.contract import LOG_FILE, Stepped, WorkerEvent
from homefire.training.dispatcher import next_run
from homefire.training.failures import Failure, GiveUp, Kind, Retry, decide, from_exit
from homefire.training.progress import MAX_LOSSES, Board, Progress, read_steps, thinned
from homefire.training.supervisor import TrainerProcess

SAY = "import json,sys,os,time\ndef say(**f): print(json.dumps(f), flush=True)\n"


def process(tmp_path: Path, program: str, *, heartbeat_timeout_s: float = 20.0) -> TrainerProcess:
    """A worker that is this Python program."""

    path = tmp_path / "worker.py"
    path.write_text(SAY + program)
    return TrainerProcess(
        tmp_path,
        command=(sys.executable, "-I", "-S", str(path)),
        settings=TrainingSettings(nice=7, num_threads=3, heartbeat_timeout_s=heartbeat_timeout_s),
    )


# One process


@pytest.mark.parametrize(
    ("program", "kind"),
    [
        ("say(event='paused', step=3); sys.exit(71)", "paused"),
        ("say(event='stopped', step=3); sys.exit(72)", "stopped"),
        ("say(event='skipped', step=3); sys.exit(73)", "skipped"),
    ],
)
async def test_the_end_that_a_worker_says_and_shows_is_believed(
    tmp_path: Path, program: str, kind: str
) -> None:
    assert (await process(tmp_path, program).run(lambda _event: None)).kind == kind


@pytest.mark.parametrize(
    ("program", "failure"),
    [
        ("say(event='paused', step=3); sys.exit(1)", "crash"),
        ("sys.exit(0)", "crash"),
        ("os.abort()", "crash"),
        ("os.kill(os.getpid(), 9)", "killed"),
        ("say(event='failed', reason='numeric', code='x', message='NaN'); sys.exit(70)", "numeric"),
    ],
)
async def test_every_other_end_is_a_failure_of_a_known_kind(
    tmp_path: Path, program: str, failure: str
) -> None:
    outcome = await process(tmp_path, program).run(lambda _event: None)
    assert outcome.kind == "failed"
    assert outcome.failure is not None
    assert outcome.failure.kind == failure


async def test_the_last_line_of_a_crashed_worker_are_in_its_failure(tmp_path: Path) -> None:
    (tmp_path / LOG_FILE).write_text("words of an earlier worker\n")
    outcome = await process(tmp_path, "raise ImportError('no torch here')").run(lambda _event: None)
    assert outcome.failure is not None
    assert "ImportError: no torch here" in outcome.failure.message
    (tmp_path / LOG_FILE).write_text("words of an earlier worker\n")
    quiet = await process(tmp_path, "os._exit(9)").run(lambda _event: None)
    assert quiet.failure is not None
    assert "earlier" not in quiet.failure.message


async def test_a_silent_worker_is_ended_by_its_own_pid(tmp_path: Path) -> None:
    worker = process(tmp_path, "say(event='heartbeat', phase='x'); time.sleep(60)", heartbeat_timeout_s=0.5)
    outcome = await worker.run(lambda _event: None)
    assert outcome.failure is not None
    assert outcome.failure.kind == "hang"
    assert worker.pid is None


async def test_what_is_no_event_goes_to_the_log_and_events_to_the_listener(tmp_path: Path) -> None:
    heard: list[WorkerEvent] = []
    program = "print('a library says hello', flush=True); say(event='paused', step=1); sys.exit(71)"
    await process(tmp_path, program + "\n").run(heard.append)
    assert len(heard) == 1
    assert b"hello" in (tmp_path / LOG_FILE).read_bytes()


async def test_commands_reach_the_worker_which_is_niced_and_bounded(tmp_path: Path) -> None:
    program = (
        "facts = [os.nice(0), os.environ['OMP_NUM_THREADS'], os.getsid(0)]\n"
        "say(event='heartbeat', phase=json.dumps(facts))\n"
        "said = json.loads(sys.stdin.readline())['do']\n"
        "say(event='stopped', step=1) if said == 'stop' else None\nsys.exit(72)"
    )
    worker = process(tmp_path, program)
    heard: list[Any] = []
    asked: list[asyncio.Task[None]] = []

    def listen(event: Any) -> None:
        heard.append(event)
        if not asked:
            asked.append(asyncio.create_task(worker.tell("stop")))

    assert (await worker.run(listen)).kind == "stopped"
    _, threads, session = json.loads(heard[0].phase)
    assert threads == "3"
    assert session != os.getsid(0)
    await worker.tell("pause")  # it ended: nothing happens


async def test_what_is_said_before_the_worker_started_reaches_it(tmp_path: Path) -> None:
    program = "do = json.loads(sys.stdin.readline())['do']; say(event='skipped', step=0); sys.exit(73)"
    worker = process(tmp_path, program)
    await worker.tell("skip")
    assert (await worker.run(lambda _event: None)).kind == "skipped"


async def test_a_cancelled_run_leaves_no_process(tmp_path: Path) -> None:
    worker = process(tmp_path, "say(event='heartbeat', phase='x'); time.sleep(60)")
    started = asyncio.Event()
    task = asyncio.create_task(worker.run(lambda _event: started.set()))
    await started.wait()
    pid = worker.pid
    assert pid is not None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_the_end_of_the_server_is_the_end_of_the_workers_input(tmp_path: Path) -> None:
    outcome = None
    worker = process(
        tmp_path, "say(event='heartbeat', phase='x'); sys.exit(75 if sys.stdin.read() == '' else 1)"
    )

    def close(_event: WorkerEvent) -> None:
        assert worker._process is not None
        assert worker._process.stdin is not None
        worker._process.stdin.close()

    outcome = await worker.run(close)
    assert outcome.failure is not None
    assert "75" in outcome.failure.message


# What follows from a failure


@pytest.mark.parametrize("kind", ["data", "numeric", "model"])
def test_hopeless_failures_are_given_up_at_once(kind: Kind) -> None:
    assert decide(Failure(kind=kind, message="m"), attempts=1, max_attempts=5) == GiveUp("m")


def test_retries_wait_longer_and_longer_and_end() -> None:
    crash = Failure(kind="crash", message="m")
    pauses = [decide(crash, attempts=number, max_attempts=5) for number in range(1, 6)]
    assert pauses[:4] == [Retry(0.25), Retry(0.5), Retry(1.0), Retry(2.0)]
    assert isinstance(pauses[4], GiveUp)


def test_one_who_was_killed_from_outside_is_not_to_blame() -> None:
    killed = from_exit(-9, out_of_memory=False)
    assert killed.kind == "killed"
    assert isinstance(decide(killed, attempts=40, max_attempts=5), Retry)
    assert isinstance(decide(killed, attempts=50, max_attempts=5), GiveUp)
    assert from_exit(-9, out_of_memory=True).kind == "memory"
    assert from_exit(-11, out_of_memory=False).kind == "crash"


def test_oom_kills_are_read_where_the_kernel_counts_them(tmp_path: Path) -> None:
    (tmp_path / "vmstat").write_text("pgfault 1\noom_kill 3\n")
    assert num_oom_kills(tmp_path / "vmstat") == 3
    assert num_oom_kills(tmp_path / "nothing") == 0


# Whose turn it is


def run(name: str, priority: Any = "normal", *, at: float = 0.0) -> RunRow:
    return RunRow(
        run_id=name, dataset_id="d", base="b", parent="p", recipe={}, priority=priority, state="queued",
        epoch=0, queued_at_s=at, started_at_s=None, ended_at_s=None, attempts=0, step=0,
        who="", why="", metrics={}, version=None,
    )  # fmt: skip


def test_the_most_urgent_then_the_oldest_run_is_next_in_any_order() -> None:
    wanted = [run("c", "high", at=3), run("a", at=1), run("b", at=2), run("d", "low", at=0)]
    for seed in range(50):
        queued = random.Random(seed).sample(wanted, len(wanted))
        order = []
        while queued:
            first, _ = next_run(queued, not_before={}, now_s=0.0)
            assert first is not None
            order.append(first.run_id)
            queued = [each for each in queued if each is not first]
        assert order == ["c", "a", "b", "d"]


def test_a_run_that_pauses_after_a_failure_holds_up_no_other() -> None:
    queued = [run("a", "high"), run("b")]
    chosen, _ = next_run(queued, not_before={"a": 5.0}, now_s=0.0)
    assert chosen is not None
    assert chosen.run_id == "b"
    assert next_run(queued[:1], not_before={"a": 5.0}, now_s=2.0) == (None, 3.0)
    assert next_run([], not_before={}, now_s=0.0) == (None, None)


# Progress


def step(number: int) -> Stepped:
    return Stepped(
        step=number, max_steps=9, loss=1.0 / number, new_loss=None, replay_loss=None, learning_rate=0.1,
        grad_norm=1.0, num_tokens=1, tokens_per_s=1.0, eta_s=1.0, num_learned=0, num_examples=1,
    )  # fmt: skip


async def test_watchers_see_what_is_newest_and_the_end() -> None:
    board = Board()
    board.put(Progress(run_id="r", state="running", phase="training"))
    first = Progress(run_id="r", state="queued", phase="waiting")
    watching = board.watch("r", first=first)
    assert (await anext(watching)).state == "running"
    board.step("r", step(1))
    board.step("r", step(2))
    assert (await anext(watching)).losses == ((1, 1.0), (2, 0.5))
    board.change("r", state="done", phase="done")
    assert (await anext(watching)).has_ended
    with pytest.raises(StopAsyncIteration):
        await anext(watching)


def test_steps_taken_again_after_a_crash_are_shown_once() -> None:
    board = Board()
    board.put(Progress(run_id="r", state="running", phase="training"))
    for number in (1, 2, 3, 2, 3):
        board.step("r", step(number))
    shown = board.get("r")
    assert shown is not None
    assert [point[0] for point in shown.losses] == [1, 2, 3]


def test_a_long_loss_history_is_thinned_and_keeps_its_newest_point() -> None:
    points = [(number, 1.0) for number in range(10_000)]
    kept = thinned(points)
    assert len(kept) <= MAX_LOSSES
    assert (kept[0], kept[-1]) == (points[0], points[-1])


def test_a_line_that_was_cut_off_is_passed_over(tmp_path: Path) -> None:

    whole = msgspec.json.encode(step(1))
    (tmp_path / "metrics.jsonl").write_bytes(whole + b"\n" + whole[:20])
    assert [found.step for found in read_steps(tmp_path)] == [1]
    assert read_steps(tmp_path / "nothing") == []
