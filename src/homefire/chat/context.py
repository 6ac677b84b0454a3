"""What the model sees of a conversation: composed, and trimmed only when it must be.

The configured system prompt comes first where the conversation has none of its own; it is not a message of the
conversation, so changing the setting changes no history. When the prompt does not fit, the oldest turns (a
user's message with all that followed it) leave first; system messages and the last user message never do.
How many messages left is part of the result, for whoever must tell the client.

Costs nothing for a conversation that surely fits. Otherwise the whole of it is counted once (if it can fit at
all), then its end: one turn, two, four, … and a bisection between, so the work grows with what the model can
hold and not with what was sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import msgspec

from homefire.errors import ContextOverflow
from homefire.types import Message

MAX_RESERVED_SHARE = 0.25
"""No more than this part of a context is kept free for the answer when a conversation is trimmed."""

TEMPLATE_TOKENS_PER_MESSAGE = 16
"""More than any known chat template spends on a message's role and marks."""

LONGEST_TOKEN_BYTES = 256
"""No token of a known tokenizer covers more (runs of spaces are the longest)."""

CountTokens = Callable[[Sequence[Message]], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Context:
    """What goes to the model, and how many messages of the conversation were left out."""

    messages: tuple[Message, ...]
    num_trimmed_messages: int = 0


def compose(conversation: Sequence[Message], *, system_prompt: str | None) -> Context:
    """The whole conversation, after the configured system prompt where it has none of its own."""
    if system_prompt and not any(message.role == "system" for message in conversation):
        return Context((Message("system", system_prompt), *conversation))
    return Context(tuple(conversation))


def room_for_prompt(limit: int, *, max_tokens: int) -> int:
    """Tokens a prompt may have if the answer is to keep its budget, within reason."""
    return limit - min(max_tokens, int(limit * MAX_RESERVED_SHARE))


def num_bytes(messages: Sequence[Message]) -> int:
    """Bytes of all contents, in UTF-8."""
    total = 0
    for message in messages:
        content = message.content
        if not isinstance(content, str):
            total += len(msgspec.json.encode(content))
        else:
            total += len(content) if content.isascii() else len(content.encode())
    return total


def surely_fits(messages: Sequence[Message], *, room: int) -> bool:
    """True where no tokenizer could make more than `room` tokens of it (a token covers a byte or more)."""
    num_marks = TEMPLATE_TOKENS_PER_MESSAGE * (len(messages) + 1)
    return num_marks <= room and num_marks + num_bytes(messages) <= room


def surely_too_long(messages: Sequence[Message], *, room: int) -> bool:
    """True where every tokenizer makes more than `room` tokens of it: one at least for each message."""
    return len(messages) > room or num_bytes(messages) > room * LONGEST_TOKEN_BYTES


async def trim(context: Context, *, limit: int, max_tokens: int, count: CountTokens) -> Context:
    """Leave out as few of the oldest turns as makes the prompt fit beside its answer.

    `limit` is the context of the model in tokens. Where even the shortest prompt leaves the answer less than
    its budget, that one is taken; where it does not fit at all: ContextOverflow with the numbers.
    """
    room = room_for_prompt(limit, max_tokens=max_tokens)
    if not surely_too_long(context.messages, room=room) and await count(context.messages) <= room:
        return context
    # On a thread: a hundred thousand messages take ten milliseconds.
    ends = await asyncio.to_thread(_Ends, context.messages)
    shortest = ends.last(1)
    num_tokens = await count(shortest.messages)
    if num_tokens >= limit:
        raise ContextOverflow(
            f"The last message, with the system messages that stay before it, has {num_tokens} tokens; the "
            f"model holds {limit}.",
            hint="Shorten it, or name a model with a longer context.",
            prompt_tokens=num_tokens,
            limit=limit,
            max_tokens=max_tokens,
        )
    if num_tokens > room:
        return shortest
    fits, too_long = 1, ends.num_turns
    while fits + 1 < too_long:
        probe = min(2 * fits, (fits + too_long) // 2)
        candidate = ends.last(probe).messages
        if surely_too_long(candidate, room=room) or await count(candidate) > room:
            too_long = probe
        else:
            fits = probe
    return ends.last(fits)


class _Ends:
    """The ends of a conversation: its last turn, its last two turns, …, each after all system messages."""

    def __init__(self, messages: tuple[Message, ...]) -> None:
        self._messages = messages
        self._systems = [
            (index, message) for index, message in enumerate(messages) if message.role == "system"
        ]
        self._starts = [index for index, message in enumerate(messages) if message.role == "user"]
        first = self._starts[0] if self._starts else 0
        if any(message.role == "assistant" for message in messages[:first]):
            self._starts.insert(0, 0)

    @property
    def num_turns(self) -> int:
        """Turns of the whole conversation."""
        return len(self._starts)

    def last(self, num_turns: int) -> Context:
        """The last `num_turns` of it (at least one)."""
        start = self._starts[-num_turns] if self._starts else 0
        before = [message for index, message in self._systems if index < start]
        kept = (*before, *self._messages[start:])
        return Context(kept, len(self._messages) - len(kept))
