"""A store on disk, scripted engines, and the turns between them: what the tests of `chat` talk through."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homefire.chat.request import ChatRequest, Ended, Principal, Started, TurnEvent
from homefire.chat.turn import Turns
from homefire.engines.base import Delta
from homefire.home import Home
from homefire.serving.router import Router
from homefire.serving.serving import QueueStatus, Serving
from homefire.store.nouns.conversation_rows import TurnRow
from homefire.store.nouns.conversations import TurnAsked
from homefire.store.store import Store, open_store
from homefire.types import Message
from homefire.world import World
from tests.serving.models import FakeCatalog, settings

ANN, BOB = Principal("ann"), Principal("bob")


@dataclass
class Talk:
    """`say` takes a whole turn; the parts are at hand for everything else."""

    store: Store
    catalog: FakeCatalog
    serving: Serving
    turns: Turns

    async def say(self, *messages: Message | str, **fields: Any) -> tuple[Started, str, Ended]:
        """Started, the streamed text, Ended; raises what the turn raises."""
        return check_order([event async for event in self.turns.run(request(*messages, **fields))])

    def asked(self) -> list[TurnAsked]:
        return [one.event for one in self.store.events() if isinstance(one.event, TurnAsked)]

    def recorded(self) -> list[TurnRow]:
        """All turns, in the order in which they were asked."""
        rows = [self.store.turns.get(event.turn_id) for event in self.asked()]
        return [row for row in rows if row is not None]

    def last_turn(self) -> TurnRow:
        return self.recorded()[-1]

    def said_in(self, turn: TurnRow) -> list[Message]:
        """What a turn added to its conversation: its question and its answer."""
        (event,) = [event for event in self.asked() if event.turn_id == turn.turn_id]
        said = [Message(message.role, message.content) for message in event.messages]
        if turn.answer_message_id is not None:
            said.append(self.store.messages.path(turn.answer_message_id)[-1].message)
        return said

    def prompts(self) -> list[tuple[Message, ...]]:
        """What the engines were given, oldest first (of one engine)."""
        (engine,) = self.catalog.engines
        return [asked.messages for asked in engine.requests]


def request(*messages: Message | str, **fields: Any) -> ChatRequest:
    """Plain strings are the user's."""
    said = tuple(Message("user", one) if isinstance(one, str) else one for one in messages)
    return ChatRequest(messages=said, **fields)


def answered(text: str) -> Message:
    return Message("assistant", text)


def system(text: str) -> Message:
    return Message("system", text)


def check_order(events: list[TurnEvent]) -> tuple[Started, str, Ended]:
    """Started first, Ended last, deltas between, and Ended holds what was streamed."""
    started, *deltas, ended = events
    assert isinstance(started, Started)
    assert isinstance(ended, Ended)
    text = ""
    for delta in deltas:
        assert isinstance(delta, Delta)
        text += delta.text
    assert text == ended.text
    return started, text, ended


@asynccontextmanager
async def talking(
    root: Path, *, catalog: FakeCatalog | None = None, turns: type[Turns] = Turns, **sections: dict[str, Any]
) -> AsyncIterator[Talk]:
    """Everything below the front doors, over a real store; at the end nothing may be held."""
    world, configured, catalog = World(), settings(**sections), catalog or FakeCatalog()
    catalog.num_parallel = configured.serving.num_parallel
    store = open_store(Home(root / "home"), configured.store, world)
    serving = Serving(catalog, configured, make_engine=catalog.make_engine, world=world)  # type: ignore[arg-type]
    router = Router(catalog)  # type: ignore[arg-type]
    try:
        talk = Talk(store, catalog, serving, turns(store, serving, router, configured, world=world))
        yield talk
        assert serving.queue() == QueueStatus(num_active=0, num_waiting=0)
        assert len(talk.turns._queues) == 0
        assert talk.turns._running == {}
        assert all(turn.outcome is not None for turn in talk.recorded()), "a turn was left without its end"
        assert all(engine.num_active == 0 for engine in catalog.engines)
    finally:
        await serving.stop()
        store.close()
