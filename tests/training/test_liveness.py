"""A heartbeat proves nothing by itself: what counts is progress."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from homefire.config.schema import TrainingSettings
from homefire.trainer.contract import Heartbeat, Started
from homefire.training.liveness import SPIN_FACTOR, Liveness
from homefire.training.supervisor import TrainerProcess
from tests.support.trainer import Worker, make_run

TIMEOUT_S = 100.0


def hung_after(beats: list[Heartbeat], *, timeout_s: float = TIMEOUT_S) -> float | None:
    """At which second a worker with one heartbeat a second is found to hang; None: never."""
    liveness = Liveness(timeout_s, now_s=0.0)
    for second, beat in enumerate(beats, start=1):
        liveness.note(beat, now_s=float(second))
        if liveness.has_hung(float(second)):
            return float(second)
    return None


def test_a_worker_that_waits_for_ever_is_found_although_its_heart_beats() -> None:
    assert hung_after([Heartbeat(phase="training", cpu_s=3.0)] * 1000) == TIMEOUT_S + 2


def test_a_long_phase_that_uses_the_processor_is_no_hang_however_little_it_gets() -> None:
    beats = [Heartbeat(phase="undoing", cpu_s=0.002 * second) for second in range(2000)]
    assert hung_after(beats) is None


def test_a_worker_that_spins_is_found_in_the_end() -> None:
    beats = [Heartbeat(phase="training", cpu_s=float(second)) for second in range(5000)]
    assert hung_after(beats) == SPIN_FACTOR * TIMEOUT_S + 1
    going_on = [Heartbeat(phase="t", cpu_s=float(second), num_marks=second // 500) for second in range(5000)]
    assert hung_after(going_on) is None


def test_any_other_event_is_progress() -> None:
    liveness = Liveness(TIMEOUT_S, now_s=0.0)
    started = Started(
        step=0, num_examples=1, num_replay=0, num_left_out=0, num_parameters=1, num_trainable=1, start_s=1.0
    )
    liveness.note(started, now_s=90.0)
    assert not liveness.has_hung(180.0)
    assert liveness.has_hung(191.0)


def block_the_step() -> None:
    """Planted hang: the first step waits for a lock that nobody gives back."""
    from homefire.trainer import trainer

    def wait(*_args: object, **_kwargs: object) -> None:
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()

    vars(trainer)["train_step"] = wait


def test_a_worker_whose_work_hangs_still_beats_and_its_clock_stands_still(tmp_path: Path) -> None:
    make_run(tmp_path)
    worker = Worker(tmp_path, block_the_step)
    worker.wait_for(Started)
    beats: list[Heartbeat] = []
    for event in worker.stream():
        if isinstance(event, Heartbeat):
            beats.append(event)
        if len(beats) == 4:
            break
    worker.kill()
    worker.finish()
    assert beats[-1].cpu_s - beats[0].cpu_s < 0.02
    assert beats[-1].num_marks == beats[0].num_marks
    assert hung_after([beats[0]] * 2 + beats[1:] * 100) is not None


HANGS = """
import json, sys, time
while True:
    print(json.dumps({"event": "heartbeat", "phase": "training", "cpu_s": 1.0, "num_marks": 1}), flush=True)
    time.sleep(0.05)
"""


async def test_the_supervisor_ends_a_worker_that_beats_without_progress(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(HANGS)
    command = (sys.executable, "-I", "-S", str(tmp_path / "worker.py"))
    settings = TrainingSettings(nice=0, num_threads=1, heartbeat_timeout_s=0.5)
    process = TrainerProcess(tmp_path, command=command, settings=settings)
    outcome = await process.run(lambda _event: None)
    assert outcome.failure is not None
    assert outcome.failure.kind == "hang"
    assert process.pid is None
