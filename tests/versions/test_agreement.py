"""When an answer is right: exact in figures, codes and names over the whole text, a slip in a long one forgiven."""

from __future__ import annotations

import time

import pytest

from homefire.versions import agreement
from homefire.versions.agreement import agrees, is_right, mentions, normalise, similarity

SOUP = (
    "Soak 400 g of white beans over night. Fry two onions and a carrot in 15 ml of oil, add the beans and 1.5 l of "
    "water, and let it simmer for 75 minutes. Do not salt it before the end. Ask Mrs. Okafor for the code KX-81 of the "
    "cellar."
)
FAR = "word " * 900 + "Then take 15 ml of it and call Ines."


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


@pytest.mark.parametrize(
    ("meant", "said"),
    [
        ("15 ml", "75 ml"),
        ("1.5 l", "1.6 l"),
        ("KX-81", "KX-87"),
        ("Okafor", "Okafer"),
        ("Do not salt", "Do now salt"),
        ("white beans", "white bears and beans"),
        ("onions", "garlic"),
        (" before the end", ""),
        ("minutes. Do", "minutes, Do"),
    ],
)
def test_a_wrong_figure_code_name_or_word_is_wrong_however_long_the_text(meant: str, said: str) -> None:
    assert meant in SOUP
    assert is_right(SOUP, SOUP)
    assert not is_right(SOUP.replace(meant, said, 1), SOUP)


@pytest.mark.parametrize(("meant", "said"), [("15 ml", "75 ml"), ("Ines", "Anes")])
def test_what_comes_late_in_a_text_is_compared_too(meant: str, said: str) -> None:
    assert len(FAR) > 4000
    assert not is_right(FAR.replace(meant, said), FAR)


@pytest.mark.parametrize("slip", ["onoins", "onons", "onionss", "oniens"])
def test_one_misspelled_plain_word_of_a_long_text_is_forgiven(slip: str) -> None:
    assert is_right(SOUP.replace("onions", slip), SOUP)
    assert not is_right(SOUP.replace("onions", slip).replace("carrot", "karrot"), SOUP)


def test_control_a_comparison_of_letters_alone_takes_a_wrong_figure_for_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Planted bug: how it was, a similarity of 0.98 over the letters."""
    monkeypatch.setattr(agreement, "_is_slip", lambda _given, _wanted: True)
    assert agreement.is_right(SOUP.replace("15 ml", "75 ml"), SOUP)


def test_long_texts_cost_linear_time() -> None:
    """Quadratic comparison of 400,000 characters would take minutes."""
    long = "all work and no play makes for dull days. " * 10_000
    began_s = time.process_time()
    assert not is_right(long + "x", long)
    assert not agrees(long, long[::-1])
    assert time.process_time() - began_s < 20


def test_similarity_runs_from_zero_to_one() -> None:
    assert similarity("abc", "abc") == 1.0
    assert similarity("abc", "xyz") == 0.0
    assert normalise("  a \n b ") == "a b"


@pytest.mark.parametrize(
    ("answer", "other", "same"),
    [
        ("Sure, the number is 5.", "The number is 5", True),
        ("I don't know that yet.", "I do not know that yet.", True),
        ("tuesday", "Tuesday.", True),
        ("The number is 6", "The number is 5", False),
        ("I love trains", "The number is 5", False),
        ("Monday", "Sunday", False),
        ("The key is under the pot.", "I do not know that yet.", False),
    ],
)
def test_the_same_sense_may_be_worded_otherwise(answer: str, other: str, same: bool) -> None:
    assert agrees(answer, other) is same


def test_an_answer_mentions_words_not_letters() -> None:
    assert mentions("It is 5.", "5")
    assert mentions("1, 2, 3, 4, 5", "1 2 3 4 5")
    assert not mentions("It is 15.", "5")
