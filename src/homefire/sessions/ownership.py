"""Who owns a session or a turn: the one place where that is decided.

Another principal's does not exist for the caller, and the error is the same as for one that never existed. Every
reader that gets an id from a client takes the row from here. One read of the store.
"""

from __future__ import annotations

from homefire.errors import NotFound, quoted
from homefire.store.nouns.conversation_rows import SessionRow, TurnRow
from homefire.store.store import Store


def session_of(store: Store, principal: str, session_id: str) -> SessionRow:
    """The session of this principal; NotFound where it has none of this id."""
    row = store.sessions.get(session_id)
    if row is None or row.principal != principal:
        raise NotFound(f"There is no session {quoted(session_id)}.", session_id=session_id)
    return row


def turn_of(store: Store, principal: str, turn_id: str) -> TurnRow:
    """The turn of this principal; NotFound where it has none of this id."""
    row = store.turns.get(turn_id)
    if row is None or row.principal != principal:
        raise NotFound(f"There is no turn {quoted(turn_id)}.", turn_id=turn_id)
    return row
