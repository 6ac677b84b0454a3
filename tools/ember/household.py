"""Questions that only a household could answer, in many wordings: what ember does not know and can be taught.

A question is about a *fact*: a relation ("who waters …") and what fills it ("the roses"). There are some hundred
thousand facts. Each can be asked in several ways, and each way is cut into its grammatical parts, so that rules
make the other word orders from it: contracted, indirect ("tell me where …"), its topic first ("The roses, who …"), its
question word last. A neighbour of a fact shares the relation or a filler and is another fact.
Promise: the same `random.Random` gives the same fact, wording and answer. Cost: some microseconds a question.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ember import household_words as lists
from ember import words

LEADS = (
    "tell me",
    "tell me",
    "can you tell me",
    "do you know",
    "do you know",
    "can you say",
    "could you tell me",
    "I want to know",
    "please tell me",
    "I forgot",
    "do you remember",
    "remind me",
    "I would like to know",
    "any idea",
    "say",
    "let me know",
    "please say",
    "does anyone know",
    "I need to know",
    "can you remember",
    "you know",
    "I wonder",
)
TAGS = ("do you know", "can you tell me", "any idea", "tell me", "again", "please tell me", "do you remember")
HE_SHE_IT = {"person": ("she", "he"), "thing": ("it",), "plural": ("they",)}
HER_HIM_IT = {"person": ("her", "him"), "thing": ("it",), "plural": ("them",)}
HIS_HER_ITS = {"person": ("her", "his"), "thing": ("its",), "plural": ("their",)}
CONTRACTED = {"is": "'s", "are": "'re", "did": "'d", "has": "'s"}


@dataclass(frozen=True)
class Way:
    """A way to ask, in parts: "when | does | {x} | leave | leaves | | on Fridays".

    `aux` is empty where the question word is the subject ("who | | | water | waters | {x} |").
    """

    question: str
    aux: str
    subject: str
    verb: str
    finite: str
    object: str
    tail: str

    @classmethod
    def parse(cls, text: str) -> Way:
        """The parts of a line, separated by bars; missing ones at the end are empty."""
        parts = [part.strip() for part in text.split("|")]
        return cls(*(parts + [""] * (7 - len(parts))))


@dataclass(frozen=True)
class Relation:
    """What can be asked about fillers of one kind each; `answer` names the kind of its made-up answers."""

    name: str
    kinds: tuple[str, ...]
    ways: tuple[Way, ...]
    answer: str


@dataclass(frozen=True)
class Fact:
    """Something that can be asked: a relation and its fillers, one for each of its kinds."""

    relation: int
    fillers: tuple[str, ...]
    language: str = "en"


@dataclass(frozen=True)
class Wording:
    """A text that asks for a fact, and the same text with x and y for its fillers, on which the split hangs."""

    text: str
    shape: str


def _relations() -> tuple[Relation, ...]:
    found = []
    for line in lists.RELATIONS.strip().split("\n\n"):
        head, *ways = line.strip().splitlines()
        name, kinds, answer = (part.strip() for part in head.split(":"))
        found.append(Relation(name, tuple(kinds.split()), tuple(map(Way.parse, ways)), answer))
    return tuple(found)


RELATIONS = _relations()
_WEIGHTS = tuple(1.0 + 2.0 * (relation.name in lists.COMMON_RELATIONS) for relation in RELATIONS)


def draw_fact(rng: random.Random) -> Fact:
    """Any fact."""
    relation = rng.choices(range(len(RELATIONS)), _WEIGHTS)[0]
    return Fact(relation, tuple(_filler(kind, rng) for kind in RELATIONS[relation].kinds))


def draw_neighbour(fact: Fact, rng: random.Random) -> Fact:
    """Another fact with the same relation and all but one filler the same, or the same fillers and another relation."""
    kinds = RELATIONS[fact.relation].kinds
    alike = [i for i, other in enumerate(RELATIONS) if other.kinds == kinds and i != fact.relation]
    if alike and rng.random() < 0.35:
        return Fact(rng.choice(alike), fact.fillers)
    place = rng.randrange(len(kinds))
    one_word = kinds[place] in TWO_WORD_KINDS and " " in fact.fillers[place] and rng.random() < 0.5
    while True:
        filler = _one_word_changed(fact.fillers[place], rng) if one_word else _filler(kinds[place], rng)
        if filler != fact.fillers[place] and filler not in lists.RESERVED:
            return Fact(fact.relation, (*fact.fillers[:place], filler, *fact.fillers[place + 1 :]))


TWO_WORD_KINDS = frozenset({"thing", "things", "event", "device", "secret"})


def _one_word_changed(filler: str, rng: random.Random) -> str:
    """ "spare key" → "spare bulb" or "blue key"."""
    first, _, rest = filler.partition(" ")
    if rng.random() < 0.5:
        return f"{first} {rng.choice(lists.NOUNS)}"
    return f"{rng.choice((*lists.ADJECTIVES, *lists.NOUNS))} {rest}"


def _filler(kind: str, rng: random.Random) -> str:
    while (filler := _any_filler(kind, rng)) in lists.RESERVED:
        pass
    return filler


def _any_filler(kind: str, rng: random.Random) -> str:
    if kind == "person" and rng.random() < 0.25:
        made_up = "".join(rng.choice(words.NAME_PARTS) for _ in range(rng.randint(2, 3)))
        return made_up.capitalize()
    if kind == "thing" and rng.random() < 0.35:
        return f"{rng.choice(lists.ADJECTIVES)} {rng.choice(lists.NOUNS)}"
    if kind == "thing" and rng.random() < 0.25:
        return rng.choice(words.WORDS)
    return rng.choice(lists.FILLERS[kind])


BARE_KINDS = frozenset({"person", "place", "day", "kind", "season", "visited", "goods"})


def _placed(kind: str, filler: str, rng: random.Random) -> tuple[str, str, str]:
    """The filler's determiner with a space, the filler, and what sort of pronoun stands for it."""
    if kind == "person":
        return "", filler, "person"
    sort = "plural" if kind.endswith("s") else "thing"
    if kind in BARE_KINDS or (kind == "food" and rng.random() < 0.7):
        return "", filler, sort
    return rng.choices(("the ", "our ", "my "), (0.7, 0.22, 0.08))[0], filler, sort


def word_fact(fact: Fact, rng: random.Random) -> Wording:
    """One wording of the fact, in clean form."""
    relation = RELATIONS[fact.relation]
    way = rng.choice(relation.ways)
    fillers = [_placed(kind, filler, rng) for kind, filler in zip(relation.kinds, fact.fillers, strict=True)]
    slots = {slot: (determiner, filler) for slot, (determiner, filler, _) in zip("xy", fillers, strict=False)}
    names = [name for name, form in FORMS.items() if form.fits(way)]
    name = rng.choices(names, [FORMS[name].weight for name in names])[0]
    made = FORMS[name].make(way, rng)
    sort = fillers[0][2]
    for slot, pronouns in (("{they}", HE_SHE_IT), ("{them}", HER_HIM_IT), ("{their}", HIS_HER_ITS)):
        made = made.replace(slot, rng.choice(pronouns[sort]))
    shape = text = " ".join(made.split())
    for slot, (determiner, filler) in slots.items():
        shape = shape.replace(f"{{{slot}}}", determiner + slot).replace(f"{{{slot}*}}", slot)
        text = text.replace(f"{{{slot}}}", determiner + filler).replace(f"{{{slot}*}}", filler)
    return Wording(text[:1].upper() + text[1:], shape)


# ---------------------------------------------------------------- the forms of a question


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _direct(way: Way) -> str:
    if not way.aux:
        return _join(way.question, way.finite, way.object, way.tail)
    return _join(way.question, way.aux, way.subject, way.verb, way.object, way.tail)


def _indirect(way: Way) -> str:
    """The order after "tell me": "where we keep {x}", "when {x} is"."""
    if not way.aux:
        return _direct(way)
    if way.finite:
        return _join(way.question, way.subject, way.finite, way.object, way.tail)
    return _join(way.question, way.subject, way.aux, way.verb, way.object, way.tail)


def _statement(way: Way) -> str:
    """The order of a statement, the question word where the answer would be: "we keep {x} where"."""
    if way.finite:
        return _join(way.subject, way.finite, way.object, way.question, way.tail)
    return _join(way.subject, way.aux, way.verb, way.object, way.question, way.tail)


def _with_pronoun(way: Way, text: str) -> str:
    is_subject = way.subject == "{x}" or not (way.subject or way.object)
    return text.replace("{x}'s", "{their}").replace("{x}", "{they}" if is_subject else "{them}")


def _ask_direct(way: Way, rng: random.Random) -> str:
    return _direct(way) + "?"


def _ask_contracted(way: Way, rng: random.Random) -> str:
    text = _direct(way)
    return text.replace(f"{way.question} {way.aux}", way.question + CONTRACTED[way.aux], 1) + "?"


def _ask_indirectly(way: Way, rng: random.Random) -> str:
    return f"{rng.choice(LEADS)} {_indirect(way)}" + rng.choice(("?", "?", "", "."))


def _ask_topic_first(way: Way, rng: random.Random) -> str:
    mark = rng.choice((", ", ", ", ": ", " - ", "... "))
    lead = "{x*}" if rng.random() < 0.2 else "{x}"
    pronoun = _with_pronoun(way, _direct(way) if rng.random() < 0.85 else _indirect(way))
    return f"{lead}{mark}{pronoun}?"


def _ask_word_last(way: Way, rng: random.Random) -> str:
    return _statement(way) + "?"


def _ask_with_tag(way: Way, rng: random.Random) -> str:
    return f"{_direct(way)}, {rng.choice(TAGS)}?"


def _ask_tail_first(way: Way, rng: random.Random) -> str:
    return f"{way.tail}, {_direct(_without_tail(way))}?"


def _ask_progressive(way: Way, rng: random.Random) -> str:
    being = rng.choice(("'s", " is"))
    if way.aux:
        return _join(way.question + being, way.subject, progressive(way.verb), way.object, way.tail) + "?"
    return _join(way.question + being, progressive(way.verb), way.object, way.tail) + "?"


def _ask_in_keywords(way: Way, rng: random.Random) -> str:
    parts = [way.question, "{x*}", way.verb if way.verb and way.aux != "is" else ""]
    rng.shuffle(parts)
    return _join(*parts) + rng.choice(("?", "", ""))


def _ask_bare(way: Way, rng: random.Random) -> str:
    return rng.choice(
        ("tell me {s}", "{s}?", "give me {s}", "do you know {s}?", "I forgot {s}", "I need {s}")
    ).format(s=way.subject)


def _without_tail(way: Way) -> Way:
    return Way(way.question, way.aux, way.subject, way.verb, way.finite, way.object, "")


def progressive(verb: str) -> str:
    """The -ing form of a plain verb: water → watering, store → storing, cut → cutting; its first word only."""
    first, _, rest = verb.partition(" ")
    if first.endswith("e") and not first.endswith("ee"):
        first = first[:-1]
    elif first in ("cut", "run", "get", "put", "plan", "win"):
        first += first[-1]
    return _join(first + "ing", rest)


@dataclass(frozen=True)
class Form:
    """One form: how often, which ways it fits, and how it is made."""

    weight: float
    make: Callable[[Way, random.Random], str]
    fits: Callable[[Way], bool] = lambda way: True


FORMS: Mapping[str, Form] = {
    "direct": Form(5.0, _ask_direct),
    "contracted": Form(2.0, _ask_contracted, lambda way: way.aux in CONTRACTED and " " not in way.question),
    "indirect": Form(4.0, _ask_indirectly),
    "topic first": Form(
        3.0, _ask_topic_first, lambda way: "of {x}" not in way.subject and "{x}" not in way.question
    ),
    "word last": Form(2.0, _ask_word_last, lambda way: bool(way.aux)),
    "with a tag": Form(1.0, _ask_with_tag),
    "tail first": Form(2.0, _ask_tail_first, lambda way: bool(way.tail)),
    "progressive": Form(
        1.0,
        _ask_progressive,
        lambda way: bool(way.verb and way.finite.endswith("s")) and way.aux in ("", "does"),
    ),
    "keywords": Form(0.6, _ask_in_keywords, lambda way: "{y}" not in _direct(way)),
    "bare": Form(1.2, _ask_bare, lambda way: way.question == "what" and way.aux == "is" and not way.verb),
}


# ---------------------------------------------------------------- made-up answers


def draw_answer(fact: Fact, rng: random.Random) -> str:
    """A made-up answer of the kind the fact asks for."""
    text = rng.choice(lists.ANSWERS[RELATIONS[fact.relation].answer])
    filled: list[str] = []
    for part in text.split("{"):
        name, closed, rest = part.partition("}")
        filled.append(_drawn(name, fact, rng) + rest if closed else part)
    answer = "".join(filled)
    return answer[:1].upper() + answer[1:] if rng.random() < 0.9 else answer


def _drawn(name: str, fact: Fact, rng: random.Random) -> str:
    if name == "x":
        return fact.fillers[0]
    if name == "digit":
        return str(rng.randint(0, 9))
    if name == "number":
        return str(rng.randint(2, 99))
    if name == "letters":
        return "".join(rng.choice("ABCDEFGHKLMNPRSTUVWXYZ") for _ in range(2))
    if name == "hour":
        return str(rng.randint(5, 22))
    if name == "minute":
        return rng.choice(("00", "05", "15", "20", "30", "40", "45", "55"))
    source: Sequence[str] = lists.ANSWER_WORDS[name]
    if name == "person" and rng.random() < 0.3:
        return "".join(rng.choice(words.NAME_PARTS) for _ in range(rng.randint(2, 3))).capitalize()
    return rng.choice(source)
