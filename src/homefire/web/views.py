"""What the templates show, read from the store: plain values, and only those of the one who asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from homefire.app import Homefire
from homefire.chat.request import Principal
from homefire.sessions.ownership import session_of, turn_of
from homefire.store.rows import MessageRow, RunRow, SessionRow, TurnRow
from homefire.training.progress import Progress

NUM_SESSIONS = 100
NUM_RUNS = 100
ACTIONS = {
    "queued": ("skip", "stop"),
    "running": ("pause", "stop", "skip"),
    "paused": ("resume", "stop", "skip"),
    "failed": ("retry",),
    "stopped": ("retry",),
    "skipped": ("retry",),
    "done": (),
}


class Views:
    """Reads for the pages."""

    def __init__(self, homefire: Homefire) -> None:
        self._homefire = homefire
        self._store = homefire.store

    def live_model(self) -> str:
        """The model that answers now, by its real name."""
        name: str = self._homefire.catalog.resolve("live").model.name
        return name

    # Chat

    def session(self, principal: Principal, session_id: str) -> SessionRow:
        """One conversation of this principal."""
        return session_of(self._store, principal.id, session_id)

    def turn(self, principal: Principal, turn_id: str) -> TurnRow:
        """One turn of this principal."""
        return turn_of(self._store, principal.id, turn_id)

    def messages(self, session: SessionRow) -> list[dict[str, Any]]:
        """The messages of a conversation up to its tip, answers with their turn."""
        if session.tip_message_id is None:
            return []
        rows = self._store.messages.path(session.tip_message_id)
        turns = {turn.answer_message_id: turn for turn in self._store.turns.list(session.session_id)}
        return [self._message(row, turns.get(row.message_id), row is rows[-1]) for row in rows]

    def answer(self, principal: Principal, turn_id: str, *, is_fresh: bool = False) -> dict[str, Any]:
        """The answer of one turn; `is_fresh` when it was just written and ends the conversation."""
        turn = self.turn(principal, turn_id)
        if turn.answer_message_id is None:
            nothing = {"verdict": None, "correction": None, "is_last": is_fresh, "is_fresh": is_fresh}
            return {"role": "assistant", "content": "", "turn": turn, **nothing}
        row = self._store.messages.path(turn.answer_message_id)[-1]
        return {**self._message(row, turn, is_fresh), "is_fresh": is_fresh}

    def _message(self, row: MessageRow, turn: TurnRow | None, is_last: bool) -> dict[str, Any]:
        feedback = self._store.feedback.list(turn.turn_id) if turn else []
        verdicts = [entry.verdict for entry in feedback if entry.verdict != "correction"]
        corrections = [entry.text for entry in feedback if entry.verdict == "correction"]
        return {
            "role": row.role,
            "content": row.content,
            "turn": turn,
            "verdict": verdicts[-1] if verdicts else None,
            "correction": corrections[-1] if corrections else None,
            "is_last": is_last,
            "is_fresh": False,
        }

    # Runs

    def runs(self) -> list[dict[str, Any]]:
        """All runs, newest first."""
        return [self.run(row) for row in self._store.runs.list()[:NUM_RUNS]]

    def run(self, row: RunRow) -> dict[str, Any]:
        """A run with a sentence about where it stands."""
        progress = self._homefire.training.progress(row.run_id)
        return {
            **{name: getattr(row, name) for name in row.__struct_fields__},
            "sentence": describe(row, progress),
            "percent": percent_done(progress),
            "actions": ACTIONS[row.state],
        }

    def examples(self, row: RunRow) -> list[dict[str, str]]:
        """What a run learns, as question and answer."""
        dataset = self._store.datasets.get(row.dataset_id)
        found = [
            self._store.examples.get(example_id) for example_id in (dataset.example_ids if dataset else ())
        ]
        return [
            {"question": example.messages[-2].text, "answer": example.messages[-1].text}
            for example in found
            if example and len(example.messages) > 1
        ]

    # Versions

    def versions(self) -> list[dict[str, Any]]:
        """Everything `live` could point to: versions, newest first, then the bases."""
        live = self.live_model()
        made = [
            {
                "name": row.version,
                "kind": "version",
                "created_at_s": row.created_at_s,
                "parent": row.parent,
                "gate_passed": row.gate_passed,
                "gate_reasons": row.gate_reasons,
                "description": row.description,
                "promotable": bool(row.gate_passed),
                "is_live": row.version == live,
            }
            for row in reversed(self._store.versions.list())
        ]
        bases = [
            {
                "name": model.name,
                "kind": "base",
                "created_at_s": None,
                "parent": None,
                "gate_passed": None,
                "gate_reasons": (),
                "description": f"{model.architecture}, {model.num_parameters:,} parameters",
                "promotable": True,
                "is_live": model.name == live,
            }
            for model in self._homefire.catalog.list()
            if model.kind == "base"
        ]
        return made + bases

    def can_roll_back(self) -> bool:
        """Whether `live` ever pointed elsewhere."""
        return self._homefire.promotion.previous() is not None


def describe(row: RunRow, progress: Progress) -> str:
    """Where a run stands, as a sentence."""
    if row.state != "running":
        outcome = f": {row.why}" if row.why else ""
        return f"{row.state.capitalize()}{outcome}"
    match progress.phase:
        case "training":
            eta = f", about {progress.eta_s:.0f} s left at most" if progress.eta_s else ""
            loss = f", loss {progress.loss:.3f}" if progress.loss is not None else ""
            learned = (
                f", {progress.num_learned} of {progress.num_examples} learned"
                if progress.num_examples
                else ""
            )
            return f"Training: step {progress.step} of at most {progress.max_steps}{loss}{learned}{eta}"
        case "gating":
            return f"Gate: {progress.num_probed} of {progress.num_probes} questions asked"
        case phase:
            return f"{phase.capitalize()} …"


def percent_done(progress: Progress) -> float:
    """0 to 100 over all phases."""
    shares: dict[str, Sequence[float]] = {"training": (0, 80), "publishing": (80, 82), "gating": (82, 98)}
    if progress.phase == "done":
        return 100.0
    if progress.phase not in shares:
        return 98.0 if progress.phase == "promoting" else 0.0
    first, last = shares[progress.phase]
    done, whole = (
        (progress.num_probed, progress.num_probes)
        if progress.phase == "gating"
        else (progress.step, progress.max_steps)
    )
    return round(first + (last - first) * (done / whole if whole else 0), 1)
