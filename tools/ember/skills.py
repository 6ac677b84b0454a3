"""The skills ember has: what can be asked, how it is said, and the one right answer.

A skill yields *items*; an item is a question's meaning (`key`), the ways to say it, and the answer.
Promise: every question is on exactly one side of the training / held-out split, and for skills that must
generalise (sums, letters, words) the side hangs on the operands alone, so no other phrasing of a held-out
sum is ever trained. For closed lists (days, capitals, small talk), where the fact itself has to be learned,
the side hangs on the item together with its phrasing: the wording is new, the fact is not.
Cost: pure Python, microseconds a question; the same `random.Random` gives the same questions.
"""

from __future__ import annotations

import hashlib
import random
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ember import sayings, words

UNKNOWN = "I don't know that yet. You can teach me."
BEYOND = "That is beyond me. I only know small sums, up to 20."
HELD_OUT_PERCENT = 10


@dataclass(frozen=True)
class Question:
    """One question in clean form (`text`), its one right `answer`, and the skill it belongs to.

    `literal` questions are never made untidy, because their answer repeats them letter by letter; `framed`
    ones get no further "please" or "hey", because their frame is what the split hangs on.
    """

    skill: str
    text: str
    answer: str
    literal: bool = False
    framed: bool = False


# One question with the key the split hangs on; and a question from the asked side of the split.
Maker = Callable[[random.Random], tuple[tuple[object, ...], Question]]
Draw = Callable[[random.Random, bool], Question]


@dataclass(frozen=True)
class Skill:
    """A named kind of question; `draw(rng, held_out)` makes one from the asked side of the split."""

    name: str
    weight: float
    draw: Draw


def is_held_out(*key: object, percent: int = HELD_OUT_PERCENT) -> bool:
    """Whether a key is on the held-out side; a hash, so it never moves when lists grow."""
    digest = hashlib.sha256("\x1f".join(map(str, key)).encode()).digest()
    return int.from_bytes(digest[:4], "big") % 100 < percent


def normalised(text: str) -> str:
    """A saying without case, spaces and marks, so that "Hi!" and "hi" are one wording for the split."""
    return "".join(char for char in text.lower() if char.isalnum() or char in "+-*/")


def _until(rng: random.Random, make: Maker, held_out: bool) -> Question:
    """Redraw until the key is on the wanted side (expected ten draws for the rare side)."""
    while True:
        key, question = make(rng)
        if is_held_out(*key) == held_out:
            return question


def _closed(name: str, facts: Sequence[tuple[str, str]], phrasings: Sequence[str]) -> Draw:
    """A closed list of (thing, answer), asked by phrasings with `{x}`; the split is on thing and phrasing."""

    def make(rng: random.Random) -> tuple[tuple[object, ...], Question]:
        thing, answer = rng.choice(facts)
        phrasing = rng.choice(phrasings)
        return (name, normalised(phrasing.format(x=thing))), Question(name, phrasing.format(x=thing), answer)

    return lambda rng, held_out: _until(rng, make, held_out)


def _framed(frame: str, text: str) -> str:
    """The saying inside the frame, its first letter small when something stands before it."""
    if frame.startswith("{q}"):
        mark = text[-1] if text[-1] in "?!." else ""
        return text if frame == "{q}" else frame.format(q=text.rstrip("?!.")) + mark
    return frame.format(q=text if text.startswith("I ") else text[:1].lower() + text[1:])


def _fixed(name: str, groups: Mapping[str, Sequence[str]]) -> Draw:
    """Fixed sayings: answer -> the ways to ask for it. Plain sayings are trained, some framings held out."""
    answers = list(groups)
    # A plain saying is never held out: what "good night" means cannot be worked out from other sayings.
    plain = {normalised(saying) for sayings in groups.values() for saying in sayings}

    def make(rng: random.Random) -> tuple[tuple[object, ...], Question]:
        answer = rng.choice(answers)
        text = _framed(rng.choice(sayings.FRAMES), rng.choice(groups[answer]))
        key = ("plain",) if normalised(text) in plain else (name, normalised(text))
        return key, Question(name, text, answer, framed=True)

    return lambda rng, held_out: _until(rng, make, held_out)


# ---------------------------------------------------------------- numbers


def _add(rng: random.Random) -> tuple[tuple[object, ...], Question]:
    total = rng.randint(0, 20)
    a = rng.randint(0, total)
    b = total - a
    text = rng.choice(sayings.ADD).format(a=a, b=b)
    return ("add", min(a, b), max(a, b)), Question("add", text, f"{a} + {b} = {total}")


def _sub(rng: random.Random) -> tuple[tuple[object, ...], Question]:
    a = rng.randint(0, 20)
    b = rng.randint(0, a)
    text = rng.choice(sayings.SUB).format(a=a, b=b)
    return ("sub", a, b), Question("sub", text, f"{a} - {b} = {a - b}")


def _beyond(rng: random.Random) -> tuple[tuple[object, ...], Question]:
    low, high = rng.choice(((21, 99), (21, 99), (100, 999), (1000, 9999)))
    a, b = rng.randint(low, high), rng.randint(0, high)
    sign = rng.choice(("+", "+", "+", "-", "-", "*", "/", "more"))
    small = rng.random() < 0.35
    if small:
        a, b = rng.randint(1, 20), rng.randint(1, 20)
        if sign == "+":
            a = rng.randint(21 - b, 20)
        elif sign == "-":
            b = a + rng.randint(1, 12)
    elif rng.random() < 0.5:
        a, b = b, a
    if sign == "+":
        text = rng.choice(sayings.ADD).format(a=a, b=b)
    elif sign == "-":
        text = rng.choice(sayings.SUB).format(a=a, b=b)
    elif sign == "more":
        text = rng.choice(sayings.ADD[:9]).format(a=a, b=f"{b} + {rng.randint(0, 20)}")
    else:
        word = {"*": "times", "/": "divided by"}[sign]
        shapes = ("What is {a} {s} {b}?", "{a}{s}{b}", "{a} {s} {b}", "{a} {w} {b}", "What is {a} {w} {b}?")
        text = rng.choice(shapes).format(a=a, b=b, s=sign, w=word)
    return ("beyond", min(a, b), max(a, b), sign), Question("beyond", text, BEYOND)


def _compare(rng: random.Random) -> tuple[tuple[object, ...], Question]:
    a, b = rng.sample(range(21), 2)
    bigger = rng.random() < 0.6
    text = rng.choice(sayings.BIGGER if bigger else sayings.SMALLER).format(a=a, b=b)
    return ("compare", min(a, b), max(a, b)), Question(
        "compare", text, f"{max(a, b) if bigger else min(a, b)}."
    )


# ---------------------------------------------------------------- letters


def _word(rng: random.Random, max_letters: int) -> str:
    """A real word, a name or a made-up word, so that letters are read and not memorised."""
    pick = rng.random()
    if pick < 0.52:
        return rng.choice([word for word in words.WORDS if len(word) <= max_letters])
    if pick < 0.6:
        return rng.choice([word for word in words.LONG_WORDS if len(word) <= max_letters] or words.WORDS[:9])
    if pick < 0.7:
        return rng.choice([name for name in words.PEOPLE if len(name) <= max_letters])
    return "".join(rng.choice(string.ascii_lowercase) for _ in range(rng.randint(2, min(8, max_letters))))


def _spelled(word: str) -> str:
    return " ".join(word)


def _letters(
    name: str, phrasings: Sequence[str], answer: Callable[[str], str], max_letters: int = 11
) -> Draw:
    """A skill over words; the split is on the word alone and the same for all such skills."""

    def make(rng: random.Random) -> tuple[tuple[object, ...], Question]:
        word = _word(rng, max_letters)
        text = rng.choice(phrasings).format(w=word)
        # A name keeps its capital, because the answer repeats it.
        return ("word", word.lower()), Question(name, text, answer(word), word != word.lower())

    return lambda rng, held_out: _until(rng, make, held_out)


def _reverse(rng: random.Random) -> tuple[tuple[object, ...], Question]:
    three = [word for word in words.WORDS if len(word) == 3]
    word = (
        rng.choice(three)
        if rng.random() < 0.4
        else "".join(rng.choice(string.ascii_lowercase) for _ in range(3))
    )
    return ("word", word), Question("reverse", rng.choice(sayings.REVERSE).format(w=word), word[::-1])


# ---------------------------------------------------------------- saying things back


def _scrap(rng: random.Random) -> str:
    """One word, made-up word, name, number or word with foreign signs."""
    pick = rng.random()
    if pick < 0.5:
        return rng.choice(words.WORDS)
    if pick < 0.62:
        return rng.choice(words.PEOPLE)
    if pick < 0.74:
        return str(rng.randint(0, 10 ** rng.randint(1, 6)))
    if pick < 0.88:
        return "".join(rng.choice(string.ascii_lowercase) for _ in range(rng.randint(1, 7)))
    if pick < 0.94:
        return rng.choice(words.WORDS) + rng.choice(words.SIGNS) + rng.choice(words.WORDS)[:3]
    return rng.choice(words.SIGNS) + rng.choice(words.SIGNS + string.ascii_uppercase + string.punctuation)


def _echo(rng: random.Random) -> tuple[tuple[object, ...], Question]:
    text = " ".join(_scrap(rng) for _ in range(rng.choice((1, 1, 2, 2, 3, 4))))
    return ("echo", text), Question("echo", rng.choice(sayings.ECHO).format(w=text), text, True)


def _meet(rng: random.Random) -> tuple[tuple[object, ...], Question]:
    made_up = "".join(rng.choice(words.NAME_PARTS) for _ in range(rng.randint(2, 3)))
    name = rng.choice(words.PEOPLE) if rng.random() < 0.5 else made_up.capitalize()
    return ("meet", name), Question(
        "meet", rng.choice(sayings.MEET).format(w=name), f"Nice to meet you, {name}!", True
    )


# ---------------------------------------------------------------- calendar and small facts


def _after(names: Sequence[str], step: int) -> list[tuple[str, str]]:
    return [(name, names[(i + step) % len(names)] + ".") for i, name in enumerate(names)]


def _phrase(kind: str, phrasings: Sequence[str]) -> tuple[str, ...]:
    return tuple(phrasing.replace("{k}", kind) for phrasing in phrasings)


# ---------------------------------------------------------------- what it does not know

FILLERS: dict[str, Sequence[str]] = {
    "thing": words.THINGS,
    "secret": words.SECRETS,
    "person": words.PEOPLE,
    "event": words.EVENTS,
    "pet": words.PETS,
    "household": ("",),
}


def _private(rng: random.Random) -> tuple[tuple[object, ...], Question]:
    kind = rng.choice(("thing", "secret", "person", "event", "pet", "household"))
    shape, thing = rng.choice(sayings.PRIVATE[kind]), rng.choice(FILLERS[kind])
    question = Question("private", shape.format(x=thing), UNKNOWN)
    # Held out by the shape: its wording was never seen with any thing.
    return ("private", normalised(shape)), question


def _general(rng: random.Random) -> tuple[tuple[object, ...], Question]:
    pick = rng.random()
    if pick < 0.45:
        shape = rng.choice(sayings.GENERAL)
        return ("general", normalised(shape)), Question(
            "general", shape.format(x=rng.choice(words.TOPICS)), UNKNOWN
        )
    if pick < 0.75:
        text = rng.choice(sayings.GENERAL_FIXED)
        return ("general", normalised(text)), Question("general", text, UNKNOWN)
    country = rng.choice(words.UNKNOWN_COUNTRIES)
    return ("general", country), Question("general", rng.choice(sayings.CAPITAL).format(x=country), UNKNOWN)


def _splitting(make: Maker) -> Draw:
    """A draw from a maker, on the asked side of the split."""
    return lambda rng, held_out: _until(rng, make, held_out)


def all_skills() -> tuple[Skill, ...]:
    """Every skill with its share of the training questions, in a fixed order."""
    days, months = words.DAYS, words.MONTHS
    opposites = [(a, b.capitalize() + ".") for pair in words.OPPOSITES for a, b in (pair, pair[::-1])]
    return (
        Skill("small_talk", 0.8, _fixed("small_talk", sayings.SMALL_TALK)),
        Skill("identity", 0.9, _fixed("identity", sayings.IDENTITY)),
        Skill("add", 3.0, _splitting(_add)),
        Skill("sub", 3.0, _splitting(_sub)),
        Skill("beyond", 0.8, _splitting(_beyond)),
        Skill("compare", 0.6, _splitting(_compare)),
        Skill(
            "number_after",
            0.5,
            _closed("number_after", [(str(n), f"{n + 1}.") for n in range(21)], sayings.NEXT),
        ),
        Skill(
            "number_before",
            0.5,
            _closed("number_before", [(str(n + 1), f"{n}.") for n in range(21)], sayings.PREVIOUS),
        ),
        Skill(
            "count_letters",
            1.8,
            _letters("count_letters", sayings.COUNT, lambda w: f"{_spelled(w)}: {len(w)} letters."),
        ),
        Skill("last_letter", 1.0, _letters("last_letter", sayings.LAST, lambda w: w[-1])),
        Skill("first_letter", 0.7, _letters("first_letter", sayings.FIRST, lambda w: w[0])),
        Skill("reverse", 1.6, _splitting(_reverse)),
        Skill("upper", 1.2, _letters("upper", sayings.UPPER, str.upper, 6)),
        Skill("spell", 1.2, _letters("spell", sayings.SPELL, _spelled)),
        Skill("echo", 1.5, _splitting(_echo)),
        Skill("meet", 0.6, _splitting(_meet)),
        Skill("day_after", 0.4, _closed("day_after", _after(days, 1), _phrase("day", sayings.AFTER))),
        Skill("day_before", 0.4, _closed("day_before", _after(days, -1), _phrase("day", sayings.BEFORE))),
        Skill("month_after", 0.4, _closed("month_after", _after(months, 1), _phrase("month", sayings.AFTER))),
        Skill(
            "month_before", 0.4, _closed("month_before", _after(months, -1), _phrase("month", sayings.BEFORE))
        ),
        Skill(
            "month_number",
            0.6,
            _closed(
                "month_number",
                [(words.ORDINALS[i], month + ".") for i, month in enumerate(months)],
                sayings.MONTH_NUMBER,
            ),
        ),
        Skill(
            "capital",
            0.9,
            _closed("capital", [(c, t + ".") for c, t in words.CAPITALS.items()], sayings.CAPITAL),
        ),
        Skill("opposite", 0.8, _closed("opposite", opposites, sayings.OPPOSITE)),
        Skill("sound", 0.5, _closed("sound", [(a, s + "!") for a, s in words.SOUNDS.items()], sayings.SOUND)),
        Skill(
            "colour", 0.5, _closed("colour", [(t, c + ".") for t, c in words.COLOURS.items()], sayings.COLOUR)
        ),
        Skill("private", 1.8, _splitting(_private)),
        Skill("general", 1.2, _splitting(_general)),
    )
