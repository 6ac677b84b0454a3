"""How a model is made that never learned a withdrawn correction. Pure reads of the log.

A fact cannot be cut out of weights; what can be done is to begin again where it was not there yet. The run starts
from the newest ancestor of `live` that was taught neither the withdrawn correction nor another answer to its
question, and learns everything that later versions were taught and that still counts. So the fact is gone and the
others stay, by construction. Where nothing else was taught since, that ancestor itself is the answer and
nothing is trained. Costs a few reads per version; the training costs what its dataset costs.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from homefire.store.nouns.examples import ExampleRow
from homefire.store.store import Store
from homefire.training.ledger import lineage


class Unteaching(msgspec.Struct, frozen=True, kw_only=True):
    """Teach `examples` on top of `start`, and `unwanted` is gone."""

    live: str
    """What this plan is about; when `live` moves it has to be made again."""
    start: str
    unwanted: tuple[str, ...]
    examples: tuple[ExampleRow, ...]


def plan_unteaching(store: Store, live: str, *, withdrawing: Collection[str] = ()) -> Unteaching | None:
    """What to do so that `live` forgets all that was withdrawn; None where it was trained on nothing of it.

    `withdrawing` are examples that the log does not call withdrawn yet.
    """
    generations = lineage(store, live)
    unwanted = {
        example.example_id: example
        for generation in generations
        for example in generation.trained
        if example.withdrawn_at_s is not None or example.example_id in withdrawing
    }
    if not unwanted:
        return None
    questions = {example.prompt_digest for example in unwanted.values() if not example.is_erased}
    first = max(
        place
        for place, generation in enumerate(generations)
        if any(
            example.example_id in unwanted or example.prompt_digest in questions
            for example in generation.trained
        )
    )
    while first + 1 < len(generations) and _is_removed(store, generations[first].parent):
        first += 1
    kept = {
        example.example_id: example
        for generation in generations[: first + 1]
        for example in generation.taught
        if example.counts and example.example_id not in unwanted
    }
    return Unteaching(
        live=live,
        start=generations[first].parent,
        unwanted=tuple(sorted(unwanted)),
        examples=tuple(sorted(kept.values(), key=lambda example: (example.created_at_s, example.example_id))),
    )


def _is_removed(store: Store, model: str) -> bool:
    version = store.versions.get(model)
    return version is not None and version.removed_at_s is not None
