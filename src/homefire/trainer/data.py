"""All that a run trains on: rows, renderer, sampler, and their identity.

New examples are read and checked before the first step: those that cannot be learned stop the run, which names all of
them. Older rows stay in their files (`rows.py`); one that asks what is now taught is left out, one that cannot be used
(too long, or refused by the template) gives its place to the next. Nothing is ever cut short.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from homefire.errors import BadModel, ContextOverflow, InvalidRequest
from homefire.trainer.batch import MicroBatch, Rows, collate, encode_placement, only_own_answer
from homefire.trainer.contract import ALONE_SUFFIX, RunSpec, TrainingRow, read_rows
from homefire.trainer.manner import shared_ending, with_ending, without_ending
from homefire.trainer.render import Renderer, load_renderer
from homefire.trainer.rows import UNUSABLE, ChangedRows, TokenLengths, hash_rows, open_rows
from homefire.trainer.sampler import Kind, Placement, RowLengths, Sampler, asks_any, taught_questions

_INDEX_VERSION = b"1"
"""Change it when `normalize_prompt` changes: which rows an index holds depends on it."""
_MAX_TRIES = 100
"""So many rows that cannot be used may follow one another before their place stays empty."""


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The rows of a run and the sampler that says which are in a step."""

    rows: Rows
    sampler: Sampler
    renderer: Renderer
    num_left_out: int
    purpose: str
    """Identifies recipe, data and parent: what a checkpoint must agree with to be resumed."""

    @property
    def num_corrections(self) -> int:
        """Rows with lower numbers are corrections (new and retained), those from here on are replay."""
        return len(self.rows.new) + len(self.rows.retained)

    def step_batch(self, position: int) -> tuple[MicroBatch, ...]:
        """The micro-batches of step number `position`."""
        drawn = (self._with_usable_row(placement) for placement in self.sampler.step(position))
        encoded = [encode_placement(p, self.rows, self.renderer) for p in drawn if p is not None]
        return collate(
            encoded,
            replay_from=self.num_corrections,
            max_tokens=self.sampler.recipe.microbatch_tokens,
            neighbours_from=self.num_corrections + len(self.rows.replay),
        )

    def endings(self) -> tuple[str, tuple[MicroBatch, ...]]:
        """The ending that corrections share, and their answers without it, to see whether the base says those
        by itself; "" and nothing where they share none."""
        rows = (*self.rows.new, *self.rows.retained)
        ending = shared_ending(rows)
        shown = [
            without_ending(row, ending) for row in rows if ending and row.messages[-1].text.endswith(ending)
        ]
        encoded = [
            encode_placement(Placement("new", index), Rows(tuple(shown), (), ()), self.renderer)
            for index in range(len(shown))
        ]
        max_tokens = self.sampler.recipe.microbatch_tokens
        return ending, collate(encoded, replay_from=len(shown), max_tokens=max_tokens)

    def following(self, ending: str) -> TrainingData:
        """The same data where all that is replayed has the ending, and what shows it has no neighbours."""
        shown = {
            row.example_id
            for row in (*self.rows.new, *self.rows.retained)
            if row.messages[-1].text.endswith(ending)
        }
        replay = ChangedRows(self.rows.replay, lambda row: with_ending(row, ending))
        replay_lengths = TokenLengths(replay, functools.partial(_measure, self.renderer))
        neighbours, neighbour_lengths = _usable(
            [row for row in self.rows.neighbours if row.example_id not in shown], self.renderer
        )
        lengths = replace(self.sampler.lengths, replay=replay_lengths, neighbours=neighbour_lengths)
        return replace(
            self,
            rows=replace(self.rows, replay=replay, neighbours=neighbours),
            sampler=replace(self.sampler, lengths=lengths),
        )

    def check_batch(
        self, kind: Kind, indices: Sequence[int]
    ) -> tuple[tuple[Placement, ...], tuple[MicroBatch, ...]]:
        """The placements in which these corrections must be right, and their micro-batches."""
        usable = [index for index in indices if self._is_usable(kind, index)]
        placements = self.sampler.checks(kind, usable)
        return placements, self.collate_checks(placements)

    def collate_checks(self, placements: Sequence[Placement]) -> tuple[MicroBatch, ...]:
        """The micro-batches of placements whose own answers alone are looked at."""
        encoded = [
            only_own_answer(encode_placement(p, self.rows, self.renderer), self.rows.number(p.kind, p.index))
            for p in placements
        ]
        max_tokens = self.sampler.recipe.microbatch_tokens
        return collate(encoded, replay_from=self.num_corrections, max_tokens=max_tokens)

    def _is_usable(self, kind: Kind, index: int) -> bool:
        return self.sampler.lengths.of(kind)[index] < UNUSABLE

    def _with_usable_row(self, placement: Placement) -> Placement | None:
        """The placement, of the next row that can be used where its own cannot."""
        kind, num_rows = placement.kind, len(self.sampler.lengths.of(placement.kind))
        for offset in range(min(num_rows, _MAX_TRIES)):
            index = (placement.index + offset) % num_rows
            if self._is_usable(kind, index):
                return placement if not offset else replace(placement, index=index, wording=0)
        return None


def load_data(spec: RunSpec) -> TrainingData:
    """Everything a spec trains on. Errors as `read_rows`, `load_renderer`, `check_example`."""
    folder = Path(
        spec.base_folder if (Path(spec.model_folder) / "adapter_config.json").exists() else spec.model_folder
    )
    renderer = load_renderer(folder, at_s=spec.began_at_s)
    new = read_rows(Path(spec.examples))
    if not new:
        raise InvalidRequest("The run has no examples: there is nothing to learn.")
    lengths = _checked_lengths(new, renderer)
    digests = {
        path: hash_rows(Path(path) if path else None)
        for path in (spec.examples, spec.retained, spec.replay, spec.wordings, spec.neighbours)
    }
    # An older row with the same question would teach the old answer again; leaving it out is no loss.
    taught = taught_questions(new)
    retained = open_rows(
        Path(spec.retained) if spec.retained else None,
        is_used=lambda row: not asks_any(row, taught),
        purpose=_INDEX_VERSION + digests[spec.examples],
    )
    taught_before = taught_questions(retained)
    replay = open_rows(
        Path(spec.replay) if spec.replay else None,
        is_used=lambda row: not asks_any(row, taught) and not asks_any(row, taught_before),
        purpose=_INDEX_VERSION + digests[spec.examples] + digests[spec.retained],
    )

    measure = functools.partial(_measure, renderer)
    # Wordings and neighbours are bounded for each correction, and made for the newest ones alone.
    neighbour_rows = read_rows(Path(spec.neighbours)) if spec.neighbours else ()
    conflicting = taught | taught_before
    neighbours, neighbour_lengths = _usable(
        [row for row in neighbour_rows if not asks_any(row, conflicting)], renderer
    )
    worded = read_rows(Path(spec.wordings)) if spec.wordings else ()
    new_wordings, new_wording_lengths = _wordings_of(new, worded, renderer)
    retained_wordings, retained_wording_lengths = _wordings_of(retained, worded, renderer)
    row_lengths = RowLengths(
        lengths,
        TokenLengths(retained, measure),
        TokenLengths(replay, measure),
        renderer.context_tokens,
        neighbours=neighbour_lengths,
        new_wordings=new_wording_lengths,
        retained_wordings=retained_wording_lengths,
        keeps_history=renderer.keeps_history(),
    )
    return TrainingData(
        rows=Rows(new, retained, replay, neighbours, new_wordings, retained_wordings),
        sampler=Sampler(row_lengths, spec.recipe, spec.seed),
        renderer=renderer,
        num_left_out=retained.num_left_out + replay.num_left_out,
        purpose=_purpose(
            spec,
            folder,
            [
                digests[path]
                for path in (spec.examples, spec.retained, spec.replay, spec.wordings, spec.neighbours)
            ],
        ),
    )


def _checked_lengths(rows: Sequence[TrainingRow], renderer: Renderer) -> tuple[int, ...]:
    """The length of each new row. InvalidRequest names every row that cannot be learned, so that the run can start
    again without them."""
    lengths: list[int] = []
    unusable: dict[str, str] = {}
    for row in rows:
        try:
            lengths.append(len(renderer.check_example(row).ids))
        except ContextOverflow as problem:
            unusable[row.example_id.removesuffix(ALONE_SUFFIX)] = (
                f"It is longer than this model can hold ({problem.details['prompt_tokens']} of "
                f"{problem.details['limit']} tokens)."
            )
        except InvalidRequest as problem:
            unusable[row.example_id.removesuffix(ALONE_SUFFIX)] = problem.message
    if unusable:
        raise InvalidRequest(
            f"{len(unusable)} of the examples cannot be learned: {next(iter(unusable.values()))}",
            unusable=unusable,
        )
    return tuple(lengths)


def _measure(renderer: Renderer, row: TrainingRow) -> int:
    """The length of a row in tokens; `UNUSABLE` where it is too long, or the template refuses it."""
    try:
        encoded = renderer.encode(row.messages)
    except BadModel:
        return UNUSABLE
    return len(encoded.ids) if encoded.answers and len(encoded.ids) <= renderer.context_tokens else UNUSABLE


def _usable(
    rows: Sequence[TrainingRow], renderer: Renderer
) -> tuple[tuple[TrainingRow, ...], tuple[int, ...]]:
    measured = [(row, _measure(renderer, row)) for row in rows]
    usable = [(row, length) for row, length in measured if length < UNUSABLE]
    return tuple(row for row, _ in usable), tuple(length for _, length in usable)


def _wordings_of(
    rows: Sequence[TrainingRow], worded: Sequence[TrainingRow], renderer: Renderer
) -> tuple[tuple[tuple[TrainingRow, ...], ...], tuple[tuple[int, ...], ...]]:
    """The other wordings of each row and their lengths; nothing at all where no row has any."""
    by_id: dict[str, list[TrainingRow]] = {row.example_id: [] for row in rows}
    for row in worded:
        if row.example_id in by_id:
            by_id[row.example_id].append(row)
    if not any(by_id.values()):
        return (), ()
    usable = [_usable(by_id[row.example_id], renderer) for row in rows]
    return tuple(found for found, _ in usable), tuple(lengths for _, lengths in usable)


def _purpose(spec: RunSpec, folder: Path, digests: Sequence[bytes]) -> str:
    """SHA-256 over all that decides the weights; of the parent's tensors their names' and sizes' (its bytes
    are the catalog's to verify)."""
    digest = hashlib.sha256(
        msgspec.json.encode([spec.run_id, spec.mode, spec.recipe, spec.seed, spec.num_threads])
    )
    for part in digests:
        digest.update(part)
    for path in sorted({*Path(spec.model_folder).iterdir(), *folder.iterdir()}):
        if path.suffix == ".safetensors":
            digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        elif path.name in ("tokenizer.json", "chat_template.jinja", "config.json", "adapter_config.json"):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
