"""How far a run is and how long it will take: from what recent runs took, and unknown before there are any."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from homefire.store.nouns.runs import RunRow
from homefire.trainer.contract import Stepped
from homefire.training.progress import WORKING, Board, Pace, Progress, pace_of, share_of

PACE = Pace(
    phase_s={"preparing": 4.0, "training": 10.0, "publishing": 1.0, "gating": 4.0, "promoting": 1.0}, steps=50
)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def run(number: int, **metrics: Any) -> RunRow:
    return RunRow(
        run_id=f"run-{number}", dataset_id="d", base="b", parent="b", recipe={}, priority="normal",
        state="done", epoch=1, queued_at_s=0.0, started_at_s=0.0, ended_at_s=1.0, attempts=0, step=0, who="", why="",
        metrics=metrics, version=None,
    )  # fmt: skip


def step(number: int, *, most: int = 240) -> Stepped:
    return Stepped(
        step=number, max_steps=most, loss=1.0, new_loss=None, replay_loss=None, learning_rate=0.1,
        grad_norm=1.0, num_tokens=1, tokens_per_s=1.0, eta_s=170.0, num_learned=0, num_examples=1,
    )  # fmt: skip


def at(phase: Any, **changes: Any) -> Progress:
    return Progress(run_id="r", state="running", phase=phase, **changes)


def test_before_any_run_has_ended_nobody_knows_how_long_one_takes() -> None:
    assert pace_of([run(1), run(2, steps=3)]) is None
    board = Board()
    board.put(at("preparing"))
    shown = board.get("r")
    assert shown is not None
    assert (shown.share, shown.eta_s, shown.max_steps) == (None, None, None)
    board.change("r", phase="training")
    board.step("r", step(17))
    shown = board.get("r")
    assert shown is not None
    assert (shown.step, shown.max_steps, shown.share, shown.eta_s) == (17, 240, None, None)


def test_the_pace_is_the_median_of_the_newest_runs_that_were_seen_whole() -> None:
    seen = [run(n, steps=10 * n, phase_s={"training": float(n)}) for n in (1, 2, 3, 4, 5, 600)]
    pace = pace_of([run(0, steps=9_000, phase_s={}), *seen])
    assert pace is not None
    assert (pace.steps, pace.phase_s["training"], pace.phase_s["gating"]) == (30, 3.0, 0.0)


def test_runs_of_about_as_many_corrections_tell_the_pace() -> None:
    few = [run(n, steps=45, num_examples=1, phase_s={"training": 2.0}) for n in (1, 2)]
    many = [run(n, steps=70, num_examples=20, phase_s={"training": 9.0}) for n in (3, 4)]
    for num_examples, training_s in ((1, 2.0), (20, 9.0), (15, 9.0), (200, 5.5), (0, 5.5)):
        pace = pace_of([*few, *many], num_examples=num_examples)
        assert pace is not None
        assert pace.phase_s["training"] == training_s


def test_the_share_never_falls_or_jumps_and_ends_at_the_whole() -> None:
    steps = [at("training", step=number, max_steps=240) for number in range(241)]
    asked = [at("gating", num_probed=number, num_probes=100) for number in range(101)]
    way = [at("preparing"), *steps, at("publishing"), *asked, at("promoting")]
    shares = [share_of(progress, PACE) for progress in way]
    known = [share for share in shares if share is not None]
    assert len(known) == len(way)
    assert known == sorted(known)
    assert max(after - before for before, after in itertools.pairwise(known)) <= 0.2
    assert share_of(at("training", step=25, max_steps=240), PACE) == pytest.approx((4 + 5) / 20)
    ended = msgspec.structs.replace(at("done"), state="refused")
    assert share_of(ended, PACE) == 1.0
    assert share_of(msgspec.structs.replace(at("done"), state="stopped"), PACE) is None


def test_what_is_left_is_told_from_the_pace_and_not_from_the_most_steps() -> None:
    board = Board(pace=lambda _num_examples: PACE)
    board.put(at("preparing"))
    board.change("r", phase="training")
    board.step("r", step(25))
    shown = board.get("r")
    assert shown is not None
    assert shown.eta_s == pytest.approx(11.0)


def test_seconds_are_counted_by_phase_and_only_for_runs_seen_whole() -> None:
    clock = Clock()
    board = Board(now_s=clock)
    for phase, seconds in zip(WORKING, (1.0, 5.0, 0.5, 2.0, 0.25), strict=True):
        board.put(at(phase))
        clock.now_s += seconds
    assert board.phase_s("r") == {
        "preparing": 1.0, "training": 5.0, "publishing": 0.5, "gating": 2.0, "promoting": 0.25,
    }  # fmt: skip
    resumed = Board(now_s=clock)
    resumed.put(at("preparing", step=12))
    clock.now_s += 3.0
    assert resumed.phase_s("r") == {}
    assert resumed.phase_s("another") == {}
