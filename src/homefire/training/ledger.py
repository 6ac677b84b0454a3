"""Which corrections a model knows, which were refused, and how often they were tried.

Derived from the log, never stored: a model knows a correction when a version in its lineage was trained on it and its
gate found it learned, and no later version lost it. It is *refused* when the newest judgement of it was that it was
not learned, or that its version was held back. A version that was live once and is not any more was taken back by a
person: what it had learned is neither replayed nor taught again by itself. Costs a few reads per version.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from homefire.store.nouns.examples import ExampleRow
from homefire.store.nouns.runs import RunRow
from homefire.store.nouns.versions import VersionRow
from homefire.store.store import Store
from homefire.trainer.recipe import Recipe
from homefire.versions.blame import CorrectionResult
from homefire.versions.promotion import LIVE

RETRY_RATE = 0.5
RETRY_REPLAY = 2.0
LEFT_OUT = "left_out"
"""Under this name a run's metrics hold the examples of its dataset that it does not learn."""
UNUSABLE = "unusable"
"""Under this name they hold those that its worker could not use, each with a sentence why."""
UNLEARNED = "unlearned"
"""Under this name they hold those that its version does not know. (The version's scores say why, until they are
erased.)"""
CORRECTIONS = "corrections"
"""Under this name a version's gate scores hold each correction's result, by its id."""
LOST_EARLIER = "lost_earlier"
"""Under this name they hold the earlier corrections that the version lost."""


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a lineage, what it was made from, and what it was taught; also what does not count any more."""

    version: str
    parent: str
    trained: tuple[ExampleRow, ...]
    """What it was trained on."""
    taught: tuple[ExampleRow, ...]
    """What it learned of that."""
    lost: tuple[str, ...] = ()
    """What its ancestors had learned and it does not know."""


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
        trained = tuple(examples_of(store, run)) if run is not None else ()
        unlearned = {name for name, result in results_in(version).items() if not result.right}
        unlearned |= set(run.metrics.get(UNLEARNED, ()) if run is not None else ())
        found.append(
            Generation(
                version=model,
                parent=version.parent,
                trained=trained,
                taught=tuple(example for example in trained if example.example_id not in unlearned),
                lost=tuple(version.gate_scores.get(LOST_EARLIER, ())),
            )
        )
        model = version.parent
    return found


def learned_by(store: Store, model: str) -> list[ExampleRow]:
    """The corrections that `model` knows and that still count, oldest first."""
    taught: dict[str, ExampleRow] = {}
    for generation in reversed(lineage(store, model)):
        taught = {name: example for name, example in taught.items() if name not in generation.lost}
        taught |= {example.example_id: example for example in generation.taught if example.counts}
    return sorted(taught.values(), key=lambda example: example.created_at_s)


def known_to(store: Store, model: str) -> dict[str, str]:
    """Every correction that `model` learned, also what was withdrawn since: the version that learned it."""
    known: dict[str, str] = {}
    for generation in reversed(lineage(store, model)):
        known = {name: version for name, version in known.items() if name not in generation.lost}
        known |= {example.example_id: generation.version for example in generation.taught}
    return known


def trained_into(store: Store, model: str) -> dict[str, str]:
    """Every correction that `model` or an ancestor was trained on, learned or not: the version that may hold traces."""
    return {
        example.example_id: generation.version
        for generation in reversed(lineage(store, model))
        for example in generation.trained
    }


def results_in(version: VersionRow | None) -> dict[str, CorrectionResult]:
    """What the gate found of each correction of this version."""
    found: Any = version.gate_scores.get(CORRECTIONS, {}) if version is not None else {}
    return msgspec.convert(found, dict[str, CorrectionResult])


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


def teachable(store: Store, examples: Sequence[ExampleRow]) -> list[ExampleRow]:
    """Those that count and that nobody disputes: of two people's answers neither wins without a word."""
    disputed = {example.example_id for example in store.examples.disputed()}
    return [example for example in counting(examples) if example.example_id not in disputed]


class Tries(msgspec.Struct, frozen=True, kw_only=True):
    """How often a correction was judged in vain."""

    num_refused: int = 0
    """Versions that were held back, whoever was to blame."""
    num_blamed: int = 0
    """Judgements that found this correction to blame: not learned, or breaking something, or refused alone."""
    unusable: str = ""
    """Why its newest run could not use it at all."""


def tries_of(store: Store, example_id: str, *, refusing: str | None = None) -> Tries:
    """Of all runs of this correction. `refusing` is a run that the log does not call refused yet."""
    lived, runs = lived_versions(store), store.runs.of_example(example_id)
    num_refused = num_blamed = 0
    for run in runs:
        result = results_in(_version_of(store, run)).get(example_id)
        held_back = run.run_id == refusing or was_refused(run, lived)
        num_refused += held_back
        is_alone = held_back and len(examples_of(store, run)) == 1
        num_blamed += is_alone or (result is not None and result.cause is not None)
    unusable = runs[0].metrics.get(UNUSABLE, {}).get(example_id, "") if runs else ""
    return Tries(num_refused=num_refused, num_blamed=num_blamed, unusable=unusable)


def refused(store: Store) -> list[ExampleRow]:
    """Corrections that the newest verdict left unlearned, oldest first."""
    lived = lived_versions(store)
    newest: dict[str, bool] = {}
    known: dict[str, ExampleRow] = {}
    for run in reversed(store.runs.list()):
        if run.state not in ("done", "refused") or run.unteaches:
            continue  # what an un-teaching run teaches is live already
        held_back, results = was_refused(run, lived), results_in(_version_of(store, run))
        for example in counting(examples_of(store, run)):
            result = results.get(example.example_id)
            newest[example.example_id] = held_back or (result is not None and not result.right)
            known[example.example_id] = example
    waiting = [name for name, held_back in newest.items() if held_back]
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


def _version_of(store: Store, run: RunRow) -> VersionRow | None:
    return store.versions.get(run.version) if run.version is not None else None


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
