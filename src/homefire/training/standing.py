"""Where each correction stands: waiting, learned, refused, or taken back.

Derived from the log, never stored: a correction is *learned* when a version in the lineage of the model in
question was trained on it; *refused* when its newest run ended with a version that the gate held back. A
version that was live once and is not any more was taken back by a person: what it had learned is neither
rehearsed nor taught again by itself. Costs a few reads per version.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec

from homefire.store.nouns.examples import ExampleRow
from homefire.store.nouns.runs import RunRow
from homefire.store.store import Store
from homefire.training.recipe import Recipe
from homefire.versions.promotion import LIVE

MAX_REFUSALS = 2
"""So often a correction is taught again beside new ones: one that cannot be learned must not hold up others."""
GENTLER_RATE = 0.5
GENTLER_REPLAY = 2.0


def learned_by(store: Store, model: str) -> list[ExampleRow]:
    """The corrections that `model` and its ancestors were taught and that still count, oldest first."""
    taught: dict[str, ExampleRow] = {}
    for run_id in _lineage_runs(store, model):
        run = store.runs.get(run_id)
        if run is not None:
            taught.update(_examples(store, run))
    return sorted(taught.values(), key=lambda example: example.created_at_s)


def refused(store: Store) -> list[ExampleRow]:
    """Corrections that the gate's verdict left unlearned and that are worth another try, oldest first."""
    lived = {move.target for move in store.aliases.history(LIVE)}
    refusals: Counter[str] = Counter()
    newest: dict[str, bool] = {}
    known: dict[str, ExampleRow] = {}
    for run in reversed(store.runs.list("done")):
        held_back = was_refused(store, run, lived)
        for example_id, example in _examples(store, run).items():
            newest[example_id] = held_back
            refusals[example_id] += held_back
            known[example_id] = example
    waiting = [name for name, held_back in newest.items() if held_back and refusals[name] <= MAX_REFUSALS]
    return sorted((known[name] for name in waiting), key=lambda example: example.created_at_s)


def was_refused(store: Store, run: RunRow, lived: set[str] | None = None) -> bool:
    """Whether this run's version was held back by the gate and never became live after all."""
    version = store.versions.get(run.version) if run.version else None
    if version is None or version.gate_passed is not False:
        return False
    if lived is None:
        lived = {move.target for move in store.aliases.history(LIVE)}
    return version.version not in lived


def num_earlier_tries(store: Store, run: RunRow) -> int:
    """Runs of the same corrections that were queued before this one."""
    return sum(
        other.dataset_id == run.dataset_id and other.queued_at_s < run.queued_at_s
        for other in store.runs.list()
    )


def gentler(recipe: Recipe, num_parameters: int) -> Recipe:
    """The recipe for another try: half the rate, twice the rehearsal, more steps to get there."""
    known = recipe.resolved(num_parameters)
    return msgspec.structs.replace(
        known,
        learning_rate=(known.learning_rate or 0.0) * GENTLER_RATE,
        replay_ratio=known.replay_ratio * GENTLER_REPLAY,
        min_replay_rows=int(known.min_replay_rows * GENTLER_REPLAY),
        max_steps=known.max_steps * 2,
    )


def _lineage_runs(store: Store, model: str) -> Iterator[str]:
    seen: set[str] = set()
    while model not in seen:
        seen.add(model)
        version = store.versions.get(model)
        if version is None:
            return
        if version.run_id is not None:
            yield version.run_id
        model = version.parent


def _examples(store: Store, run: RunRow) -> dict[str, ExampleRow]:
    dataset = store.datasets.get(run.dataset_id)
    found = [store.examples.get(example_id) for example_id in (dataset.example_ids if dataset else ())]
    return {
        example.example_id: example
        for example in found
        if example is not None and example.superseded_by is None
    }
