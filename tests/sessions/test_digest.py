"""Digests tell conversations apart by every byte, and by whose they are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from homefire.sessions.digest import chain, chain_all, root
from homefire.types import Message

messages = st.lists(
    st.builds(Message, st.sampled_from(["system", "user", "assistant"]), st.text(max_size=8)), max_size=4
)


def tip(principal: str, conversation: list[Message]) -> str:
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
    assert digests[2] == chain(digests[1], "assistant", "Hello")
    assert chain_all(digests[0], said[1:]) == digests[1:]


def test_text_cannot_move_between_role_and_content() -> None:
    start = root("ann")
    assert chain(start, "user", "s\0x") != chain(start, "users", "x")
