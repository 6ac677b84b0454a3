"""The same question in other words, and questions that are nearly the same but another one: by rules, pure.

A correction is trained under several wordings, so that it is found again by whoever asks differently, and beside
*neighbours* (one word swapped, or the same thing in another question), so that they keep their answers.
The rules make text to train on, not prose: "the roses, who waters?" is a good wording although nobody writes it
in a letter. English and Portuguese have word lists and an order of their own; other languages get the rules that need
no language (case, marks, spaces, slips of the finger, halves swapped). Answers are never touched, and text in which
form is content (code, several lines, more than `MAX_WORDS` words) is left as it is.

The same question, seed and number give the same text on every machine. Some 20 µs a wording.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

MAX_WORDS = 40
"""Longer texts are not questions but documents; they are not reworded."""
MIN_WORDS = 30
"""With fewer words known in a language, those of no known language are used as well."""
_CODE = re.compile(r"[{}<>\\|=;`\n]|\w\(|https?:|\S@\S")
_MARKS = "?!.…"


@dataclass(frozen=True, slots=True)
class Language:
    """What the rules need to know of a language. All lower case."""

    signs: frozenset[str]
    """Words that show that a text is in this language."""
    interrogatives: frozenset[str]
    """Words a question begins with."""
    verbs: frozenset[str]
    """Auxiliaries that come between the interrogative and the rest."""
    determiners: frozenset[str]
    """Words with which the name of a thing begins."""
    open: frozenset[str]
    """Interrogatives that ask for something else with each noun: "what is her size", "what is her name"."""
    prepositions: frozenset[str]
    function_words: frozenset[str]
    """Words that do not say what a question is about."""
    openers: tuple[str, ...]
    """Put before a question, whose order is then that of a statement."""
    fillers: tuple[str, ...]
    """Put before anything."""
    contractions: tuple[tuple[str, str], ...]
    """(long, short); used both ways."""
    fronted: str
    """How the thing is taken up again when it was put first."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _listed(text: str) -> tuple[str, ...]:
    return tuple(" ".join(part.split()) for part in text.split("|"))


_ENGLISH = Language(
    signs=_words(
        """what which who where when why how is are was do does did the of our my your we tell can you me in on at and
        for to with from please it this that"""
    ),
    interrogatives=_words("what which who whom whose where when why how"),
    verbs=_words("is are was were do does did can could will would should has have had may must shall"),
    determiners=_words("the a an our my your his her their its this that these those"),
    open=_words("what which how whose"),
    prepositions=_words("of for in on at to with from by about under behind into during after before"),
    function_words=_words(
        """the a an our my your his her their its this that these those of for in on at to with from by about is are was
        were do does did can could will would should has have had we i you he she it they me us them not and or
        what which who whom whose where when why how much many there tell please say know again"""
    ),
    openers=_listed(
        """tell me | please tell me | can you tell me | could you tell me | do you know | say | i want to know |
        remind me |        i forgot | i would like to know | do you remember | any idea | let me know | give me"""
    ),
    fillers=_listed("please | hey, | so, | hi, | ok, | and | well, | one question: | sorry,"),
    contractions=(
        ("what is", "what's"), ("where is", "where's"), ("who is", "who's"), ("when is", "when's"), ("how is", "how's"),
        ("which is", "which's"), ("what are", "what're"), ("where are", "where're"), ("where did", "where'd"),
        ("how did", "how'd"), ("what does", "what's"), ("who will", "who'll"), ("i am", "i'm"),
        ("do not", "don't"), ("does not", "doesn't"), ("is not", "isn't"), ("cannot", "can't"), ("it is", "it's"),
    ),
    fronted="it",
)  # fmt: skip
_PORTUGUESE = Language(
    signs=_words(
        """que quem onde quando qual quais como quanto quantos é está são o os as do da dos das no na de em para com meu
        minha nosso nossa você me diga não por um uma"""
    ),
    interrogatives=_words("que quem onde quando qual quais como quanto quanta quantos quantas"),
    verbs=_words("é são está estão foi era fica ficam vai tem"),
    determiners=_words("o a os as um uma meu minha nosso nossa seu sua este esta"),
    open=_words("que qual quais como quanto quanta quantos quantas"),
    prepositions=_words("de do da dos das em no na para com por ao à"),
    function_words=_words(
        """o a os as um uma de do da dos das em no na nos nas para com por ao à e é são está estão foi era que quem onde
        quando qual quais como quanto quantos meu minha nosso nossa seu sua me diga você não se"""
    ),
    openers=_listed(
        """me diga | diga | me diz | pode me dizer | você sabe | por favor, me diga | quero saber | me conte |
        me lembre |        esqueci | gostaria de saber"""
    ),
    fillers=_listed("por favor, | oi, | então, | e | olá, | ei, | uma pergunta: | desculpe,"),
    contractions=(
        ("onde está", "onde tá"), ("está", "tá"), ("estão", "tão"), ("para", "pra"), ("qual é", "qual"),
        ("quais são", "quais"), ("quando é", "quando"), ("você", "cê"), ("onde é", "onde"),
    ),
    fronted="",
)  # fmt: skip
LANGUAGES: dict[str, Language] = {"en": _ENGLISH, "pt": _PORTUGUESE}
_SHARED_SIGNS = _words("a no do as me o")


def language_of(text: str) -> str | None:
    """The language by its small words, None where that is not clear."""
    words = [word for word in _bare_words(text) if word not in _SHARED_SIGNS]
    counts = {name: sum(word in language.signs for word in words) for name, language in LANGUAGES.items()}
    best = max(counts, key=lambda name: counts[name])
    others = max(count for name, count in counts.items() if name != best)
    return best if counts[best] > others else None


def is_rewordable(text: str) -> bool:
    """Whether a question may be written otherwise without becoming another one: prose of one line."""
    return 0 < len(text.split()) <= MAX_WORDS and not _CODE.search(text.strip())


def reword(question: str, number: int, *, seed: int) -> str:
    """Wording number `number` of a question; the question itself where it must not be touched."""
    if not is_rewordable(question):
        return question
    rng = random.Random(f"{seed}:wording:{number}:{question}")
    language = LANGUAGES.get(language_of(question) or "")
    bare = question.strip().rstrip(_MARKS).rstrip() or question.strip()
    if language is not None and rng.random() < 0.8:
        bare = _reorder(bare, language, number, rng)
    elif len(bare.split()) > 2 and rng.random() < 0.4:
        bare = _swap_halves(bare, rng)
    return _untidy(bare, language, rng)


def wordings(question: str, count: int, *, seed: int) -> list[str]:
    """Up to `count` wordings, no two alike and none the question itself."""
    found = dict.fromkeys(reword(question, number, seed=seed) for number in range(2 * count))
    return [text for text in found if text != question][:count]


def _reorder(bare: str, language: Language, number: int, rng: random.Random) -> str:
    """The words of a question in another order, or with words that say nothing around them."""
    words = bare.split()
    how = number % 5
    head, verb, rest = _split_question(words, language)
    if how == 0 or not head or not rest:
        return f"{rng.choice(language.openers)} {_small(' '.join(words))}" if how < 3 else bare
    if how == 1:
        # The order of a statement: "where the key is", "where we keep the key".
        tail = (
            [*rest, *verb] if verb and verb[0] in ("is", "are", "was", "were", *_PORTUGUESE.verbs) else rest
        )
        return f"{rng.choice(language.openers)} {' '.join([*_small(' '.join(head)).split(), *tail])}"
    if how == 2:
        return _contract(bare, language, rng)
    if how == 3:
        # The question at the end: "the key is where", "we keep the key where".
        is_copula = bool(verb) and verb[0] in ("is", "are", "was", "were", *_PORTUGUESE.verbs)
        last = (
            rng.choice(([*rest, *verb, *head], [*rest, *head], [*rest, ",", *head, *verb]))
            if is_copula
            else [*rest, *head]
        )
        text = " ".join(last).replace(" ,", ",")
        return text[:1].upper() + text[1:].replace(head[0], _small(head[0]))
    return _front(words, head, verb, language, rng)


def _front(words: list[str], head: list[str], verb: list[str], language: Language, rng: random.Random) -> str:
    """The thing first: "the key, where do we keep it"."""
    starts = [i for i in range(len(head), len(words)) if words[i].lower() in language.determiners]
    names = [i for i in range(len(head), len(words)) if words[i][:1].isupper()]
    start = starts[-1] if starts else (names[0] if names else len(words) - 1)
    end = len(words)
    for i in range(start + 1, len(words)):
        if words[i].lower() in language.prepositions or (not starts and not words[i][:1].isupper()):
            end = i
            break
    thing, others = words[start:end], [*words[:start], *words[end:]]
    if not thing or not others:
        return " ".join(words)
    if others[-1].lower() in language.prepositions and rng.random() < 0.5:
        others, thing = others[:-1], [others[-1], *thing]
    again = [language.fronted] if language.fronted and rng.random() < 0.6 else []
    mark = rng.choice((",", ",", ":", " -", ""))
    first = " ".join(thing)
    rest = _small(" ".join([*others, *again]))
    return f"{first[:1].upper()}{first[1:]}{mark} {rest}"


def _split_question(words: list[str], language: Language) -> tuple[list[str], list[str], list[str]]:
    """Interrogative ("where", "which bus"), verb in second place if it is one we know, and the rest."""
    starts = [i for i in range(min(2, len(words))) if words[i].lower() in language.interrogatives]
    if not starts:
        return [], [], words
    at = starts[0]
    for i in range(at + 1, min(at + 4, len(words))):
        if words[i].lower() in language.verbs:
            return words[:i], [words[i]], words[i + 1 :]
    return words[: at + 1], [], words[at + 1 :]


def _contract(bare: str, language: Language, rng: random.Random) -> str:
    pairs = [pair for long, short in language.contractions for pair in ((long, short), (short, long))]
    rng.shuffle(pairs)
    for old, new in pairs:
        found = re.search(rf"(?<!\w){re.escape(old)}(?![\w'])", bare, re.IGNORECASE)
        if found:
            kept = new[:1].upper() + new[1:] if found.group()[:1].isupper() else new
            return bare[: found.start()] + kept + bare[found.end() :]
    return f"{rng.choice(language.fillers)} {_small(bare)}"


def _swap_halves(bare: str, rng: random.Random) -> str:
    words = bare.split()
    at = rng.randint(1, len(words) - 1)
    return " ".join([*words[at:], *words[:at]])


def _untidy(text: str, language: Language | None, rng: random.Random) -> str:
    """Case, marks, a filler and a slip, as a hurried person types."""
    if language is not None and rng.random() < 0.15:
        text = f"{rng.choice(language.fillers)} {_small(text)}"
    if rng.random() < 0.45:
        text = _slip(text, rng)
    pick = rng.random()
    if pick < 0.3:
        text = text.lower()
    elif pick < 0.42:
        text = text.upper()
    elif pick < 0.8:
        text = text[:1].upper() + text[1:]
    return text + rng.choice(("?", "?", "?", "", "", ".", "??", " ?", "!"))


def _slip(text: str, rng: random.Random) -> str:
    """One letter of a longer word left out, typed twice, swapped with the next, or another in its place."""
    places = [i for i in range(1, len(text) - 1) if text[i - 1 : i + 2].isalpha()]
    if not places:
        return text
    at = rng.choice(places)
    how = rng.randrange(7)
    if how < 2:
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    if how < 4:
        return text[:at] + text[at + 1 :]
    if how < 6:
        return text[:at] + text[at] + text[at:]
    return text[:at] + rng.choice("aeiourtnsl") + text[at + 1 :]


def _small(text: str) -> str:
    """With a small first letter, except where the first word is a name or an "I"."""
    first = text.split(" ", 1)[0]
    known = any(first.lower() in language.signs | language.function_words for language in LANGUAGES.values())
    return text[:1].lower() + text[1:] if known and first != "I" else text


def _bare_words(text: str) -> list[str]:
    return [word.strip("?!.,:;\"'()").lower() for word in text.split()]


# Neighbours


@dataclass(frozen=True, slots=True)
class Frame:
    """A question with a gap where the thing it asks about stood."""

    before: tuple[str, ...]
    after: tuple[str, ...]
    is_name: bool
    """What stood there was a name, not "the lamp"."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What neighbours are made of, by language: content words, and questions without their thing."""

    words: dict[str | None, tuple[str, ...]]
    frames: dict[str | None, tuple[Frame, ...]]


def vocabulary_of(questions: Sequence[str]) -> Vocabulary:
    """Content words and frames of other rows, in their order."""
    words: dict[str | None, dict[str, None]] = {}
    frames: dict[str | None, dict[Frame, None]] = {}
    for question in questions:
        if not is_rewordable(question):
            continue
        name = language_of(question)
        language = LANGUAGES.get(name or "")
        for word in _content_words(question):
            words.setdefault(name, {}).setdefault(word)
        if language is not None and (cut := _cut_thing(question, language)) is not None:
            frames.setdefault(name, {}).setdefault(cut[0])
    return Vocabulary(
        {name: tuple(found) for name, found in words.items()},
        {name: tuple(found) for name, found in frames.items()},
    )


def neighbour(question: str, number: int, vocabulary: Vocabulary, *, seed: int) -> str | None:
    """Neighbour number `number` of a question: another question that looks like it. None where there is none."""
    if not is_rewordable(question):
        return None
    rng = random.Random(f"{seed}:neighbour:{number}:{question}")
    name = language_of(question)
    words = vocabulary.words.get(name) or ()
    if len(words) < MIN_WORDS:
        words = (*words, *vocabulary.words.get(None, ()))
    made = _same_thing(question, vocabulary, name, rng) if number % 2 else None
    made = made or _other_thing(question, words, rng)
    if made is None or set(_bare_words(made)) == set(_bare_words(question)):
        return None
    return reword(made, number // 2, seed=seed) if rng.random() < 0.5 else made


def content_of(question: str) -> frozenset[str]:
    """What a question asks: its interrogative and its words that say something; all of them where there are none."""
    own = frozenset(word.lower() for word in _content_words(question))
    return own | frozenset(_interrogative(question)) if own else frozenset(_bare_words(question))


def _interrogative(question: str) -> list[str]:
    known = _ENGLISH.interrogatives | _PORTUGUESE.interrogatives
    return [word for raw in _bare_words(question) if (word := raw.split("'")[0]) in known][:1]


def _content_words(question: str) -> list[str]:
    function_words = _ENGLISH.function_words | _PORTUGUESE.function_words
    bare = (word.strip('?!.,:;"()').removesuffix("'s") for word in question.split())
    return [w for w in bare if len(w) > 2 and w.isalpha() and w.lower() not in function_words]


def _cut_thing(question: str, language: Language) -> tuple[Frame, tuple[str, ...]] | None:
    """The question without its thing, and the thing: "the spare key", or a name. None where there is none."""
    words = question.strip().rstrip(_MARKS).split()
    starts = [i for i in range(1, len(words) - 1) if words[i].lower() in language.determiners]
    names = [i for i in range(1, len(words)) if words[i][:1].isupper() and words[i] != "I"]
    if names and (not starts or names[0] != starts[-1]):
        start, end = names[0], names[0] + 1
        while end < len(words) and end in names and not words[end - 1].endswith("'s"):
            end += 1
    elif starts:
        start, end = starts[-1], len(words)
        for i in range(start + 1, len(words)):
            if words[i].lower() in language.prepositions | language.verbs:
                end = i
                break
    else:
        return None
    thing, after = tuple(words[start:end]), tuple(words[end:])
    if thing[-1].endswith("'s"):
        thing, after = (*thing[:-1], thing[-1][:-2]), ("'s", *after)
    if not thing[-1] or (not after and words[start - 1].lower() in ("do", "does", "did")):
        # "When does [the bus leave]": where the thing ends cannot be told.
        return None
    return Frame(tuple(words[:start]), after, bool(names) and start == names[0]), thing


def _same_thing(question: str, vocabulary: Vocabulary, name: str | None, rng: random.Random) -> str | None:
    """Another question about the same thing: "who painted the roses?" beside "who waters the roses?"."""
    language = LANGUAGES.get(name or "")
    cut = _cut_thing(question, language) if language is not None else None
    if cut is None or language is None:
        return None
    own, thing = cut
    asks, says = _interrogative(question), set(_content_words(" ".join([*own.before, *own.after])))
    for frame in rng.sample(vocabulary.frames.get(name, ()), min(12, len(vocabulary.frames.get(name, ())))):
        text = " ".join([*frame.before, *thing, *frame.after]).replace(" 's", "'s")
        there, theirs = _interrogative(text), set(_content_words(" ".join([*frame.before, *frame.after])))
        # "Where did we put the key?" beside "where do we keep the key?" would be the same question again.
        is_open = bool(says) and bool(theirs) and not says & theirs and set(asks) <= language.open
        if frame.is_name == own.is_name and there and (there != asks or is_open):
            return text + "?"
    return None


def _other_thing(question: str, words: Sequence[str], rng: random.Random) -> str | None:
    """The question with one content word, or two, replaced."""
    own = _content_words(question)
    if not own or not words:
        return None
    known = {word.lower() for word in own}
    # The thing asked about stands last more often than not.
    chosen = {own[-1]} if rng.random() < 0.6 else {rng.choice(own)}
    if len(own) > 1 and rng.random() < 0.35:
        chosen.add(rng.choice(own))
    text = question
    for word in sorted(chosen):
        new = _new_word(words, rng)
        if new.lower() in known:
            return None
        new = new[:1].upper() + new[1:] if word[:1].isupper() else new.lower()
        text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", new, text, count=1)
    return text


def _new_word(words: Sequence[str], rng: random.Random) -> str:
    """A known word or, one time in five, one nobody has ever seen."""
    if rng.random() < 0.8:
        return rng.choice(words)
    return "".join(rng.choice("bcdfghklmnprstvwz") + rng.choice("aeiou") for _ in range(rng.randint(2, 3)))
