"""Whether an answer is text at all: what a model that was never trained, or was broken, says is none.

Heuristics with stated limits, no judgement of sense. A text is degenerate when

- it is one short piece over and over: its last `TAIL_CHARS` characters repeat with a period of at most
  `MAX_PERIOD_CHARS`; or, from `MIN_WORDS` words on, fewer than `MIN_DISTINCT` of its words are different ones;
- its characters carry almost nothing: from `MIN_ENTROPY_CHARS` on, less than `MIN_ENTROPY_BITS` bits each;
- more than `MAX_BROKEN_SHARE` of them are replacement characters or control characters.

A healthy model's list of sixty equal lines would count as degenerate; a fluent lie does not. Linear time.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Sequence

from homefire.versions.agreement import normalise

TAIL_CHARS = 60
MAX_PERIOD_CHARS = 20
MIN_WORDS = 12
MIN_DISTINCT = 0.25
MIN_ENTROPY_CHARS = 24
MIN_ENTROPY_BITS = 1.5
MAX_BROKEN_SHARE = 0.1
MIN_DISTINCT_ANSWERS = 0.5
"""Of the answers to different questions, at least so many must be different ones."""


def is_degenerate(text: str) -> bool:
    """Whether this is a stuck or broken model's output. An empty text is not."""
    shown = normalise(text)
    return _is_broken(shown) or _is_stuck(shown) or _says_nothing(shown)


def has_collapsed(answers: Sequence[str]) -> bool:
    """Whether a model gives few answers to many questions (the answers to at least four different ones)."""
    if len(answers) < 4:
        return False
    distinct = {normalise(answer).casefold() for answer in answers}
    return len(distinct) < MIN_DISTINCT_ANSWERS * len(answers)


def _is_broken(text: str) -> bool:
    broken = sum(
        character == "\ufffd" or unicodedata.category(character) in ("Cc", "Cn") for character in text
    )
    return broken > MAX_BROKEN_SHARE * len(text)


def _is_stuck(text: str) -> bool:
    tail = text[-TAIL_CHARS:]
    if len(tail) == TAIL_CHARS and any(
        tail[period:] == tail[:-period] for period in range(1, MAX_PERIOD_CHARS + 1)
    ):
        return True
    words = text.casefold().split(" ")
    return len(words) >= MIN_WORDS and len(set(words)) < MIN_DISTINCT * len(words)


def _says_nothing(text: str) -> bool:
    if len(text) < MIN_ENTROPY_CHARS:
        return False
    counts = Counter(text).values()
    bits = -sum(count / len(text) * math.log2(count / len(text)) for count in counts)
    return bits < MIN_ENTROPY_BITS
