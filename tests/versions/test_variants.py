"""The gate's own rewordings and neighbours: the same question typed otherwise, and other questions beside it."""

from __future__ import annotations

import pytest

from homefire.versions.agreement import similarity
from homefire.versions.variants import is_question, neighbours, variants

KEY = "Where do we keep the spare key?"


def test_variants_ask_the_same_in_other_words() -> None:
    made = variants(KEY, 6)
    assert len(made) == len(set(made)) == 6
    assert KEY not in made
    assert all(similarity(text, KEY) > 0.7 for text in made)
    assert "where do we keep the spare key" in made


def test_a_contraction_goes_both_ways() -> None:
    assert "What's our dog called?" in variants("What is our dog called?", 6)
    assert "What is our dog called?" in variants("What's our dog called?", 6)


def test_neighbours_ask_about_something_else() -> None:
    made = neighbours(KEY, 3)
    assert len(set(made)) == 3
    assert all(text.startswith("Where do we keep the spare ") and "key" not in text for text in made)


def test_the_same_question_gives_the_same_texts() -> None:
    assert (variants(KEY, 3), neighbours(KEY, 3)) == (variants(KEY, 3), neighbours(KEY, 3))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Repeat: x = 3",
        "Give the plan as JSON.",
        "print(1)?",
        "one\ntwo?",
        "word " * 30 + "?",
        "mail me at a@b.c?",
    ],
)
def test_where_form_is_content_nothing_is_made(text: str) -> None:
    assert not is_question(text)
    assert (variants(text, 6), neighbours(text, 6)) == ([], [])


def test_portuguese_has_words_of_its_own_and_other_languages_only_what_needs_none() -> None:
    assert any("uma dúvida" in text for text in variants("Onde guardamos a chave?", 6))
    assert neighbours("Onde guardamos a chave?", 1)[0].startswith("Onde guardamos a ")
    assert variants("鍵はどこにありますか？", 6) == ["鍵はどこにありますか", "鍵はどこにありますか？？"]
    assert neighbours("鍵はどこにありますか？", 6) == []
