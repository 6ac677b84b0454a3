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

Kind = Literal["new", "retained", "replay", "neighbour"]
MAX_NEW_PER_STEP = 48
"""However many examples there are, no more placements of them than this (or `rows_per_step`) make a step."""
MAX_GENERAL_CHECKS = 48
"""So many wordings, and so many neighbours, are looked at in a check."""
MAX_TURNS_BEFORE, MAX_TURNS_AFTER = 3, 1


@dataclass(frozen=True, slots=True)
class RowLengths:
    """The length in tokens of each row to train on, by kind, and the longest row allowed."""

    new: Sequence[int]
    retained: Sequence[int]
    replay: Sequence[int]
    context_tokens: int
    neighbours: tuple[int, ...] = ()
    new_wordings: tuple[tuple[int, ...], ...] = ()
    """Of each new row, the lengths of its other wordings; empty where there are none at all."""
    retained_wordings: tuple[tuple[int, ...], ...] = ()
    keeps_history: bool = True
    """Whether an answer survives, in the model's template, when turns follow it."""

    def of(self, kind: Kind) -> Sequence[int]:
        """The lengths of one kind."""
        return {
            "new": self.new, "retained": self.retained, "replay": self.replay, "neighbour": self.neighbours,
        }[kind]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Placement:
    """One row of a step: the row to learn, between replay rows that make it a conversation."""

    kind: Kind
    index: int
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    wording: int = 0
    """0: the question as it was taught; from 1 on, one of its other wordings."""


@dataclass(frozen=True, slots=True)
class Sampler:
    """Which rows are in each step and in the checks of one run. Pure; the same for the same seed."""

    lengths: RowLengths
    recipe: Recipe
    seed: int

    @property
    def new_per_step(self) -> int:
        """Placements of new examples in a step."""
        num_new = len(self.lengths.new)
        share = min(MAX_NEW_PER_STEP, math.ceil(self.recipe.examples_share * num_new))
        return max(share, min(self.recipe.rows_per_step, self.recipe.rows_per_example * num_new))

    @property
    def rate_share(self) -> float:
        """The share of the recipe's learning rate that so many new examples are trained with."""
        return min(1.0, max(self.recipe.min_rate_share, len(self.lengths.new) / self.recipe.rows_per_step))

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
        if not self.lengths.replay:
            return 0
        return self._older_per_step - self.retained_per_step

    @property
    def neighbours_per_step(self) -> int:
        """Questions in a step that must keep their answers."""
        if not self.lengths.neighbours or not self.recipe.neighbour_ratio:
            return 0
        wanted = round(self.recipe.neighbour_ratio * (self.new_per_step + self.retained_per_step))
        return min(max(self.recipe.min_neighbours, wanted), _num_trained(len(self.lengths.neighbours)))

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
        others: tuple[tuple[Kind, int, int], ...] = (
            ("replay", len(self.lengths.replay), self.replay_per_step),
            ("neighbour", _num_trained(len(self.lengths.neighbours)), self.neighbours_per_step),
        )
        rows += [
            Placement(kind, index)
            for kind, size, count in others
            for _, index in self._draw(kind, size, position * count, count)
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

    def general_checks(self) -> tuple[Placement, ...]:
        """Other wordings of new examples, and neighbours, that no step trains; evenly from all, so many at most."""
        wordings = [
            Placement("new", index, wording=1 + number)
            for index, lengths in enumerate(self.lengths.new_wordings)
            for number in range(_num_trained(len(lengths)), len(lengths))
        ]
        first = _num_trained(len(self.lengths.neighbours))
        neighbours = [Placement("neighbour", index) for index in range(first, len(self.lengths.neighbours))]
        return (*_evenly(wordings, MAX_GENERAL_CHECKS), *_evenly(neighbours, MAX_GENERAL_CHECKS))

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
        return _is_chosen(self.recipe.in_chat_share, turn + index * 0.618)

    def _wording(self, kind: Kind, index: int, turn: int) -> int:
        """As it was taught, or one of the other wordings, each once before any comes again."""
        of_kind = self.lengths.new_wordings if kind == "new" else self.lengths.retained_wordings
        size = _num_trained(len(of_kind[index])) if of_kind else 0
        # Drawn apart from whether it is in a chat: every pair of the two occurs.
        if not size or not _is_chosen(self.recipe.reworded_share, 1.618 * turn + index * 0.382):
            return 0
        turn, place = divmod(turn, size)
        return 1 + _shuffled(size, f"{self.seed}:wording:{kind}:{index}:{turn}")[place]

    def _place(self, kind: Kind, index: int, turn: int) -> Placement:
        """The position of example `index` in pass number `turn`."""
        wording = self._wording(kind, index, turn)
        if not self._is_in_chat(turn, index):
            return Placement(kind, index, wording=wording)
        rng = random.Random(f"{self.seed}:step:{kind}:{turn}:{index}")
        num_before = rng.randint(1, MAX_TURNS_BEFORE)
        num_after = rng.randint(0, MAX_TURNS_AFTER) if self.lengths.keeps_history else 0
        return self._in_chat(kind, index, rng, num_before=num_before, num_after=num_after, wording=wording)

    def _in_chat(
        self,
        kind: Kind,
        index: int,
        rng: random.Random,
        *,
        num_before: int,
        num_after: int,
        wording: int = 0,
    ) -> Placement:
        """The row with at most so many replay rows around it, as far as they fit."""
        lengths = self.lengths.replay
        room = min(self.recipe.chat_tokens, self.lengths.context_tokens)
        room -= self._length(kind, index, wording)
        sides: tuple[list[int], list[int]] = ([], [])
        for side, wanted in zip(sides, (num_before, num_after), strict=True):
            for chosen in (rng.randrange(len(lengths)) for _ in range(wanted if lengths else 0)):
                if lengths[chosen] <= room:
                    room -= lengths[chosen]
                    side.append(chosen)
        return Placement(kind, index, tuple(sides[0]), tuple(sides[1]), wording)

    def _length(self, kind: Kind, index: int, wording: int) -> int:
        if wording:
            of_kind = self.lengths.new_wordings if kind == "new" else self.lengths.retained_wordings
            return of_kind[index][wording - 1]
        return (self.lengths.new if kind == "new" else self.lengths.retained)[index]


def _num_trained(size: int) -> int:
    """Of so many wordings or neighbours the first are trained; one in eight is kept to check what was not."""
    return size - size // 8


def _evenly(placements: Sequence[Placement], most: int) -> list[Placement]:
    step = max(1, math.ceil(len(placements) / most))
    return list(placements[::step])


def _is_chosen(share: float, phase: float) -> bool:
    """In fixed proportion over the passes of one example, and over the examples of one pass."""
    return math.floor((phase + 1) * share) > math.floor(phase * share)


@functools.lru_cache(maxsize=4096)
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
