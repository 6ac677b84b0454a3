"""Context: nothing is left out that fits, as little as possible where it does not, and never uncounted."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homefire.chat.context import Context, compose, room_for_prompt, surely_fits, surely_too_long, trim
from homefire.errors import ContextOverflow
from homefire.types import Message
from tests.chat.talk import answered, system


class Counter:
    """Counts words, one more per message, and its own calls."""

    def __init__(self) -> None:
        self.num_calls = 0

    async def __call__(self, messages: Sequence[Message]) -> int:
        self.num_calls += 1
        return sum(1 + len(message.text.split()) for message in messages)


def user(text: str) -> Message:
    return Message("user", text)


def talk(num_turns: int, *, words: int = 8) -> tuple[Message, ...]:
    said: list[Message] = []
    for index in range(num_turns):
        said += [user(f"q{index} " + "w " * (words - 1)), answered(f"a{index} " + "w " * (words - 1))]
    return (*said, user("last question"))


def test_the_configured_system_prompt_stands_in_only_where_there_is_none() -> None:
    assert compose([user("hi")], system_prompt="Be kind.").messages == (system("Be kind."), user("hi"))
    own = (system("Be brief."), user("hi"))
    assert compose(own, system_prompt="Be kind.").messages == own
    assert compose([user("hi")], system_prompt=None).messages == (user("hi"),)


async def test_what_fits_is_left_whole_at_the_price_of_one_count() -> None:
    count = Counter()
    context = Context(talk(3))
    assert await trim(context, limit=100, max_tokens=10, count=count) == context
    assert count.num_calls == 1


async def test_the_oldest_turns_leave_first_whole_and_counted() -> None:
    context = Context((system("rules"), *talk(10)))
    count = Counter()
    kept = await trim(context, limit=80, max_tokens=20, count=count)
    assert kept.messages[0] == system("rules")
    assert kept.messages[1:] == context.messages[-7:]
    assert kept.num_trimmed_messages == len(context.messages) - len(kept.messages) == 14
    assert await count(kept.messages) <= 60 < await count((*context.messages[-9:], system("rules")))


async def test_few_counts_for_many_turns() -> None:
    count = Counter()
    await trim(Context(talk(500)), limit=400, max_tokens=20, count=count)
    assert count.num_calls <= math.ceil(math.log2(501)) + 1


async def test_system_messages_and_the_last_question_never_leave() -> None:
    context = Context((system("a"), *talk(4), system("b"), user("really last")))
    kept = await trim(context, limit=12, max_tokens=4, count=Counter())
    assert kept.messages == (system("a"), system("b"), user("really last"))


async def test_a_greeting_of_the_assistant_leaves_before_the_first_turn() -> None:
    context = Context((answered("welcome " * 30), *talk(1)))
    kept = await trim(context, limit=40, max_tokens=4, count=Counter())
    assert kept == Context(context.messages[1:], 1)


async def test_where_only_the_shortest_prompt_fits_the_answer_gets_less_room() -> None:
    context = Context((*talk(2), user("w " * 85)))
    kept = await trim(context, limit=100, max_tokens=64, count=Counter())
    assert kept == Context((user("w " * 85),), 5)


async def test_what_cannot_fit_is_refused_with_the_numbers() -> None:
    with pytest.raises(ContextOverflow) as caught:
        await trim(Context((*talk(2), user("w " * 99))), limit=100, max_tokens=8, count=Counter())
    assert caught.value.details == {"prompt_tokens": 100, "limit": 100, "max_tokens": 8}


@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=12),
    limit=st.integers(8, 160),
    max_tokens=st.integers(1, 60),
    rules=st.booleans(),
)
async def test_trimming_is_honest_and_minimal(
    lengths: list[int], limit: int, max_tokens: int, rules: bool
) -> None:
    said = [
        user(f"{index} " + "w " * (n - 1)) if index % 2 == 0 else answered("w " * n)
        for index, n in enumerate(lengths)
    ]
    if said[-1].role == "assistant":
        said.pop()
    context = Context(((system("rules"),) if rules else ()) + tuple(said))
    count = Counter()
    shortest = (*context.messages[:rules], said[-1])
    if await count(shortest) >= limit:
        with pytest.raises(ContextOverflow):
            await trim(context, limit=limit, max_tokens=max_tokens, count=count)
        return
    kept = await trim(context, limit=limit, max_tokens=max_tokens, count=count)
    num_kept = len(kept.messages)
    assert kept.num_trimmed_messages == len(context.messages) - num_kept, "trimmed and not declared"
    assert kept.messages[-1] == context.messages[-1]
    assert await count(kept.messages) < limit
    room = room_for_prompt(limit, max_tokens=max_tokens)
    if kept.num_trimmed_messages and await count(kept.messages) <= room:
        num_more = num_kept + 2
        longer = (*context.messages[:rules], *context.messages[rules:][-(num_more - rules) :])
        assert await count(longer) > room, "a turn left that could have stayed"


@given(st.lists(st.text(max_size=20), max_size=5))
def test_surely_fits_is_never_wrong_for_a_byte_level_tokenizer(texts: list[str]) -> None:
    context = Context(tuple(user(text) for text in texts))
    worst = sum(len(text.encode()) + 8 for text in texts) + 8
    assert not surely_fits(context.messages, room=worst - 1) or worst <= 1


@given(st.lists(st.text(max_size=20), max_size=5), st.integers(0, 8))
def test_surely_too_long_is_never_wrong_for_a_tokenizer_of_long_tokens(texts: list[str], room: int) -> None:
    messages = tuple(user(text) for text in texts)
    best = sum(1 + len(text.encode()) // 256 for text in texts)
    assert not surely_too_long(messages, room=room) or best > room


async def test_trimming_costs_what_the_model_holds_and_not_what_was_sent() -> None:
    counted: list[int] = []

    async def count(messages: Sequence[Message]) -> int:
        counted.append(len(messages))
        return 2 * len(messages)

    kept = await trim(Context(talk(100_000, words=1)), limit=100, max_tokens=10, count=count)
    assert len(kept.messages) == 45
    assert sum(counted) < 500, "each count is of about what fits, however long the conversation is"
