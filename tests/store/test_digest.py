"""Digests tell conversations apart by every byte, and by whose they are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from homefire.store.digest import chain, chain_all, root
from homefire.types import Attachment, Message, Reasoning, Text, ToolCall, ToolResult

parts = st.one_of(
    st.builds(Text, st.text(max_size=4)),
    st.builds(Reasoning, st.text(max_size=4)),
    st.builds(
        ToolCall,
        st.sampled_from("12"),
        st.sampled_from("fg"),
        st.fixed_dictionaries({}, optional={"a": st.integers(0, 1)}),
    ),
    st.builds(
        ToolResult,
        st.sampled_from("12"),
        st.builds(lambda text: (Text(text),), st.text(max_size=2)),
        st.booleans(),
    ),
    st.builds(Attachment, st.sampled_from(["aa", "bb"]), st.just("image/png"), st.just(3)),
)
contents = st.text(max_size=8) | st.lists(parts, max_size=3).map(tuple)
messages = st.lists(
    st.builds(Message, st.sampled_from(["system", "user", "assistant", "tool"]), contents), max_size=4
)


def tip(principal: str, conversation: list[Message]) -> bytes:
    return [root(principal), *chain_all(root(principal), conversation)][-1]


@given(messages, messages)
def test_equal_digests_mean_equal_conversations(one: list[Message], other: list[Message]) -> None:
    assert (tip("ann", one) == tip("ann", other)) == (one == other)


@given(messages)
def test_the_same_words_of_another_principal_have_another_digest(conversation: list[Message]) -> None:
    assert tip("ann", conversation) != tip("bob", conversation)


def test_the_chain_grows_by_one_link_per_message() -> None:
    said = [Message("system", "Be brief."), Message("user", "Hi"), Message("assistant", "Hello")]
    digests = chain_all(root("ann"), said)
    assert len(set(digests)) == 3
    assert digests[2] == chain(digests[1], Message("assistant", "Hello"))
    assert chain_all(digests[0], said[1:]) == digests[1:]


def test_two_tool_calls_are_never_one_conversation() -> None:
    calls = [
        Message("assistant", (ToolCall("1", "weather", {"city": city, "unit": "C"}),))
        for city in ("Rome", "Bonn")
    ]
    first, second = (chain(root("ann"), call) for call in calls)
    assert first != second
    assert chain(root("ann"), Message("assistant", "")) not in (first, second)


def test_the_order_of_a_calls_arguments_does_not_count() -> None:
    one = Message("assistant", (ToolCall("1", "f", {"a": 1, "b": {"c": 2, "d": 3}}),))
    other = Message("assistant", (ToolCall("1", "f", {"b": {"d": 3, "c": 2}, "a": 1}),))
    assert chain(root("ann"), one) == chain(root("ann"), other)


def test_text_cannot_move_between_role_and_content_or_between_messages() -> None:
    start = root("ann")
    assert chain(start, Message("user", 'x"')) != chain(start, Message("user", 'x\\"'))
    assert (
        chain_all(start, [Message("user", "ab")])[-1]
        != chain_all(start, [Message("user", "a"), Message("user", "b")])[-1]
    )
