"""What the model sees of a conversation: composed, and trimmed only when it must be.

The configured system prompt stands first where the conversation has none of its own; it is no message of the
conversation, so changing the setting changes no history. When the prompt does not fit, the oldest turns (a
user's message with all that followed it) leave first; system messages and the last user message never do.
How many messages left is part of the result, for whoever must tell the client.

Costs nothing for a conversation that surely fits; otherwise one count, and a bisection of about log2(turns).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from homefire.errors import ContextOverflow
from homefire.types import Message

MAX_RESERVED_SHARE = 0.25
"""No more than this part of a context is kept free for the answer when a conversation is trimmed."""

TEMPLATE_TOKENS_PER_MESSAGE = 16
"""More than any known chat template spends on a message's role and marks."""

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


def surely_fits(context: Context, *, room: int) -> bool:
    """True where no tokenizer could make more than `room` tokens of it (a token covers a byte or more)."""
    num_tokens = TEMPLATE_TOKENS_PER_MESSAGE * (len(context.messages) + 1)
    for message in context.messages:
        text = message.content
        num_tokens += len(text) if text.isascii() else len(text.encode())
    return num_tokens <= room


async def trim(context: Context, *, limit: int, max_tokens: int, count: CountTokens) -> Context:
    """Leave out as few of the oldest turns as makes the prompt fit beside its answer.

    `limit` is the context of the model in tokens. Where even the shortest prompt leaves the answer less than
    its budget, that one is taken; where it does not fit at all: ContextOverflow with the numbers.
    """
    shortenings = [context, *_shortened(context)]
    room = room_for_prompt(limit, max_tokens=max_tokens)
    num_tokens = 0
    too_long, fits = -1, len(shortenings)
    probe = 0  # nothing needs to leave: the usual answer
    while too_long + 1 < fits:
        num_tokens = await count(shortenings[probe].messages)
        if num_tokens <= room:
            fits = probe
        else:
            too_long = probe
        probe = (too_long + fits) // 2
    if fits < len(shortenings):
        return shortenings[fits]
    # The last probe was the shortest prompt.
    if num_tokens < limit:
        return shortenings[-1]
    raise ContextOverflow(
        f"The last message and what must stand before it have {num_tokens} tokens; the model holds {limit}.",
        hint="Shorten it, or name a model with a longer context.",
        prompt_tokens=num_tokens,
        limit=limit,
        max_tokens=max_tokens,
    )


def _shortened(context: Context) -> list[Context]:
    """The context without its oldest turn, its two oldest turns, … down to what must stay."""
    messages = context.messages
    starts = [index for index, message in enumerate(messages) if message.role == "user"]
    if starts and starts[0] > 0 and any(message.role == "assistant" for message in messages[: starts[0]]):
        starts.insert(0, 0)
    shortenings = []
    for start in starts[1:]:
        kept = tuple(
            message for index, message in enumerate(messages) if index >= start or message.role == "system"
        )
        shortenings.append(Context(kept, len(messages) - len(kept)))
    return shortenings
