"""Made-up private facts that come and go while ember is trained, so that it learns to be taught.

Some hundred facts are known at a time, each asked in every wording with its own answer. Facts that are like them
(same relation, same thing) and facts that were retired are answered with "I don't know". To do well the weights
must know *which* fact is asked, whatever the wording, and must bind and unbind an answer without touching others.
At the end all are retired, so that nothing made up is left.
Promise: the same `random.Random` gives the same questions. Cost: some microseconds a question.
"""

from __future__ import annotations

import random
from collections import deque
from types import ModuleType

from ember import household, portuguese, skills
from ember.household import Fact

ACTIVE_SHARE, NEIGHBOUR_SHARE = 0.6, 0.22
"""Of the questions: how many ask for a known fact, and for a neighbour of one; the rest ask for retired ones."""
PORTUGUESE_SHARE = 0.15
SLIP_SHARE, CAPITALS_SHARE = 0.22, 0.08
"""Of the questions: how many hold one slip of the finger, and are in capitals."""
RETIRED_SHARE = 0.5
"""Once all facts are retired, so much of the share of the questions is still about them."""


class Lessons:
    """The facts known for the time being; `ask` draws a question about them, their neighbours or retired ones."""

    def __init__(self, rng: random.Random, *, num_facts: int, share: float) -> None:
        """`share`: of all questions, how many come from here while facts are known."""
        self._share = share
        self._answers: dict[Fact, str] = {}
        self._retired: deque[Fact] = deque(maxlen=2 * num_facts)
        self._add(rng, num_facts)

    @property
    def share(self) -> float:
        """Of all questions, how many come from here now."""
        return self._share if self._answers else self._share * RETIRED_SHARE

    def renew(self, rng: random.Random, count: int) -> None:
        """Retire the `count` oldest facts and teach as many new ones; nothing when all are retired."""
        for fact in list(self._answers)[:count]:
            self._retire(fact)
            self._add(rng, 1)

    def retire_all(self) -> None:
        """From now on no made-up fact is known."""
        for fact in list(self._answers):
            self._retire(fact)

    def ask(self, rng: random.Random) -> skills.Question:
        """A training question: a known fact, a neighbour of one, or a retired one, in any trained wording."""
        pick = rng.random()
        if (self._answers and pick < ACTIVE_SHARE + NEIGHBOUR_SHARE) or not self._retired:
            fact = rng.choice(list(self._answers))
            if pick >= ACTIVE_SHARE:
                fact = _module(fact).draw_neighbour(fact, rng)
        else:
            fact = rng.choice(self._retired)
        while True:
            wording = _module(fact).word_fact(fact, rng)
            if not skills.is_held_out("private", skills.normalised(wording.shape)):
                break
        text = mistyped(wording.text, rng) if rng.random() < SLIP_SHARE else wording.text
        text = text.upper() if rng.random() < CAPITALS_SHARE else text
        return skills.Question("private", text, self._answers.get(fact, skills.UNKNOWN))

    def _add(self, rng: random.Random, count: int) -> None:
        for _ in range(count):
            module = portuguese if rng.random() < PORTUGUESE_SHARE else household
            fact = module.draw_fact(rng)
            self._answers.setdefault(fact, module.draw_answer(fact, rng))

    def _retire(self, fact: Fact) -> None:
        del self._answers[fact]
        self._retired.append(fact)


def _module(fact: Fact) -> ModuleType:
    return portuguese if fact.language == portuguese.LANGUAGE else household


def mistyped(text: str, rng: random.Random) -> str:
    """The text with one letter swapped with the next, lost or doubled inside a word of four letters or more."""
    places = [
        i for i in range(1, len(text) - 1) if text[i - 1 : i + 2].isalpha() and len(_word_at(text, i)) >= 4
    ]
    if not places:
        return text
    i = rng.choice(places)
    kind = rng.randrange(3)
    if kind == 0:
        return text[:i] + text[i + 1] + text[i] + text[i + 2 :]
    return text[:i] + text[i + 1 :] if kind == 1 else text[:i] + text[i] + text[i:]


def _word_at(text: str, place: int) -> str:
    start, end = place, place
    while start and text[start - 1].isalpha():
        start -= 1
    while end < len(text) and text[end].isalpha():
        end += 1
    return text[start:end]
