"""Where in which session a turn goes: continued by its id, recognised by its messages, regenerated, or new.

A session is only ever found for the principal it belongs to; somebody else's does not exist for a caller,
and the error does not tell. Costs two reads for a conversation that may go on, none for a new one, and a
microsecond or two for each of its messages.
"""

from __future__ import annotations

from dataclasses import dataclass

from homefire.chat.request import ChatRequest, Principal
from homefire.errors import Conflict, InvalidRequest
from homefire.sessions.keys import session_key
from homefire.sessions.ownership import session_of, turn_of
from homefire.store import digest
from homefire.store.nouns.conversation_rows import MessageRow, SessionRow, TurnRow
from homefire.store.store import Store
from homefire.types import Message
from homefire.world import World


@dataclass(frozen=True, slots=True)
class TurnPosition:
    """`conversation` is all that was said so far, of which `new` is not recorded yet."""

    session_id: str
    session_key: str
    parent_message_id: str | None
    conversation: tuple[Message, ...]
    new: tuple[Message, ...]


def named_session(store: Store, request: ChatRequest) -> SessionRow | None:
    """The session that the request names, whose turns are taken one at a time; None: it names none.

    Raises NotFound for one that the principal does not have.
    """
    session_id = request.session_id
    if request.replaces_turn_id is not None:
        session_id = _replaced_turn(store, request).session_id
    return session_of(store, request.principal.id, session_id) if session_id is not None else None


def find_position(store: Store, world: World, request: ChatRequest) -> TurnPosition:
    """Raises NotFound for a session or turn that the principal does not have."""
    if request.prompt is not None:
        return _new_session(world, request.principal, (Message("user", request.prompt),))
    if request.replaces_turn_id is not None:
        return _regenerated(store, request)
    if request.session_id is not None:
        return _continued(store, request, request.session_id)
    return _continued_by_messages(store, request) or _new_session(world, request.principal, request.messages)


def _new_session(world: World, principal: Principal, messages: tuple[Message, ...]) -> TurnPosition:
    session_id = world.new_id("ses")
    key = session_key(principal=principal.id, conversation=session_id)
    return TurnPosition(session_id, key, None, messages, messages)


def _continued(store: Store, request: ChatRequest, session_id: str) -> TurnPosition:
    session = session_of(store, request.principal.id, session_id)
    path = store.messages.path(session.tip_message_id) if session.tip_message_id is not None else []
    return TurnPosition(
        session_id=session_id,
        session_key=session.key,
        parent_message_id=path[-1].message_id if path else None,
        conversation=(*_said(path), *request.messages),
        new=request.messages,
    )


def _continued_by_messages(store: Store, request: ChatRequest) -> TurnPosition | None:
    """After the answer of the same principal that ends exactly what the client says was said before."""
    messages = request.messages
    num_known = max((index + 1 for index, it in enumerate(messages) if it.role == "assistant"), default=0)
    if not num_known:
        return None
    known_digest = digest.chain_all(digest.root(request.principal.id), messages[:num_known])[-1]
    parent = store.messages.by_digest(request.principal.id, known_digest)
    session = store.sessions.get(parent.session_id) if parent is not None else None
    if parent is None or session is None or session.principal != request.principal.id:
        return None
    return TurnPosition(
        session_id=session.session_id,
        session_key=session.key,
        parent_message_id=parent.message_id,
        conversation=messages,
        new=messages[num_known:],
    )


def _regenerated(store: Store, request: ChatRequest) -> TurnPosition:
    turn = _replaced_turn(store, request)
    if request.session_id is not None and request.session_id != turn.session_id:
        raise InvalidRequest(
            f"Turn {turn.turn_id} is not of session {request.session_id}.", param="session_id"
        )
    if turn.user_message_id is None:
        raise Conflict(f"Turn {turn.turn_id} holds no message to answer again.", turn_id=turn.turn_id)
    path = store.messages.path(turn.user_message_id)
    if path[-1].message.is_erased:
        raise Conflict(
            f"The question of turn {turn.turn_id} was erased.", hint="Ask it again.", turn_id=turn.turn_id
        )
    return TurnPosition(
        session_id=turn.session_id,
        session_key=turn.session_key,
        parent_message_id=turn.user_message_id,
        conversation=_said(path),
        new=(),
    )


def _replaced_turn(store: Store, request: ChatRequest) -> TurnRow:
    assert request.replaces_turn_id is not None
    return turn_of(store, request.principal.id, request.replaces_turn_id)


def _said(path: list[MessageRow]) -> tuple[Message, ...]:
    """What the model is told. A question and its answer stay out together once one of them was erased: so roles
    alternate, and nothing stands for what is gone."""
    exchanges: list[list[Message]] = []
    for row in path:
        if row.message.role == "user" or not exchanges:
            exchanges.append([])
        exchanges[-1].append(row.message)
    kept = (messages for messages in exchanges if not any(message.is_erased for message in messages))
    return tuple(message for messages in kept for message in messages)
