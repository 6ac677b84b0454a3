"""What the gate found, told the same way wherever it is shown: JSON, command line, page; run, version, correction.

A sentence that says how it ended, the four figures (efficacy, generality, locality, old skills), what happens next, and
the gate's own reasons to unfold. Pure: from the verdict as the log holds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

Tone = Literal["good", "bad", "none"]


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One number of the report; `value` is `–` where nothing was asked."""

    label: str
    value: str
    tone: Tone


class GateReport(msgspec.Struct, frozen=True, kw_only=True):
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
    if passed is None:
        return GateReport(
            tone="none",
            outcome=f"{version} has not been checked yet.",
            figures=(),
            next=f"{live} answers meanwhile.",
            reasons=(),
        )
    outcome = _passed(version, scores, is_live=is_live)
    return GateReport(
        tone="good" if passed else "bad",
        outcome=outcome if passed else _refused(version, scores, is_live=is_live),
        figures=_figures(scores, passed=passed),
        next=_next(version, scores, passed=passed, is_live=is_live, live=live),
        reasons=tuple(dict.fromkeys(reasons)),
    )


def _passed(version: str, scores: Mapping[str, Any], *, is_live: bool) -> str:
    num, right = scores.get("num_targets") or 0, scores.get("num_targets_right") or 0
    said = f"{version} passed every check"
    if right < num:
        said = f"{version} learned {right} of {num} corrections and passed every other check"
    return said + (" and answers now." if is_live else ".")


def _refused(version: str, scores: Mapping[str, Any], *, is_live: bool) -> str:
    """Why, in one sentence: what was not learned, what was forgotten, or that nothing could be asked."""
    num, right = scores.get("num_targets") or 0, scores.get("num_targets_right") or 0
    causes = []
    if num and not right:
        causes.append(
            "the correction was not learned" if num == 1 else f"none of {num} corrections was learned"
        )
    if num_lost := scores.get("num_lost"):
        causes.append(f"{_counted(num_lost, 'answer')} that used to be right {_was(num_lost)} lost")
    num_lost = (scores.get("earlier_before") or 0) - (scores.get("earlier_now") or 0)
    if num_lost > 1:
        causes.append(f"{num_lost} earlier corrections were lost")
    if num_leaked := scores.get("num_leaked"):
        causes.append(f"{_counted(num_leaked, 'similar question')} got a taught answer")
    if not scores:
        causes = ["it could not be checked"]
    held_back = "did not pass its checks and was promoted anyway" if is_live else "was held back"
    return f"{version} {held_back}: {' and '.join(causes) or 'not every check held'}."


def _was(number: int) -> str:
    return "was" if number == 1 else "were"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _figures(scores: Mapping[str, Any], *, passed: bool) -> tuple[Figure, ...]:
    """Efficacy, generality, locality, old skills. A figure is bad only in a version that was held back."""

    def figure(label: str, right: str, num: str) -> Figure:
        num_asked, num_right = scores.get(num), scores.get(right)
        if not num_asked or num_right is None:
            return Figure(label=label, value="–", tone="none")
        is_good = num_right >= num_asked or passed
        return Figure(label=label, value=f"{num_right} of {num_asked}", tone="good" if is_good else "bad")

    return (
        figure("corrections learned", "num_targets_right", "num_targets"),
        figure("right in other words", "variants_right", "num_variants"),
        figure("similar questions answered as before", "neighbours_kept", "num_neighbours"),
        figure("old answers kept", "protected_now", "protected_before"),
    )


def _next(version: str, scores: Mapping[str, Any], *, passed: bool, is_live: bool, live: str) -> str:
    num, right = scores.get("num_targets") or 0, scores.get("num_targets_right") or 0
    if is_live:
        back = f"If you do not like its answers, go back: roll back to what was live before {version}."
        return f"What was not learned is tried again by itself. {back}" if passed and right < num else back
    if passed:
        return f"{live} answers now. Promote {version} to use it."
    return (
        f"{live} keeps answering; nothing you use has changed. What can be learned is tried again without what cannot; "
        "each correction says what became of it."
    )
