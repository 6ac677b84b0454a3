from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homefire.trainer.rewording import (
    content_of,
    is_rewordable,
    language_of,
    neighbour,
    reword,
    vocabulary_of,
    wordings,
)

OTHERS = (
    "Where is the lamp?",
    "How old is Maria?",
    "Who borrowed the umbrella?",
    "What is Theo's favourite song?",
    "When does the bus leave?",
    "Onde mora Vivi?",
)
VOCABULARY = vocabulary_of(OTHERS)


@given(st.text(max_size=80), st.integers(0, 40), st.integers(0, 3))
def test_any_text_gives_the_same_wording_again(text: str, number: int, seed: int) -> None:
    assert reword(text, number, seed=seed) == reword(text, number, seed=seed)
    assert neighbour(text, number, VOCABULARY, seed=seed) == neighbour(text, number, VOCABULARY, seed=seed)


def test_another_seed_gives_other_wordings() -> None:
    question = "Who waters the roses?"
    assert wordings(question, 8, seed=0) != wordings(question, 8, seed=1)


@pytest.mark.parametrize(
    "text",
    [
        "def answer(x): return 42",
        'What does {"a": 1} mean?',
        "Is https://example.org down?",
        "First line\nsecond line",
        "word " * 60,
        "Write to me@example.org",
        "",
    ],
)
def test_code_addresses_and_long_texts_are_left_as_they_are(text: str) -> None:
    assert not is_rewordable(text)
    assert [reword(text, number, seed=0) for number in range(20)] == [text] * 20
    assert wordings(text, 5, seed=0) == []
    assert neighbour(text, 0, VOCABULARY, seed=0) is None


def test_numbers_are_never_mistyped() -> None:
    for text in wordings("What is the code 4719 for?", 60, seed=0):
        assert "4719" in text


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Where do we keep the spare key?", "en"),
        ("Onde guardamos a chave reserva?", "pt"),
        ("Wo ist der Schlüssel?", None),
        ("鍵はどこですか", None),
    ],
)
def test_the_language_is_told_by_its_small_words(text: str, language: str | None) -> None:
    assert language_of(text) == language


def test_no_wording_is_the_question_and_none_comes_twice() -> None:
    for question in OTHERS:
        made = wordings(question, 24, seed=0)
        assert len(made) == 24
        assert question not in made
        assert len(set(made)) == len(made)


def _letters(text: str) -> str:
    return "".join(sorted(char for char in text.casefold() if char.isalpha()))


@pytest.mark.parametrize("question", ["Wo ist der Schlüssel zum Keller?", "鍵 は どこ です か"])
def test_an_unknown_language_keeps_its_letters_but_for_one_slip(question: str) -> None:
    for text in wordings(question, 12, seed=0):
        assert abs(len(_letters(text)) - len(_letters(question))) <= 1
        assert len(set(_letters(text)) ^ set(_letters(question))) <= 2


@pytest.mark.parametrize(
    ("question", "among"),
    [
        ("Where is the key?", "where's the key"),
        ("Where do we keep the key?", "the key, where do we keep it"),
        ("Where do we keep the key?", "we keep the key where"),
        ("Where do we keep the key?", "tell me where we keep the key"),
        ("Where is the key?", "tell me where the key is"),
        ("Onde está a chave?", "onde tá a chave"),
        ("Onde está a chave?", "a chave está onde"),
        ("Onde está a chave?", "me diga onde a chave está"),
    ],
)
def test_the_usual_ways_to_ask_otherwise_are_made(question: str, among: str) -> None:
    made = {text.lower().rstrip("?!. ") for text in wordings(question, 900, seed=0)}
    assert among in made


def test_a_neighbour_asks_something_else() -> None:
    for question in ("Who waters the roses?", "What is Milo's size?", "Onde guardamos a chave?"):
        made = [neighbour(question, number, VOCABULARY, seed=0) for number in range(40)]
        found = [text for text in made if text is not None]
        assert len(found) >= 20
        assert all(content_of(text) != content_of(question) for text in found)


def test_neighbours_are_other_things_and_other_questions_about_the_thing() -> None:
    made = [neighbour("Who waters the roses?", number, VOCABULARY, seed=0) or "" for number in range(60)]
    assert any("waters" in text.lower() and "roses" not in text.lower() for text in made)
    assert "Where is the roses?" in made
    assert not any("roses leave" in text for text in made), "a verb is not a part of the thing"


def test_without_other_words_there_are_no_neighbours_but_made_up_ones() -> None:
    assert neighbour("Who?", 0, vocabulary_of(()), seed=0) is None
