"""What a turn puts on record, and what is read from there of one that is over."""

from __future__ import annotations

from typing import Literal

from homefire.chat.request import Ended, Stopped
from homefire.chat.running_turn import RunningTurn
from homefire.engines.base import Finish
from homefire.errors import Conflict
from homefire.store.log import Recorded
from homefire.store.noun import body_id
from homefire.store.nouns.conversation_rows import TurnRow
from homefire.store.nouns.conversations import Outcome, TurnEnded, message_id
from homefire.store.store import Store
from homefire.types import Message

INTERRUPTED = "The server stopped before this answer was finished."


def answer_id(recorded: Recorded) -> str | None:
    """The identifier of the answer that this `TurnEnded` put on record."""
    assert isinstance(recorded.event, TurnEnded)
    return message_id(body_id(recorded.seq, 0)) if recorded.event.answer is not None else None


def ended_event(
    turn: RunningTurn,
    outcome: Outcome,
    *,
    finish: Finish | None = None,
    error_code: str | None = None,
    error: str | None = None,
) -> TurnEnded:
    """How the turn ended, for the record; what was written is in it unless there was nothing."""
    if outcome == "interrupted":
        error_code, error = "server_stopping", INTERRUPTED
    return TurnEnded(
        turn_id=turn.turn_id,
        outcome=outcome,
        answer=Message("assistant", turn.text) if finish is not None or turn.answer else None,
        stop_reason=finish.stop_reason if finish else "cancelled" if outcome == "cancelled" else None,
        usage=finish.usage if finish else None,
        timings=finish.timings if finish else None,
        num_trimmed_messages=turn.context.num_trimmed_messages,
        error_code=error_code,
        error=error,
    )


def read_end(store: Store, row: TurnRow) -> Ended | Stopped:
    """The last event of a turn that ended long ago; Conflict where it failed or was left unfinished."""
    if row.outcome is None:
        raise Conflict(f"Turn {row.turn_id} was left unfinished.", hint="Ask again.", turn_id=row.turn_id)
    if row.outcome == "failed":
        raise Conflict(
            f"This turn failed: {row.error or row.error_code}", hint="Ask again.", turn_id=row.turn_id
        )
    answer = store.messages.get(row.answer_message_id) if row.answer_message_id else None
    text = answer.message.text if answer else ""
    if row.outcome == "interrupted" or row.usage is None or row.timings is None or answer is None:
        outcome: Literal["cancelled", "interrupted"] = (
            "interrupted" if row.outcome == "interrupted" else "cancelled"
        )
        return Stopped(turn_id=row.turn_id, message_id=row.answer_message_id, text=text, outcome=outcome)
    return Ended(
        turn_id=row.turn_id,
        message_id=answer.message_id,
        text=text,
        stop_reason=row.stop_reason or "stop",
        stop_string=None,
        usage=row.usage,
        timings=row.timings,
        num_trimmed_messages=row.num_trimmed_messages,
    )
