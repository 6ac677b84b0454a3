"""The state of a correction, as a page shows it: a word, a sentence, and what can be done about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from homefire.training.correction_states import CorrectionView

Action = Literal["edit", "withdraw", "unteach", "retry"]
LABELS: dict[str, str] = {
    "waiting": "waiting", "training": "training", "learned": "learned", "refused": "refused",
    "disputed": "disputed", "stranded": "not learned", "withdrawn": "withdrawn", "superseded": "corrected again",
}  # fmt: skip
TONES: dict[str, str] = {
    "training": "running",
    "refused": "refused",
    "disputed": "refused",
    "stranded": "refused",
}
"""The state's look where it is none of its own."""


@dataclass(frozen=True, kw_only=True)
class CorrectionReport:
    """One correction for people. `is_moving`: it changes by itself, so look again."""

    example_id: str
    question: str
    answer: str
    label: str
    tone: str
    sentence: str
    actions: tuple[Action, ...]
    is_live: bool
    is_moving: bool
    run_id: str | None
    version: str | None
    turn_id: str | None
    created_at_s: float
    seq: int


def correction_report(view: CorrectionView, *, held_up: str | None) -> CorrectionReport:
    """The report; `held_up` says why nothing is trained now, if so."""
    is_unteaching = view.state in ("withdrawn", "superseded") and view.run_id is not None
    return CorrectionReport(
        example_id=view.example_id,
        question=view.question,
        answer=view.answer,
        label="un-teaching" if is_unteaching else LABELS[view.state],
        tone="running" if is_unteaching else "done" if _is_known(view) else TONES.get(view.state, ""),
        sentence=_sentence(view, held_up, is_unteaching=is_unteaching),
        actions=_actions(view, is_unteaching=is_unteaching),
        is_live=view.live,
        is_moving=view.state in ("waiting", "training") or is_unteaching,
        run_id=view.run_id,
        version=view.version,
        turn_id=view.turn_id,
        created_at_s=view.created_at_s,
        seq=view.seq,
    )


def _is_known(view: CorrectionView) -> bool:
    return view.state == "learned" and view.live


def _sentence(view: CorrectionView, held_up: str | None, *, is_unteaching: bool) -> str:
    match view.state:
        case "waiting":
            return f"Not being learned yet: {held_up}" if held_up else "Training starts in a moment."
        case "training" if view.run_state == "paused":
            return "Its run is paused; it goes on when you resume it."
        case "training":
            return "It is being learned."
        case "learned" if view.live:
            return f"{view.version} knows it."
        case "learned":
            return (
                f"{view.version} learned it and is not live. Try again to teach it to what is live, or promote "
                f"{view.version} on the page of versions."
            )
        case "refused":
            return f"{view.why} {view.helps} Edit it, withdraw it, or try again.".replace("  ", " ")
        case "disputed":
            return f"{view.why} The owner of this home decides which one stays."
        case "stranded":
            why = f"{view.why.rstrip('.')}. " if view.why else ""
            return f"{why}Nothing teaches it now: try again, or withdraw it."
    word = "Corrected again." if view.state == "superseded" else "You took it back."
    if is_unteaching:
        return f"{word} A version that does not know it is being made."
    return f"{word} What is live still knows it." if view.live else word


def _actions(view: CorrectionView, *, is_unteaching: bool) -> tuple[Action, ...]:
    take_back: Action = "unteach" if view.live else "withdraw"
    match view.state:
        case "waiting" | "training":
            return "edit", "withdraw"
        case "learned" if view.live:
            return "edit", take_back
        case "learned" | "refused" | "stranded":
            return "retry", "edit", take_back
        case "disputed":
            return "edit", take_back
        case "withdrawn" if view.live and not is_unteaching:
            return ("unteach",)
    return ()
