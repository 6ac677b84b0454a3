"""The gate's own rewordings of a corrected question, and questions beside it that nobody corrected.

Training rewords, too, but not like this: these frames, this slip and these things are asked here only, so what is
measured was not trained on. Rules, no model: a variant is the same question typed by somebody in a hurry; a
neighbour is the question about another thing, which the taught answer cannot be right for. English and Portuguese
have frames and things of their own; other languages get the variants that need no language, and no neighbours.

A text in which form is content (code, several lines, more than `MAX_WORDS` words, no question) has neither. The same
question and count give the same texts everywhere.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass

MAX_WORDS = 25
MIN_SLIP_LETTERS = 5
_CODE = re.compile(r"[{}<>\\|=;`\n]|\w\(|https?:|\S@\S")
_MARKS = "?!.…？！。؟"
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


@dataclass(frozen=True, slots=True)
class _Language:
    asks_with: frozenset[str]
    """Words a question begins with."""
    small: frozenset[str]
    """Words that do not say what a question is about."""
    frames: tuple[str, ...]
    contractions: tuple[tuple[str, str], ...]
    things: tuple[str, ...]
    """Things of a house that people seldom ask about."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ENGLISH = _Language(
    asks_with=_words("what where who whom whose when which why how what's where's who's when's how's"),
    small=_words(
        """the a an our my your his her their its this that of for in on at to with from by about is are was were do
        does did can could will would should has have had we i you he she it they me us them not and or what where who
        whom whose when which why how much many there what's where's who's when's how's be been get go keep"""
    ),
    frames=("quick question: {question}", "{bare}, would you know?"),
    contractions=(("what is", "what's"), ("where is", "where's"), ("who is", "who's"), ("when is", "when's")),
    things=(
        "canoe",
        "harmonica",
        "telescope",
        "hammock",
        "wheelbarrow",
        "chandelier",
        "trampoline",
        "sundial",
    ),
)
_PORTUGUESE = _Language(
    asks_with=_words("que quem onde quando qual quais como quanto quanta quantos quantas a"),
    small=_words(
        """o a os as um uma de do da dos das em no na nos nas para com por ao à e é são está estão foi era que quem onde
        quando qual quais como quanto quantos meu minha nosso nossa seu sua se não horas"""
    ),
    frames=("uma dúvida: {question}", "{bare}, você saberia?"),
    contractions=(("onde está", "onde tá"), ("qual é", "qual"), ("para", "pra")),
    things=("canoa", "gaita", "telescópio", "rede", "carrinho", "lustre", "trampolim", "relógio"),
)
_PORTUGUESE_SIGNS = _words(
    "é são está estão onde quem quando qual quais como quanto nosso nossa o os do da dos das que horas"
)


def variants(question: str, count: int) -> list[str]:
    """Up to `count` ways to ask the same, none of them the question itself. 20 µs."""
    if not is_question(question):
        return []
    language, bare = _language_of(question), question.strip().rstrip(_MARKS).rstrip()
    made: list[str] = [bare.lower()]
    if language is not None:
        made += [frame.format(question=_small(question.strip()), bare=bare) for frame in language.frames[:1]]
        made += [_contracted(question.strip(), language) or f"{bare}!?"]
    mark = question.strip()[-1]
    made += [_with_slip(question.strip()), f"{bare}{2 * (mark if mark in _MARKS else '?')}"]
    if language is not None:
        made += [frame.format(question=question.strip(), bare=bare) for frame in language.frames[1:]]
    distinct = dict.fromkeys(made)
    return [text for text in distinct if text != question][:count]


def neighbours(question: str, count: int) -> list[str]:
    """Up to `count` questions like this one about other things."""
    language = _language_of(question)
    if language is None or not is_question(question):
        return []
    own = [found for found in _WORD.finditer(question) if found.group().lower() not in language.small]
    if not own:
        return []
    place = own[-1]
    known = {found.group().lower() for found in own}
    things = [thing for thing in language.things if thing not in known]
    _rng(question).shuffle(things)
    return [question[: place.start()] + thing + question[place.end() :] for thing in things[:count]]


def is_question(text: str) -> bool:
    """Whether a text is one line of prose that asks something, so that it may be typed otherwise."""
    bare = text.strip()
    if not bare or len(bare.split()) > MAX_WORDS or _CODE.search(bare):
        return False
    language = _language_of(bare)
    first = bare.split()[0].lower()
    return bare[-1] in "?？؟" or (language is not None and first in language.asks_with)


def _language_of(text: str) -> _Language | None:
    words = [found.group().lower() for found in _WORD.finditer(text)]
    english = sum(word in _ENGLISH.small for word in words)
    portuguese = sum(word in _PORTUGUESE_SIGNS for word in words)
    if max(english, portuguese) == 0:
        return None
    return _ENGLISH if english > portuguese else _PORTUGUESE


def _contracted(question: str, language: _Language) -> str | None:
    for long, short in language.contractions:
        for old, new in ((long, short), (short, long)):
            if question.lower().startswith(old + " "):
                return new[:1].upper() + new[1:] + question[len(old) :]
    return None


def _with_slip(question: str) -> str:
    """The longest word with two inner letters swapped."""
    words = [
        found
        for found in _WORD.finditer(question)
        if len(found.group()) >= MIN_SLIP_LETTERS and found.group().lower() != found.group().upper()
    ]
    if not words:
        return question
    found = max(words, key=lambda word: len(word.group()))
    word = found.group()
    place = next((n for n in range(1, len(word) - 2) if word[n] != word[n + 1]), None)
    if place is None:
        return question
    slipped = word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    return question[: found.start()] + slipped + question[found.end() :]


def _small(question: str) -> str:
    return question[:1].lower() + question[1:]


def _rng(text: str) -> random.Random:
    return random.Random(hashlib.sha256(text.encode()).digest())
