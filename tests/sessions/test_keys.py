"""Session keys keep apart what must not meet."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homefire.sessions.keys import session_key

names = st.text(min_size=1, max_size=12)


def test_scopes_share_exactly_what_they_say() -> None:
    """A key's scope is one conversation of one who asks: the same pair meets, no other does."""
    pairs = list(product(("ann", "bob"), ("1", "2")))
    keys = [session_key(principal=who, conversation=talk) for who, talk in (*pairs, *pairs)]
    assert keys[:4] == keys[4:]
    assert len(set(keys)) == 4


@given(names, names, names, names)
def test_no_name_can_imitate_another_key(who: str, talk: str, other_who: str, other_talk: str) -> None:
    ours = session_key(principal=who, conversation=talk)
    theirs = session_key(principal=other_who, conversation=other_talk)
    assert (ours == theirs) == ((who, talk) == (other_who, other_talk))


def test_separators_inside_names_stay_inside() -> None:
    tricky = session_key(principal="ann/conversation/1", conversation="2")
    assert tricky != session_key(principal="ann", conversation="1/conversation/2")


@pytest.mark.parametrize(("principal", "conversation"), [("ann", ""), ("", "1")])
def test_an_empty_part_is_refused(principal: str, conversation: str) -> None:
    with pytest.raises(ValueError, match="it was empty"):
        session_key(principal=principal, conversation=conversation)
