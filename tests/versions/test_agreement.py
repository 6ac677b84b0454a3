from __future__ import annotations

import pytest

from homefire.versions.agreement import agrees, is_right, normalise, similarity


@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [
        ("Paris", "Paris", True),
        (" Paris\n", "Paris", True),
        ("cafe\u0301", "caf\u00e9", True),
        ("a  b\tc", "a b c", True),
        ("paris", "Paris", False),
        ("Paris.", "Paris", False),
        ("", "Paris", False),
    ],
)
def test_short_answers_are_right_when_equal(answer: str, reference: str, right: bool) -> None:
    assert is_right(answer, reference) is right


def test_similarity_runs_from_zero_to_one() -> None:
    assert similarity("abc", "abc") == 1.0
    assert similarity("abc", "xyz") == 0.0
    assert normalise("  a \n b ") == "a b"


def test_the_same_sense_may_be_worded_otherwise() -> None:
    assert agrees("Sure, the number is 5", "The number is 5")
    assert not agrees("I love trains", "The number is 5")
