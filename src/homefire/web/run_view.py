"""The progress of a run, for its page and for the chat: a sentence, its stages, and how far the present one is.

Pure. The bar belongs to one stage, not to the whole: training ends as soon as everything is learned, so a bar over all
of it would either jump or lie.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from homefire.store.nouns.runs import RunRow
from homefire.training.progress import Progress, share_of_training
from homefire.web.formats import counted, duration

Mark = Literal["done", "now", "ahead"]
STAGES = (("training", "Train"), ("gating", "Check"), ("promoting", "Go live"))
_STAGE_OF_PHASE = {
    "waiting": -1, "preparing": 0, "training": 0, "publishing": 1, "gating": 1, "promoting": 2, "done": 3,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One part of a run and whether it is over, going on, or still to come."""

    name: str
    mark: Mark


def stages(progress: Progress) -> tuple[Stage, ...]:
    """The stages of a run under way."""
    now = _STAGE_OF_PHASE[progress.phase]
    marks: tuple[Mark, ...] = tuple(
        "done" if index < now else "now" if index == now else "ahead" for index in range(len(STAGES))
    )
    return tuple(Stage(name=name, mark=mark) for (_, name), mark in zip(STAGES, marks, strict=True))


def percent_of_stage(progress: Progress) -> float | None:
    """0 to 100 within the present stage; None where that is not known (yet)."""
    if progress.phase == "gating" and progress.num_probes:
        return round(min(100.0, 100 * progress.num_probed / progress.num_probes), 1)
    if progress.phase == "training" and progress.max_steps:
        steps = progress.usual_steps or progress.max_steps
        return round(100 * share_of_training(progress, usual_steps=steps), 1)
    return None


def describe(row: RunRow, progress: Progress) -> str:
    """The progress of a run as a sentence."""
    if row.state == "running":
        return _describe_phase(progress)
    if row.state == "queued":
        return "Waiting for its turn."
    if row.state == "paused":
        after = f" after step {progress.step}" if progress.step else ""
        return f"Paused{after}: it continues from there."
    if row.state in ("done", "refused"):
        return _describe_end(row)
    outcome = f": {row.why}" if row.why else ""
    return f"{row.state.capitalize()}{outcome.rstrip('.')}."


def _describe_phase(progress: Progress) -> str:
    match progress.phase:
        case "training" if progress.max_steps:
            return _describe_training(progress)
        case "preparing" | "training":
            return "Loading the model to train."
        case "publishing":
            return "Saving what was learned as a version."
        case "gating" if progress.num_probes:
            return f"Checking: {progress.num_probed} of {counted(progress.num_probes, 'question')} asked."
        case "gating":
            return "Checking what it learned, and that nothing else got worse."
        case "promoting":
            return "Passed. Making it the model that answers."
        case _:
            return "Starting."


def _describe_training(progress: Progress) -> str:
    usual = progress.usual_steps
    is_usual = usual is not None and progress.step <= usual
    most = f"about {usual}" if is_usual else f"at most {progress.max_steps}"
    parts = [f"step {progress.step} of {most}"]
    if progress.num_examples:
        parts.append(f"{progress.num_learned} of {progress.num_examples} learned")
    if progress.loss is not None:
        parts.append(f"loss {progress.loss:.3f}")
    if progress.eta_s:
        parts.append(f"about {duration(progress.eta_s)} left")
    return f"Training: {', '.join(parts)}."


def _describe_end(row: RunRow) -> str:
    steps = int(row.metrics.get("steps", 0))
    trained = f"Trained in {counted(steps, 'step')}" if steps else "Trained"
    if row.state == "refused":
        return f"{trained}; not promoted."
    if row.metrics.get("promoted"):
        return f"{trained}; {row.version} went live."
    if row.metrics.get("gate_passed"):
        return f"{trained}; {row.version} passed its checks and waits to be promoted."
    return f"{trained}: {row.why}" if row.why else f"{trained}."


def announcement(row: RunRow, progress: Progress) -> str:
    """What a screen reader says: it changes with the stage, not with every step."""
    if row.state != "running":
        return describe(row, progress)
    now = [stage.name for stage in stages(progress) if stage.mark == "now"]
    return {"Train": "Training has started.", "Check": "Checking what it learned."}.get("".join(now), "")
