"""What of a version is for whom: nobody reads in it what another person taught.

The gate's reasons and a version's description quote no correction. What each correction came to is for the one who
gave it, and so are the questions that are added to the description. Costs a read per correction of the version.
"""

from __future__ import annotations

from typing import Any

import msgspec

from homefire.store.nouns.examples import ExampleRow
from homefire.store.nouns.versions import VersionRow
from homefire.store.store import Store
from homefire.training.ledger import CORRECTIONS, LOST_EARLIER, examples_of

MAX_QUOTED = 2
MAX_QUOTED_CHARS = 48


def visible_version(store: Store, row: VersionRow, principal: str) -> VersionRow:
    """The row as this principal may see it: with the questions of his corrections, and their results alone."""
    run = store.runs.get(row.run_id) if row.run_id is not None else None
    own = [example for example in examples_of(store, run) if example.principal == principal] if run else []
    quoted = ", ".join(_quoted(example) for example in own[:MAX_QUOTED])
    more = ", …" if len(own) > MAX_QUOTED else ""
    return msgspec.structs.replace(
        row,
        description=f"{row.description}: {quoted}{more}" if quoted else row.description,
        gate_scores=_visible_scores(store, row.gate_scores, own, principal),
    )


def _visible_scores(
    store: Store, scores: dict[str, Any], own: list[ExampleRow], principal: str
) -> dict[str, Any]:
    if not scores:
        return scores
    mine = {example.example_id for example in own}
    results = {name: result for name, result in scores.get(CORRECTIONS, {}).items() if name in mine}
    lost = scores.get(LOST_EARLIER, ())
    lost = [name for name in lost if (known := store.examples.get(name)) and known.principal == principal]
    return {**scores, CORRECTIONS: results, LOST_EARLIER: lost}


def _quoted(example: ExampleRow) -> str:
    text = " ".join(example.question.split())
    return f"“{text if len(text) <= MAX_QUOTED_CHARS else text[: MAX_QUOTED_CHARS - 1] + '…'}”"
