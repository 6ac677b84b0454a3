"""Which corrections a model knows, which were refused, and what another try looks like.

Derived from the log, never stored: a model knows a correction when a version in its lineage was trained on it; it
is *refused* when its newest run ended with a version that the gate held back. A version that was live once and is
not any more was taken back by a person: what it had learned is neither replayed nor taught again by itself. Costs
a few reads per version.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from homefire.store.nouns.examples import ExampleRow
from homefire.store.nouns.runs import RunRow
from homefire.store.store import Store
from homefire.trainer.recipe import Recipe
from homefire.versions.promotion import LIVE

MAX_REFUSALS = 2
"""So often a correction is taught again beside new ones: one that cannot be learned must not hold up others."""
RETRY_RATE = 0.5
RETRY_REPLAY = 2.0
LEFT_OUT = "left_out"
"""Under this name a run's metrics hold the examples of its dataset that it does not learn."""


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a lineage, what it was made from, and what it was taught."""

    version: str
    parent: str
    taught: tuple[ExampleRow, ...]
    """Also what does not count any more."""


def lineage(store: Store, model: str) -> list[Generation]:
    """The versions from `model` down to its base, the newest first; none for a base."""
    found: list[Generation] = []
    seen: set[str] = set()
    while model not in seen:
        seen.add(model)
        version = store.versions.get(model)
        if version is None:
            break
        run = store.runs.get(version.run_id) if version.run_id is not None else None
        taught = tuple(examples_of(store, run)) if run is not None else ()
        found.append(Generation(version=model, parent=version.parent, taught=taught))
        model = version.parent
    return found


def learned_by(store: Store, model: str) -> list[ExampleRow]:
    """The corrections that `model` and its ancestors were taught and that still count, oldest first."""
    taught = {
        example.example_id: example
        for generation in lineage(store, model)
        for example in generation.taught
        if example.counts
    }
    return sorted(taught.values(), key=lambda example: example.created_at_s)


def known_to(store: Store, model: str) -> dict[str, str]:
    """Every correction that `model` was ever taught, also what was withdrawn since: the version that learned it."""
    return {
        example.example_id: generation.version
        for generation in reversed(lineage(store, model))
        for example in generation.taught
    }


def examples_of(store: Store, run: RunRow) -> list[ExampleRow]:
    """What a run learns or learned, in its dataset's order; without what it left out at its lease."""
    dataset = store.datasets.get(run.dataset_id)
    left_out = set(run.metrics.get(LEFT_OUT, ()))
    found = [
        store.examples.get(example_id)
        for example_id in (dataset.example_ids if dataset else ())
        if example_id not in left_out
    ]
    return [example for example in found if example is not None]


def counting(examples: Sequence[ExampleRow]) -> list[ExampleRow]:
    """Those that were neither corrected again nor withdrawn."""
    return [example for example in examples if example.counts]


def refused(store: Store) -> list[ExampleRow]:
    """Corrections that the gate's verdict left unlearned and that are worth another try, oldest first."""
    lived = lived_versions(store)
    refusals: Counter[str] = Counter()
    newest: dict[str, bool] = {}
    known: dict[str, ExampleRow] = {}
    for run in reversed(store.runs.list()):
        if run.state not in ("done", "refused") or run.unteaches:
            continue  # what an un-teaching run teaches is live already
        held_back = was_refused(run, lived)
        for example in counting(examples_of(store, run)):
            newest[example.example_id] = held_back
            refusals[example.example_id] += held_back
            known[example.example_id] = example
    waiting = [name for name, held_back in newest.items() if held_back and refusals[name] <= MAX_REFUSALS]
    return sorted((known[name] for name in waiting), key=lambda example: example.created_at_s)


def was_refused(run: RunRow, lived: set[str]) -> bool:
    """Whether the gate held back this run's version, and nobody made it live after all."""
    return run.state == "refused" and run.version not in lived


def lived_versions(store: Store) -> set[str]:
    """Everything that ever was live."""
    return {move.target for move in store.aliases.history(LIVE)}


def num_earlier_tries(store: Store, run: RunRow) -> int:
    """Runs of the same corrections that were queued before this one."""
    return sum(
        other.dataset_id == run.dataset_id and other.queued_at_s < run.queued_at_s
        for other in store.runs.list()
    )


def num_refused_tries(store: Store, run: RunRow) -> int:
    """Runs of the same corrections, other than this one, that the gate refused."""
    return sum(
        other.dataset_id == run.dataset_id and other.run_id != run.run_id
        for other in store.runs.list("refused")
    )


def recipe_for_retry(recipe: Recipe, num_parameters: int) -> Recipe:
    """The recipe for another try: half the rate, twice the replay, more steps to get there."""
    known = recipe.resolved(num_parameters)
    return msgspec.structs.replace(
        known,
        learning_rate=(known.learning_rate or 0.0) * RETRY_RATE,
        replay_ratio=known.replay_ratio * RETRY_REPLAY,
        min_replay_rows=int(known.min_replay_rows * RETRY_REPLAY),
        max_steps=known.max_steps * 2,
    )
