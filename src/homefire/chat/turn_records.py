"""What a turn puts on record, and what is read from there of one that is over."""

from __future__ import annotations

from typing import Literal

from homefire.chat.position import TurnPosition
from homefire.chat.request import Ended, Stopped
from homefire.chat.running_turn import RunningTurn
from homefire.engines.base import Finish
from homefire.errors import Conflict
from homefire.sessions import digest
from homefire.store.nouns.conversations import Outcome, RecordedMessage, TurnEnded, TurnRow
from homefire.store.store import Store
from homefire.types import Message
from homefire.world import World

INTERRUPTED = "The server stopped before this answer was finished."


def recorded_messages(position: TurnPosition, world: World) -> tuple[RecordedMessage, ...]:
    """What is new in the conversation, with identifiers and digests."""
    # Sorted, because identifiers of one millisecond have no order of their own and readers list by them.
    message_ids = sorted(world.new_id("msg") for _ in position.new)
    digests = digest.chain_all(position.parent_digest, position.new)
    return tuple(
        RecordedMessage(message_id, message.role, message.content, link)
        for message_id, message, link in zip(message_ids, position.new, digests, strict=True)
    )


def ended_event(
    turn: RunningTurn,
    outcome: Outcome,
    *,
    world: World,
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
        answer=_recorded_answer(turn, world) if finish is not None or turn.answer else None,
        stop_reason=finish.stop_reason if finish else "cancelled" if outcome == "cancelled" else None,
        usage=finish.usage if finish else None,
        timings=finish.timings if finish else None,
        num_trimmed_messages=turn.context.num_trimmed_messages,
        error_code=error_code,
        error=error,
    )


def _recorded_answer(turn: RunningTurn, world: World) -> RecordedMessage:
    asked = turn.asked.messages
    message = Message("assistant", turn.text)
    link = digest.chain(asked[-1].digest if asked else turn.position.parent_digest, message)
    return RecordedMessage(world.new_id("msg"), message.role, message.content, link)


def read_end(store: Store, row: TurnRow) -> Ended | Stopped:
    """The last event of a turn that ended long ago; Conflict where it failed or was left unfinished."""
    if row.outcome is None:
        raise Conflict(f"Turn {row.turn_id} was left unfinished.", hint="Ask again.", turn_id=row.turn_id)
    if row.outcome == "failed":
        raise Conflict(
            f"This turn failed: {row.error or row.error_code}", hint="Ask again.", turn_id=row.turn_id
        )
    path = store.messages.path(row.answer_message_id) if row.answer_message_id else []
    text = path[-1].message.text if path else ""
    if row.outcome == "interrupted" or row.usage is None or row.timings is None or not path:
        outcome: Literal["cancelled", "interrupted"] = (
            "interrupted" if row.outcome == "interrupted" else "cancelled"
        )
        return Stopped(turn_id=row.turn_id, message_id=row.answer_message_id, text=text, outcome=outcome)
    return Ended(
        turn_id=row.turn_id,
        message_id=path[-1].message_id,
        text=text,
        stop_reason=row.stop_reason or "stop",
        stop_string=None,
        usage=row.usage,
        timings=row.timings,
        num_trimmed_messages=row.num_trimmed_messages,
    )
