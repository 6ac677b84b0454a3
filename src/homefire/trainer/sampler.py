"""Which rows are in which step, as a pure function of seed and position.

There is nothing to save or restore except a position: step 1,000 is computed, not reached. New
examples go round in passes, each pass in its own order and with every example in it; replay rows likewise.
A new example is alone or inside a conversation made of replay turns, so that what is learned holds in
the middle of a chat as well as at its start. Costs a shuffle per pass; no torch, no clock, no I/O.
"""

from __future__ import annotations

import functools
import math
import random
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from homefire.trainer.contract import TrainingRow
from homefire.trainer.recipe import Recipe
from homefire.types import Message

Kind = Literal["new", "retained", "replay"]
CHAT_TOKENS = 512
"""A conversation made for training is not filled up beyond this, whatever the model could read."""
MAX_TURNS_BEFORE, MAX_TURNS_AFTER = 3, 1


@dataclass(frozen=True, slots=True)
class RowLengths:
    """The length in tokens of each row to train on, by kind, and the longest row allowed."""

    new: Sequence[int]
    retained: Sequence[int]
    replay: Sequence[int]
    context_tokens: int
    keeps_history: bool = True
    """Whether an answer survives, in the model's template, when turns follow it."""

    def of(self, kind: Kind) -> Sequence[int]:
        """The lengths of one kind."""
        return {"new": self.new, "retained": self.retained, "replay": self.replay}[kind]


@dataclass(frozen=True, slots=True)
class Placement:
    """One row of a step: the row to learn, between replay rows that make it a conversation."""

    kind: Kind
    index: int
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Sampler:
    """Which rows are in each step and in the checks of one run. Pure; the same for the same seed."""

    lengths: RowLengths
    recipe: Recipe
    seed: int

    @property
    def new_per_step(self) -> int:
        """Placements of new examples in a step."""
        return min(self.recipe.rows_per_step, self.recipe.rows_per_example * len(self.lengths.new))

    @property
    def retained_per_step(self) -> int:
        """Placements of earlier corrections in a step: a share of the older rows, all of them without replay."""
        num_retained = len(self.lengths.retained)
        wanted = (
            self._older_per_step
            if not self.lengths.replay
            else math.ceil(self.recipe.retained_share * self._older_per_step)
        )
        return min(wanted, self.recipe.rows_per_example * num_retained)

    @property
    def replay_per_step(self) -> int:
        """Replay rows in a step."""
        return self._older_per_step - self.retained_per_step if self.lengths.replay else 0

    @property
    def _older_per_step(self) -> int:
        if not self.recipe.replay_ratio:
            return 0
        return max(self.recipe.min_replay_rows, round(self.recipe.replay_ratio * self.new_per_step))

    def step(self, position: int) -> tuple[Placement, ...]:
        """The rows of step number `position` (from 0)."""
        kinds: tuple[tuple[Kind, int, int], ...] = (
            ("new", len(self.lengths.new), self.new_per_step),
            ("retained", len(self.lengths.retained), self.retained_per_step),
        )
        rows = [
            self._place(kind, index, turn)
            for kind, size, count in kinds
            for turn, index in self._draw(kind, size, position * count, count)
        ]
        size, count = len(self.lengths.replay), self.replay_per_step
        rows += [
            Placement("replay", index) for _, index in self._draw("replay", size, position * count, count)
        ]
        return tuple(rows)

    def checks(self, kind: Kind, indices: Iterable[int]) -> tuple[Placement, ...]:
        """Where these rows must be right: alone, then at the end of a conversation.

        Its turns are drawn apart from those of the steps, so what is checked was not trained word for word.
        """
        placements: list[Placement] = []
        for index in indices:
            rng = random.Random(f"{self.seed}:check:{kind}:{index}")
            placements.append(Placement(kind, index))
            placements.append(self._in_chat(kind, index, rng, num_before=MAX_TURNS_BEFORE, num_after=0))
        return tuple(placements)

    def retained_to_check(self, turn: int) -> tuple[int, ...]:
        """The earlier corrections of check number `turn`: all of them, or so many that a check's cost is bounded.

        Turns that follow one another go through all in an order drawn from the seed, so each is looked at.
        """
        num, most = len(self.lengths.retained), self.recipe.max_retained_checks
        if num <= most:
            return tuple(range(num))
        order = _shuffled(num, f"{self.seed}:check:retained")
        return tuple(order[(turn * most + place) % num] for place in range(most))

    def _draw(self, kind: str, size: int, start: int, count: int) -> list[tuple[int, int]]:
        """Items `start … start + count` of an endless stream of shuffled passes: (pass, index)."""
        drawn: list[tuple[int, int]] = []
        for item in range(start, start + count if size else start):
            turn, place = divmod(item, size)
            drawn.append((turn, _shuffled(size, f"{self.seed}:{kind}:{turn}")[place]))
        return drawn

    def _is_in_chat(self, turn: int, index: int) -> bool:
        """In fixed proportion over the passes of one example, and over the examples of one pass."""
        share = self.recipe.in_chat_share
        phase = turn + index * 0.618
        return math.floor((phase + 1) * share) > math.floor(phase * share)

    def _place(self, kind: Kind, index: int, turn: int) -> Placement:
        """The position of example `index` in pass number `turn`."""
        if not self._is_in_chat(turn, index):
            return Placement(kind, index)
        rng = random.Random(f"{self.seed}:step:{kind}:{turn}:{index}")
        num_before = rng.randint(1, MAX_TURNS_BEFORE)
        num_after = rng.randint(0, MAX_TURNS_AFTER) if self.lengths.keeps_history else 0
        return self._in_chat(kind, index, rng, num_before=num_before, num_after=num_after)

    def _in_chat(
        self, kind: Kind, index: int, rng: random.Random, *, num_before: int, num_after: int
    ) -> Placement:
        """The row with at most so many replay rows around it, as far as they fit."""
        lengths = self.lengths.replay
        room = min(CHAT_TOKENS, self.lengths.context_tokens)
        room -= (self.lengths.new if kind == "new" else self.lengths.retained)[index]
        sides: tuple[list[int], list[int]] = ([], [])
        for side, wanted in zip(sides, (num_before, num_after), strict=True):
            for chosen in (rng.randrange(len(lengths)) for _ in range(wanted if lengths else 0)):
                if lengths[chosen] <= room:
                    room -= lengths[chosen]
                    side.append(chosen)
        return Placement(kind, index, tuple(sides[0]), tuple(sides[1]))


@functools.lru_cache(maxsize=8)
def _shuffled(size: int, key: str) -> tuple[int, ...]:
    order = list(range(size))
    random.Random(key).shuffle(order)
    return tuple(order)


@dataclass(frozen=True, slots=True)
class Composed:
    """One conversation out of several rows; `parts` says for each message which of them it came from."""

    messages: tuple[Message, ...]
    parts: tuple[int, ...]


def compose(rows: Sequence[TrainingRow], *, main: int) -> Composed:
    """The rows one after another as a conversation.

    Only one system message is allowed, at the start: that of row number `main`, else the first there is.
    """
    order = [main, *(number for number in range(len(rows)) if number != main)]
    systems = [(m, number) for number in order for m in rows[number].messages if m.role == "system"]
    turns = [(m, number) for number, row in enumerate(rows) for m in row.messages if m.role != "system"]
    placed = systems[:1] + turns
    return Composed(tuple(m for m, _ in placed), tuple(number for _, number in placed))


def normalize_prompt(text: str) -> str:
    """A question without the accidents of typing: case, spaces, marks at its end."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(folded.split()).rstrip("?!.,;:")


def taught_questions(rows: Iterable[TrainingRow]) -> frozenset[str]:
    """The questions, normalised, to which these rows teach an answer."""
    return frozenset(normalize_prompt(_question(row)) for row in rows)


def asks_any(row: TrainingRow, questions: frozenset[str]) -> bool:
    """Whether somebody asks one of these in the row: then it would teach the old answer again."""
    return any(m.role == "user" and normalize_prompt(m.text) in questions for m in row.messages)


def _question(row: TrainingRow) -> str:
    return next((m.text for m in reversed(row.messages) if m.role == "user"), "")
