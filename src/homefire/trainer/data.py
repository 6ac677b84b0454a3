"""All that a run trains on, read and checked before its first step: rows, renderer, sampler, and their
identity.

A new example that cannot be learned stops the run with its reason; an older row that cannot be used (too
long, or refused by the template) is left out and counted. Nothing is ever cut short.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from homefire.errors import BadModel, InvalidRequest
from homefire.trainer.batch import MicroBatch, Rows, collate, encode_placement, only_own_answer
from homefire.trainer.contract import RunSpec, TrainingRow, read_rows
from homefire.trainer.manner import shared_ending, with_ending, without_ending
from homefire.trainer.render import Renderer, load_renderer
from homefire.trainer.sampler import Placement, RowLengths, Sampler, without_conflicts


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
        encoded = [
            encode_placement(placement, self.rows, self.renderer) for placement in self.sampler.step(position)
        ]
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
        replay, replay_lengths = _usable(
            [with_ending(row, ending) for row in self.rows.replay], self.renderer
        )
        neighbours, neighbour_lengths = _usable(
            [row for row in self.rows.neighbours if row.example_id not in shown], self.renderer
        )
        lengths = dataclasses.replace(
            self.sampler.lengths, replay=replay_lengths, neighbours=neighbour_lengths
        )
        return dataclasses.replace(
            self,
            rows=dataclasses.replace(self.rows, replay=replay, neighbours=neighbours),
            sampler=dataclasses.replace(self.sampler, lengths=lengths),
        )

    def check_batch(self) -> tuple[tuple[Placement, ...], tuple[MicroBatch, ...]]:
        """The placements in which corrections must be right (neighbours: not as taught), and their
        micro-batches."""
        placements = self.sampler.checks()
        encoded = [
            only_own_answer(encode_placement(p, self.rows, self.renderer), self.rows.number(p.kind, p.index))
            for p in placements
        ]
        max_tokens = self.sampler.recipe.microbatch_tokens
        return placements, collate(encoded, replay_from=self.num_corrections, max_tokens=max_tokens)


def load_data(spec: RunSpec) -> TrainingData:
    """Read and check everything a spec trains on. Errors as `read_rows`, `load_renderer`, `check_example`."""
    folder = Path(
        spec.base_folder if (Path(spec.model_folder) / "adapter_config.json").exists() else spec.model_folder
    )
    renderer = load_renderer(folder, at_s=spec.began_at_s)
    new = read_rows(Path(spec.examples))
    if not new:
        raise InvalidRequest("The run has no examples: there is nothing to learn.")
    lengths = tuple(len(renderer.check_example(row).ids) for row in new)
    retained_rows = read_rows(Path(spec.retained)) if spec.retained else ()
    replay_rows = read_rows(Path(spec.replay)) if spec.replay else ()
    retained, retained_lengths = _usable(without_conflicts(retained_rows, new), renderer)
    # An older row with the same question would teach the old answer again; leaving it out is no loss.
    replay, replay_lengths = _usable(without_conflicts(replay_rows, (*new, *retained)), renderer)
    neighbour_rows = read_rows(Path(spec.neighbours)) if spec.neighbours else ()
    neighbours, neighbour_lengths = _usable(without_conflicts(neighbour_rows, (*new, *retained)), renderer)
    worded = read_rows(Path(spec.wordings)) if spec.wordings else ()
    new_wordings, new_wording_lengths = _wordings_of(new, worded, renderer)
    retained_wordings, retained_wording_lengths = _wordings_of(retained, worded, renderer)
    row_lengths = RowLengths(
        lengths,
        retained_lengths,
        replay_lengths,
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
        num_left_out=len(retained_rows) + len(replay_rows) - len(retained) - len(replay),
        purpose=_purpose(spec, folder),
    )


def _usable(
    rows: Sequence[TrainingRow], renderer: Renderer
) -> tuple[tuple[TrainingRow, ...], tuple[int, ...]]:
    usable: list[TrainingRow] = []
    lengths: list[int] = []
    for row in rows:
        try:
            encoded = renderer.encode(row.messages)
        except BadModel:
            continue
        if encoded.answers and len(encoded.ids) <= renderer.context_tokens:
            usable.append(row)
            lengths.append(len(encoded.ids))
    return tuple(usable), tuple(lengths)


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


def _purpose(spec: RunSpec, folder: Path) -> str:
    """SHA-256 over all that decides the weights; of the parent's tensors their names' and sizes' (its bytes
    are the catalog's to verify)."""
    digest = hashlib.sha256(
        msgspec.json.encode([spec.run_id, spec.mode, spec.recipe, spec.seed, spec.num_threads])
    )
    for name in (spec.examples, spec.retained, spec.replay, spec.wordings, spec.neighbours):
        digest.update(hashlib.sha256(Path(name).read_bytes() if name else b"").digest())
    for path in sorted({*Path(spec.model_folder).iterdir(), *folder.iterdir()}):
        if path.suffix == ".safetensors":
            digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        elif path.name in ("tokenizer.json", "chat_template.jinja", "config.json", "adapter_config.json"):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
