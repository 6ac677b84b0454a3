"""When an answer counts as right: the one definition that gate, tests and reports share.

Both texts are normalised: Unicode NFC, every run of white space one space, none at the ends; case and
punctuation are kept. Then

- a reference of at most `SHORT_CHARS` characters is met by equality only;
- a longer one word by word: as many words, and at most one in fifty of them (one at least) misspelled by a single
  letter. Only a plain word may be: lower-case letters, four or more of them. A figure, a code, a name, a sign and a
  short word such as “not” must be exact, wherever in the text they are;
- a reference that is merely what a model said (no known right answer) is met in sense: the same figures in the same
  order, and six tenths of the pairs of neighbouring letters in common. Up to three words must be the same words.

All of it takes time linear in the length of the texts.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from itertools import pairwise

SHORT_CHARS = 200
MAX_SLIPS_SHARE = 0.02
"""Share of a long text's words that may be misspelled; one always may."""
MIN_PLAIN_LETTERS = 4
SAME_SENSE = 0.6
SHORT_WORDS = 3
_PLAIN = re.compile(r"\W*([^\W\d_]+)\W*")
_FIGURE = re.compile(r"\d+(?:[.,:]\d+)*")


def normalise(text: str) -> str:
    """NFC, white space collapsed and stripped, case kept."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def is_right(answer: str, reference: str) -> bool:
    """Whether the answer is the reference, by the rule for its length."""
    answer, reference = normalise(answer), normalise(reference)
    if answer == reference:
        return True
    if len(reference) <= SHORT_CHARS:
        return False
    given, wanted = answer.split(" "), reference.split(" ")
    if len(given) != len(wanted):
        return False
    wrong = [(one, other) for one, other in zip(given, wanted, strict=True) if one != other]
    allowed = max(1, int(MAX_SLIPS_SHARE * len(wanted)))
    return len(wrong) <= allowed and all(_is_slip(one, other) for one, other in wrong)


def similarity(one: str, other: str) -> float:
    """0 to 1: twice the pairs of neighbouring characters in common over all such pairs (Dice), case aside."""
    one, other = normalise(one).casefold(), normalise(other).casefold()
    if one == other:
        return 1.0
    pairs, others = Counter(pairwise(one)), Counter(pairwise(other))
    num_all = pairs.total() + others.total()
    return 2 * (pairs & others).total() / num_all if num_all else 0.0


def agrees(answer: str, other: str) -> bool:
    """Whether two answers say about the same."""
    if _FIGURE.findall(answer) != _FIGURE.findall(other):
        return False
    words, others = _words(answer), _words(other)
    if words == others:
        return bool(words) or normalise(answer) == normalise(other)
    if min(len(words), len(others)) <= SHORT_WORDS and max(len(words), len(others)) <= 2 * SHORT_WORDS:
        return False
    return similarity(answer, other) >= SAME_SENSE


def mentions(text: str, wanted: str) -> bool:
    """Whether these words occur in the text one after another, case and punctuation aside."""
    words, sought = _words(text), _words(wanted)
    return any(words[place : place + len(sought)] == sought for place in range(len(words) - len(sought) + 1))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", normalise(text).casefold())


def _is_slip(given: str, wanted: str) -> bool:
    """Whether two words are one plain word, misspelled by one letter; what is around it is the same."""
    found, meant = _PLAIN.fullmatch(given), _PLAIN.fullmatch(wanted)
    if found is None or meant is None:
        return False
    word, right = found.group(1), meant.group(1)
    around = given.replace(word, "", 1) == wanted.replace(right, "", 1)
    is_plain = right.islower() and right == right.lower() != right.upper() and len(right) >= MIN_PLAIN_LETTERS
    return around and is_plain and word.islower() and _is_one_edit(word, right)


def _is_one_edit(one: str, other: str) -> bool:
    """One letter replaced, left out, put in, or two neighbours swapped."""
    if len(one) > len(other):
        one, other = other, one
    if len(other) - len(one) > 1:
        return False
    place = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
    if len(one) < len(other):
        return one[place:] == other[place + 1 :]
    swapped = one[place : place + 2][::-1] == other[place : place + 2]
    return one[place + 1 :] == other[place + 1 :] or (swapped and one[place + 2 :] == other[place + 2 :])
