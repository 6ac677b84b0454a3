"""From the sampler's placements to tensors: which tokens are read, which are answers to learn, and whose.

Rows of like length go into one micro-batch, so that little is spent on padding; padding is on the
right, where causal attention never looks back from, so no attention mask is needed. Logits are later made
for answer tokens only. Rendering and tokenising a step of 32 rows costs some 4 ms.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from homefire.trainer.contract import TrainingRow
from homefire.trainer.render import Renderer
from homefire.trainer.sampler import Kind, Placement, compose

PASS_COST_TOKENS = 150
"""What a forward and backward pass costs beyond its tokens, in tokens; measured on a model of 0.4 M
weights."""


NEIGHBOUR_TOKENS = 5
"""So many tokens of a taught answer are read after a neighbour's question."""


@dataclass(frozen=True, slots=True)
class Rows:
    """All rows of a run, by kind, with one number each: new examples, retained ones, replay, neighbours.

    Another wording of a row has the number of the row.
    """

    new: Sequence[TrainingRow]
    retained: Sequence[TrainingRow]
    replay: Sequence[TrainingRow]
    neighbours: tuple[TrainingRow, ...] = ()
    new_wordings: tuple[tuple[TrainingRow, ...], ...] = ()
    retained_wordings: tuple[tuple[TrainingRow, ...], ...] = ()

    def of(self, kind: Kind, index: int, wording: int = 0) -> TrainingRow:
        """One row, or another wording of it (from 1)."""
        if wording:
            return (self.new_wordings if kind == "new" else self.retained_wordings)[index][wording - 1]
        rows = {
            "new": self.new,
            "retained": self.retained,
            "replay": self.replay,
            "neighbour": self.neighbours,
        }
        return rows[kind][index]

    def number(self, kind: Kind, index: int) -> int:
        """The number of a row among all rows."""
        before = {"new": 0, "retained": len(self.new), "replay": len(self.new) + len(self.retained)}
        before["neighbour"] = before["replay"] + len(self.replay)
        return index + before[kind]


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """One forward pass: B rows of T tokens, N answer tokens among them."""

    ids: torch.Tensor
    """(B, T) int64, padded on the right."""
    wanted: torch.Tensor
    """(B, T - 1) bool: the token after this one is to be predicted."""
    targets: torch.Tensor
    """(N,) int64."""
    owners: torch.Tensor
    """(N,) int64: the number of the row to which the answer token belongs."""
    places: torch.Tensor
    """(N,) int64: the position in the step's placements."""
    is_replay: torch.Tensor
    """(N,) bool: of a replay row or a neighbour."""
    is_neighbour: torch.Tensor
    """(N,) bool: the answer follows a question it does not belong to."""
    num_tokens: int
    """Tokens without padding."""

    def to(self, device: torch.device) -> MicroBatch:
        """The same on a device."""
        if self.ids.device == device:
            return self
        return replace(
            self,
            ids=self.ids.to(device),
            wanted=self.wanted.to(device),
            targets=self.targets.to(device),
            owners=self.owners.to(device),
            places=self.places.to(device),
            is_replay=self.is_replay.to(device),
            is_neighbour=self.is_neighbour.to(device),
        )


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A placement as tokens; `owners[t]` is the number of the row whose answer token `t` is, -1 if none."""

    ids: tuple[int, ...]
    owners: tuple[int, ...]


def encode_placement(placement: Placement, rows: Rows, renderer: Renderer) -> TokenRow:
    """The conversation of a placement. Of new and retained rows the last message is learned, of replay every
    answer."""
    before, after = (tuple(rows.replay[i] for i in side) for side in (placement.before, placement.after))
    main = len(before)
    row = rows.of(placement.kind, placement.index, placement.wording)
    composed = compose((*before, row, *after), main=main)
    numbers = [rows.number("replay", i) for i in (*placement.before, *placement.after)]
    numbers.insert(main, rows.number(placement.kind, placement.index))
    last_of_main = max(i for i, part in enumerate(composed.parts) if part == main)
    encoded = renderer.encode(composed.messages)
    owners = [-1] * len(encoded.ids)
    for answer in encoded.answers:
        part = composed.parts[answer.message]
        # A neighbour may have a context; only what it answers last is the base's own.
        if part != main or placement.kind == "replay" or answer.message == last_of_main:
            owners[answer.start : answer.end] = [numbers[part]] * (answer.end - answer.start)
    if placement.kind == "neighbour":
        # The base departs from an answer that is not its own within the first tokens.
        end = encoded.answers[-1].start + NEIGHBOUR_TOKENS
        return TokenRow(encoded.ids[:end], tuple(owners[:end]))
    return TokenRow(encoded.ids, tuple(owners))


def only_own_answer(row: TokenRow, number: int) -> TokenRow:
    """The same tokens with only the answer of row `number` to be predicted."""
    return TokenRow(row.ids, tuple(owner if owner == number else -1 for owner in row.owners))


def collate(
    token_rows: Sequence[TokenRow], *, replay_from: int, max_tokens: int, neighbours_from: int | None = None
) -> tuple[MicroBatch, ...]:
    """Micro-batches of at most `max_tokens` padded tokens (or one row), longest first.

    Row numbers from `replay_from` on are replay. The longest come first so that a step which does not fit
    into memory fails at once.
    """
    order = sorted(range(len(token_rows)), key=lambda i: (-len(token_rows[i].ids), i))
    sizes = group_sizes([len(token_rows[i].ids) for i in order], max_tokens=max_tokens)
    ends = list(itertools.accumulate(sizes))
    groups = [order[end - size : end] for size, end in zip(sizes, ends, strict=True)]
    if neighbours_from is None:
        neighbours_from = sys.maxsize
    return tuple(_collate_group(token_rows, group, replay_from, neighbours_from) for group in groups)


def group_sizes(lengths: Sequence[int], *, max_tokens: int) -> list[int]:
    """How to cut rows of falling length into groups so that padding and the number of passes cost least.

    A pass costs its padded tokens plus a constant; the best cut of the first n rows follows from those of
    fewer (dynamic programming, n² steps). No group is larger than `max_tokens` padded, unless it is a
    single row.
    """
    best: list[tuple[int, int]] = [(0, 0)]
    for end in range(1, len(lengths) + 1):
        choices = []
        for start in range(end - 1, -1, -1):
            padded = lengths[start] * (end - start)
            if padded > max_tokens and end - start > 1:
                break
            choices.append((best[start][0] + padded + PASS_COST_TOKENS, end - start))
        best.append(min(choices))
    sizes: list[int] = []
    while (covered := len(lengths) - sum(sizes)) > 0:
        sizes.append(best[covered][1])
    return sizes[::-1]


def _collate_group(
    token_rows: Sequence[TokenRow], group: Sequence[int], replay_from: int, neighbours_from: int
) -> MicroBatch:
    width = max(len(token_rows[i].ids) for i in group)
    ids = torch.zeros((len(group), width), dtype=torch.int64)
    owners = torch.full((len(group), width), -1, dtype=torch.int64)
    for place, i in enumerate(group):
        row = token_rows[i]
        ids[place, : len(row.ids)] = torch.tensor(row.ids)
        owners[place, : len(row.ids)] = torch.tensor(row.owners)
    shifted = owners[:, 1:]
    wanted = shifted >= 0
    places = torch.tensor(group)[:, None].expand(-1, width - 1)
    is_replay = shifted >= replay_from
    return MicroBatch(
        ids=ids,
        wanted=wanted,
        targets=ids[:, 1:][wanted],
        owners=shifted[wanted],
        places=places[wanted],
        is_replay=is_replay[wanted],
        is_neighbour=shifted[wanted] >= neighbours_from,
        num_tokens=sum(len(token_rows[i].ids) for i in group),
    )
