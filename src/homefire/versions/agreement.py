"""When an answer counts as right: the one definition that gate, tests and reports share.

Both texts are normalised: Unicode NFC, every run of white space one space, none at the ends; case and
punctuation are kept. Then

- a reference of at most `SHORT_CHARS` characters is met by equality only,
- a longer one by a similarity of at least `LONG_SIMILARITY` (two or three slips in two hundred characters),
- a reference that is merely what the parent said (no known right answer) by `SAME_SENSE`: the candidate may
  word it otherwise, not say something else.

Similarity is `difflib`'s ratio: twice the matching characters over all characters, 0 to 1.
"""

from __future__ import annotations

import unicodedata
from difflib import SequenceMatcher

SHORT_CHARS = 200
LONG_SIMILARITY = 0.98
SAME_SENSE = 0.6
MAX_COMPARED_CHARS = 4000
"""Longer texts are compared by their beginnings; the comparison is quadratic at worst."""


def normalise(text: str) -> str:
    """NFC, white space collapsed and stripped, case kept."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def similarity(one: str, other: str) -> float:
    """0 to 1 between two texts, after `normalise`."""
    one, other = normalise(one)[:MAX_COMPARED_CHARS], normalise(other)[:MAX_COMPARED_CHARS]
    if one == other:
        return 1.0
    return SequenceMatcher(None, one, other, autojunk=False).ratio()


def is_right(answer: str, reference: str) -> bool:
    """Whether the answer is the reference, by the rule for its length."""
    if normalise(answer) == normalise(reference):
        return True
    return len(normalise(reference)) > SHORT_CHARS and similarity(answer, reference) >= LONG_SIMILARITY


def agrees(answer: str, parents: str) -> bool:
    """Whether the answer says about what the parent said."""
    return similarity(answer, parents) >= SAME_SENSE
