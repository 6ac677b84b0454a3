"""What the templates show, read from the store: plain values, and only those of the one who asks."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from homefire.app import Homefire
from homefire.chat.request import Principal
from homefire.sessions.ownership import session_of, turn_of
from homefire.sessions.transcript import transcript
from homefire.store.nouns.conversation_rows import MessageRow, SessionRow, TurnRow
from homefire.store.nouns.examples import ExampleRow
from homefire.store.nouns.runs import RunRow
from homefire.store.nouns.versions import VersionRow
from homefire.training.correction_states import CorrectionStates
from homefire.training.visibility import visible_version
from homefire.versions.report import GateReport, gate_report
from homefire.web.correction_report import CorrectionReport, correction_report
from homefire.web.formats import short_id
from homefire.web.run_view import announcement, describe, percent_of_stage, stages

NUM_SESSIONS = 100
NUM_RUNS = 100
ACTIONS = {
    "queued": ("skip", "stop"),
    "running": ("pause", "stop", "skip"),
    "paused": ("resume", "stop", "skip"),
    "failed": ("retry",),
    "stopped": ("retry",),
    "skipped": ("retry",),
    "refused": ("retry",),
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
        """The conversation as it is now: up to its newest answer, or to the question that has none (yet)."""
        turns = self._store.turns.list(session.session_id)
        newest, path = turns[-1] if turns else None, self._store.messages.path
        rows = path(session.tip_message_id) if session.tip_message_id is not None else []
        is_answered = newest is None or any(row.message_id == newest.answer_message_id for row in rows)
        is_running = newest is not None and self._homefire.turns.is_under_way(newest.turn_id)
        is_again = newest is not None and any(row.message_id == newest.user_message_id for row in rows)
        open_turn = None
        if newest is not None and not is_answered and (is_running or not is_again):
            # A question that is asked again and failed again leaves the earlier answer as it was.
            open_turn = newest
            rows = path(newest.user_message_id) if newest.user_message_id is not None else []
        by_answer = {turn.answer_message_id: turn for turn in turns}
        look = self._look()
        shown = [
            self._message(row, by_answer.get(row.message_id), row is rows[-1] and open_turn is None, look)
            for row in rows
        ]
        if open_turn is not None:
            shown.append(self._without_answer(open_turn, is_running=is_running))
        return shown

    def answer(self, principal: Principal, turn_id: str, *, is_fresh: bool = False) -> dict[str, Any]:
        """The answer of one turn; `is_fresh` when it was just written and ends the conversation."""
        turn = self.turn(principal, turn_id)
        if turn.answer_message_id is None or turn.outcome == "failed":
            return self._without_answer(turn)
        row = self._store.messages.path(turn.answer_message_id)[-1]
        return {**self._message(row, turn, is_fresh, self._look()), "is_fresh": is_fresh}

    def _without_answer(self, turn: TurnRow, *, is_running: bool = False) -> dict[str, Any]:
        """What is shown in place of an answer that is being written, or that did not come."""
        written = self._store.messages.path(turn.answer_message_id) if turn.answer_message_id else []
        return {
            "role": "assistant",
            "content": transcript(written[-1].content) if written else "",
            "turn": turn,
            "is_running": is_running,
            "is_unanswered": not is_running,
            "problem": _why_unanswered(turn),
        }

    def _message(self, row: MessageRow, turn: TurnRow | None, is_last: bool, look: _Look) -> dict[str, Any]:
        feedback = self._store.feedback.list(turn.turn_id) if turn else []
        verdicts = [entry.verdict for entry in feedback if entry.verdict != "correction"]
        corrections = [entry.text for entry in feedback if entry.verdict == "correction"]
        return {
            "role": row.role,
            "content": transcript(row.content),
            "has_parts": not isinstance(row.content, str),
            "turn": turn,
            "is_running": False,
            "is_unanswered": False,
            "verdict": verdicts[-1] if verdicts and verdicts[-1] != "none" else None,
            "correction": corrections[-1] if corrections else None,
            "report": look.of_turn(turn) if turn is not None and corrections else None,
            "is_last": is_last,
            "is_fresh": False,
        }

    # Corrections

    def correction(self, principal: Principal, example_id: str) -> CorrectionReport:
        """One correction of this principal. Raises NotFound."""
        return self._look().at(self._homefire.training.changes.find(example_id, principal=principal.id))

    def corrections(
        self, principal: Principal, *, before: int, limit: int
    ) -> tuple[list[CorrectionReport], int | None]:
        """This principal's corrections, newest first, from a place in the log on; where the next page begins."""
        rows = self._store.examples.page(principal.id, before_seq=before, limit=limit + 1)
        look = self._look()
        return [look.at(row) for row in rows[:limit]], rows[limit - 1].seq if len(rows) > limit else None

    def _look(self) -> _Look:
        return _Look(self._homefire)

    # Runs

    def runs(self, principal: Principal) -> list[dict[str, Any]]:
        """All runs, newest first; each by what it learns from this principal."""
        return [self._listed(row, principal) for row in self._store.runs.list()[:NUM_RUNS]]

    def _listed(self, row: RunRow, principal: Principal) -> dict[str, Any]:
        examples = self.examples(row, principal)
        return {
            "run_id": row.run_id,
            "state": row.state,
            "queued_at_s": row.queued_at_s,
            "version": row.version,
            "parent": row.parent,
            "title": examples[0]["question"] if examples else "Run " + short_id(row.run_id),
            "num_more": max(0, len(examples) - 1),
        }

    def run(self, row: RunRow) -> dict[str, Any]:
        """A run with a sentence about its progress."""
        progress = self._homefire.training.progress(row.run_id)
        version = self._store.versions.get(row.version) if row.version else None
        return {
            **{name: getattr(row, name) for name in row.__struct_fields__},
            "sentence": describe(row, progress),
            "announcement": announcement(row, progress),
            "stages": stages(progress) if row.state == "running" else (),
            "percent": percent_of_stage(progress),
            "has_ended": progress.has_ended,
            "actions": ACTIONS.get(row.state, ()),
            "num_steps": int(row.metrics.get("steps", progress.step)),
            "gate": self._gate(version, self.live_model()) if version and progress.has_ended else None,
        }

    def _gate(self, row: VersionRow, live: str) -> GateReport:
        return gate_report(
            row.version, passed=row.gate_passed, reasons=row.gate_reasons, scores=row.gate_scores, live=live
        )

    def examples(self, row: RunRow, principal: Principal) -> list[dict[str, str]]:
        """What a run learns from this principal, as question and answer."""
        dataset = self._store.datasets.get(row.dataset_id)
        found = [
            self._store.examples.get(example_id) for example_id in (dataset.example_ids if dataset else ())
        ]
        return [
            {"question": example.messages[-2].text, "answer": example.messages[-1].text}
            for example in found
            if example and example.principal == principal.id and len(example.messages) > 1
        ]

    # Versions

    def versions(self, principal: Principal) -> list[dict[str, Any]]:
        """Everything `live` could point to: versions, newest first (as the store lists them), then the bases.

        What versions were taught is told of this principal's corrections only.
        """
        live = self.live_model()
        rows = (visible_version(self._store, row, principal.id) for row in self._store.versions.list())
        made = [
            {
                "name": row.version,
                "kind": "version",
                "created_at_s": row.created_at_s,
                "parent": row.parent,
                "gate": self._gate(row, live),
                "run_id": row.run_id,
                "description": row.description,
                "promotable": bool(row.gate_passed),
                "is_live": row.version == live,
            }
            for row in rows
        ]
        bases = [
            {
                "name": model.name,
                "kind": "base",
                "created_at_s": None,
                "parent": None,
                "gate": None,
                "run_id": None,
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


class _Look:
    """The states of corrections at one moment; nothing is read before the first is asked for."""

    def __init__(self, homefire: Homefire) -> None:
        self._homefire = homefire

    @cached_property
    def _states(self) -> CorrectionStates:
        states: CorrectionStates = self._homefire.training.correction_states()
        return states

    @cached_property
    def _held_up(self) -> str | None:
        reason: str | None = self._homefire.training.waiting_reason()
        return reason

    def at(self, example: ExampleRow) -> CorrectionReport:
        return correction_report(self._states.view(example), held_up=self._held_up)

    def of_turn(self, turn: TurnRow) -> CorrectionReport | None:
        """The newest correction of the turn's answer that is still known."""
        example = self._homefire.store.examples.of_turn(turn.turn_id, principal=turn.principal)
        return self.at(example) if example is not None else None


def _why_unanswered(turn: TurnRow) -> str:
    """What became of the answer, as a sentence."""
    if turn.outcome == "cancelled":
        return "Stopped before the first word."
    if turn.outcome == "failed":
        return turn.error or "The answer failed."
    return "The server stopped before this question was answered."
