"""What is somebody else's is the same to a caller as what never was."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from homefire.errors import NotFound
from homefire.sessions.ownership import session_of, turn_of

ROW = SimpleNamespace(principal="anna")


def store() -> Any:
    rows = SimpleNamespace(get={"known": ROW}.get)
    return SimpleNamespace(sessions=rows, turns=rows)


@pytest.mark.parametrize("find", [session_of, turn_of])
def test_ones_own_is_found(find: Any) -> None:
    assert find(store(), "anna", "known") is ROW


@pytest.mark.parametrize(("find", "field"), [(session_of, "session_id"), (turn_of, "turn_id")])
def test_anothers_and_what_never_was_are_told_in_the_same_words(find: Any, field: str) -> None:
    told = []
    for principal, name in (("ben", "known"), ("anna", "other"), ("", "known")):
        with pytest.raises(NotFound) as caught:
            find(store(), principal, name)
        assert caught.value.details == {field: name}
        told.append(caught.value.message.replace(name, "…"))
    assert len(set(told)) == 1
