"""Where a run stands, as its page says it."""

from __future__ import annotations

from typing import Any

import pytest

from homefire.store.nouns.runs import RunRow
from homefire.training.progress import Progress
from homefire.web.run_view import announcement, describe, percent_of_stage, stages


def run(state: Any = "running", *, why: str = "", version: str | None = None, **metrics: Any) -> RunRow:
    return RunRow(
        run_id="run_1", dataset_id="d", base="ember", parent="ember", recipe={}, priority="normal", state=state,
        epoch=1, queued_at_s=0.0, started_at_s=None, ended_at_s=None, attempts=0, step=0,
        who="training", why=why, metrics=metrics,
        version=version,
    )  # fmt: skip


def progress(phase: Any, **known: Any) -> Progress:
    return Progress(run_id="run_1", state="running", phase=phase, **known)


def test_what_is_not_known_yet_is_not_shown_as_zero() -> None:
    for phase in ("waiting", "preparing", "training", "publishing", "gating", "promoting", "done"):
        said = describe(run(), progress(phase))
        assert " 0 " not in said
        assert percent_of_stage(progress(phase)) is None


def test_training_tells_step_learned_loss_and_time() -> None:
    known = progress(
        "training", step=12, max_steps=200, loss=0.4567, eta_s=125.0, num_learned=1, num_examples=3
    )
    assert describe(run(), known) == (
        "Training: step 12 of at most 200, 1 of 3 learned, loss 0.457, about 2 min left."
    )
    assert percent_of_stage(known) == 6.0
    usual = progress("training", step=12, max_steps=200, usual_steps=48)
    assert describe(run(), usual) == "Training: step 12 of about 48."
    assert percent_of_stage(usual) == 25.0
    late = progress("training", step=60, max_steps=200, usual_steps=48)
    assert describe(run(), late) == "Training: step 60 of at most 200."
    assert 95.0 < (percent_of_stage(late) or 0.0) < 100.0


def test_a_bar_belongs_to_its_stage_and_never_passes_the_end() -> None:
    assert percent_of_stage(progress("gating", num_probed=30, num_probes=120)) == 25.0
    assert percent_of_stage(progress("training", step=9, max_steps=8)) == 100.0
    assert percent_of_stage(progress("publishing", step=8, max_steps=8)) is None


@pytest.mark.parametrize(
    ("phase", "marks"),
    [
        ("waiting", ["ahead", "ahead", "ahead"]),
        ("training", ["now", "ahead", "ahead"]),
        ("gating", ["done", "now", "ahead"]),
        ("promoting", ["done", "done", "now"]),
        ("done", ["done", "done", "done"]),
    ],
)
def test_stages_only_move_forward(phase: str, marks: list[str]) -> None:
    assert [stage.mark for stage in stages(progress(phase))] == marks


def test_a_version_that_was_held_back_is_a_refused_run_and_not_a_done_one() -> None:
    refused = run(
        "refused", version="v002", gate_passed=False, steps=1, why="v002 did not pass its gate: " + "x " * 99
    )
    assert describe(refused, progress("done")) == "Trained in 1 step; not promoted."
    promoted = run("done", version="v002", gate_passed=True, promoted=True, steps=45)
    assert describe(promoted, progress("done")) == "Trained in 45 steps; v002 went live."


def test_a_run_that_failed_says_why_and_ends_with_one_full_stop() -> None:
    assert describe(run("failed", why="the disk is full."), progress("done")) == "Failed: the disk is full."
    assert describe(run("queued"), progress("waiting")) == "Waiting for its turn."
    assert (
        describe(run("paused"), progress("waiting", step=3))
        == "Paused after step 3: it continues from there."
    )


def test_a_screen_reader_hears_of_stages_and_not_of_steps() -> None:
    said = {announcement(run(), progress("training", step=step, max_steps=9)) for step in range(9)}
    assert said == {"Training has started."}
