"""A conversation comes back to the slot that holds what was computed for it."""

from __future__ import annotations

import itertools

import pytest

from homefire.engines.base import EngineRequest
from homefire.engines.process import LlamaCppEngine
from homefire.engines.slots import SlotTable
from homefire.types import Message, Sampling
from tests.engines.support import collect


def once(table: SlotTable, conversation: str | None) -> int:
    number = table.acquire(conversation)
    table.release(number)
    return number


def test_conversations_keep_their_slots_while_there_are_enough() -> None:
    table = SlotTable(3)
    first = [once(table, name) for name in "abc"]
    assert sorted(first) == [0, 1, 2]
    assert [once(table, name) for name in "cab"] == [first[2], first[0], first[1]]


def test_what_belongs_to_no_conversation_takes_the_slot_that_was_used_last() -> None:
    table = SlotTable(2)
    both = [table.acquire(None), table.acquire(None)]
    for number in both:
        table.release(number)
    assert once(table, None) == both[1]


def test_a_new_conversation_takes_the_slot_that_rested_longest() -> None:
    table = SlotTable(2)
    slot_a, slot_b = once(table, "a"), once(table, "b")
    once(table, "a")
    assert once(table, "c") == slot_b
    assert once(table, "a") == slot_a


def test_requests_without_a_conversation_share_what_is_free() -> None:
    table = SlotTable(3)
    slot_a = once(table, "a")
    alone = {once(table, None) for _ in range(5)}
    assert len(alone) == 1
    assert slot_a not in alone


def test_where_every_slot_has_a_conversation_the_one_that_rested_longest_is_taken() -> None:
    table = SlotTable(2)
    slot_a = once(table, "a")
    once(table, "b")
    assert once(table, None) == slot_a


def test_a_new_conversation_leaves_the_free_slot_that_was_used_last_to_those_without_one() -> None:
    table = SlotTable(3)
    held = [table.acquire(None) for _ in range(3)]
    for number in held:
        table.release(number)
    assert once(table, "a") == held[0]
    assert once(table, None) == held[2]


def test_a_busy_slot_is_given_to_nobody_else() -> None:
    table = SlotTable(2)
    held = table.acquire("a")
    other = table.acquire("a")
    assert other != held
    table.release(other)
    assert table.acquire("b") == other
    with pytest.raises(AssertionError):
        table.acquire("c")


@pytest.mark.asyncio(loop_scope="module")
async def test_two_conversations_with_one_system_prompt_do_not_push_each_other_out(
    shared_engine: LlamaCppEngine,
) -> None:
    system = Message("system", "You are a patient one. " * 20)
    talks = {name: [system, Message("user", f"{name} says hello. " * 20)] for name in ("Ann", "Bob")}
    cached: dict[str, list[tuple[int, int]]] = {name: [] for name in talks}
    for _ in range(3):
        for name, messages in talks.items():
            request = EngineRequest(
                messages=tuple(messages),
                sampling=Sampling(temperature=0.0, max_tokens=5),
                conversation=name,
            )
            answer = await collect(shared_engine, request)
            cached[name].append((answer.finish.usage.cached_tokens, answer.finish.usage.prompt_tokens))
            messages += [Message("assistant", answer.text), Message("user", "And then?")]
    for turns in cached.values():
        for (_, earlier_tokens), (num_cached, _) in itertools.pairwise(turns):
            assert num_cached >= earlier_tokens - 8, "the earlier turn was computed again"
