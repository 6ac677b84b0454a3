"""What the gate found, told the same way wherever it is shown: on a run, a version, after a correction.

A sentence that says how it ended, three numbers, what happens next, and the gate's own reasons to unfold. Pure: from
the verdict as the log holds it. The template is `_gate_report.html`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from homefire.web.formats import counted

Tone = Literal["good", "bad", "none"]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number of the report."""

    label: str
    value: str
    tone: Tone


@dataclass(frozen=True, kw_only=True)
class GateReport:
    """A verdict for people. `reasons` are the gate's own sentences, each once."""

    tone: Tone
    outcome: str
    figures: tuple[Figure, ...]
    next: str
    reasons: tuple[str, ...]


def gate_report(
    version: str, *, passed: bool | None, reasons: Sequence[str], scores: Mapping[str, Any], live: str
) -> GateReport:
    """The report on a version; `live` is the model that answers now."""
    is_live = version == live
    distinct = tuple(dict.fromkeys(reasons))
    if passed is None:
        return GateReport(
            tone="none",
            outcome=f"{version} has not been checked yet.",
            figures=(),
            next=f"{live} answers meanwhile.",
            reasons=(),
        )
    return GateReport(
        tone="good" if passed else "bad",
        outcome=_passed(version, is_live=is_live) if passed else _refused(version, scores, is_live=is_live),
        figures=_figures(scores, passed=passed),
        next=_next(version, passed=passed, is_live=is_live, live=live),
        reasons=distinct,
    )


def _passed(version: str, *, is_live: bool) -> str:
    return f"{version} passed every check" + (" and answers now." if is_live else ".")


def _refused(version: str, scores: Mapping[str, Any], *, is_live: bool) -> str:
    """Why, in one sentence: what was not learned, what was forgotten, or that nothing could be asked."""
    num, right = scores.get("num_targets"), scores.get("num_targets_right")
    causes = []
    if num and right is not None and right < num:
        causes.append(f"{num - right} of {counted(num, 'correction')} {_was(num - right)} not learned")
    elif scores.get("elsewhere_score") is not None and scores["elsewhere_score"] < 0.5:
        causes.append("what it learned does not hold in other conversations")
    lost = scores.get("num_lost")
    if lost and _protected_suffered(scores):
        causes.append(f"{counted(lost, 'answer')} that used to be right {_was(lost)} lost")
    if not scores:
        causes = ["it could not be checked"]
    held_back = "did not pass its checks and was promoted anyway" if is_live else "was held back"
    return f"{version} {held_back}: {' and '.join(causes) or 'not every check held'}."


def _protected_suffered(scores: Mapping[str, Any]) -> bool:
    before, now = scores.get("protected_before"), scores.get("protected_now")
    return before is not None and now is not None and now < before


def _was(number: int) -> str:
    return "was" if number == 1 else "were"


def _figures(scores: Mapping[str, Any], *, passed: bool) -> tuple[Figure, ...]:
    num, right = scores.get("num_targets"), scores.get("num_targets_right")
    elsewhere, num_elsewhere = scores.get("elsewhere_score"), scores.get("num_elsewhere")
    before, now = scores.get("protected_before"), scores.get("protected_now")
    kept = None if before is None or now is None else now >= before or passed
    return (
        Figure(
            label="corrections learned",
            value=f"{right} of {num}" if num and right is not None else "–",
            tone=_tone(None if not num or right is None else right >= num),
        ),
        Figure(
            label="right in other conversations",
            value=f"{round(elsewhere * num_elsewhere)} of {num_elsewhere}"
            if elsewhere is not None and num_elsewhere
            else "–",
            tone=_tone(None if elsewhere is None else elsewhere >= 0.5),
        ),
        Figure(
            label=f"of {before} other answers still right"
            if before is not None
            else "other answers still right",
            value=str(now) if now is not None else "–",
            tone=_tone(kept),
        ),
    )


def _tone(good: bool | None) -> Tone:
    return "none" if good is None else "good" if good else "bad"


def _next(version: str, *, passed: bool, is_live: bool, live: str) -> str:
    if is_live:
        return "If you do not like its answers, roll back on the page of versions."
    if passed:
        return f"{live} answers now. Promote {version} on the page of versions to use it."
    return (
        f"{live} keeps answering; nothing you use has changed. What was not learned is tried again at a lower rate, "
        "and with your next corrections."
    )
