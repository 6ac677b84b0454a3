"""Session keys keep apart what their scope keeps apart."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homefire.sessions.keys import session_key

names = st.text(min_size=1, max_size=12)


def test_scopes_share_exactly_what_they_say() -> None:
    people, talks = ("ann", "bob"), ("1", "2")
    keys = {
        scope: {session_key(scope, principal=who, conversation=talk) for who, talk in product(people, talks)}
        for scope in ("main", "per-principal", "per-conversation")
    }
    assert [len(found) for found in keys.values()] == [1, 2, 4]
    assert len(set.union(*keys.values())) == 7


@given(names, names, names, names)
def test_no_name_can_imitate_another_key(who: str, talk: str, other_who: str, other_talk: str) -> None:
    ours = session_key("per-conversation", principal=who, conversation=talk)
    theirs = session_key("per-conversation", principal=other_who, conversation=other_talk)
    assert (ours == theirs) == ((who, talk) == (other_who, other_talk))
    assert session_key("per-principal", principal=other_who) != ours


def test_separators_inside_names_stay_inside() -> None:
    tricky = session_key("per-principal", principal="ann/conversation/1")
    assert tricky != session_key("per-conversation", principal="ann", conversation="1")


@pytest.mark.parametrize("conversation", [None, ""])
def test_an_empty_part_is_refused(conversation: str | None) -> None:
    with pytest.raises(ValueError, match="needs a conversation"):
        session_key("per-conversation", principal="ann", conversation=conversation)
    with pytest.raises(ValueError, match="needs a principal"):
        session_key("per-principal", principal="")
