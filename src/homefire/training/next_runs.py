"""What is trained next after a verdict, so that no correction holds up another. Pure.

After a version that went live, what it did not learn is tried again by itself at a lower rate, together with an earlier
correction that it lost. After one that was held back its corrections are divided: those to blame
(`versions/blame.py`) and the others; where nobody is to blame, two halves. The others go first, with the same recipe.
A correction alone is tried again at a lower rate.

That ends: a correction that was to blame `max_tries` times is not taught again by itself, and one that was in
`MAX_REFUSALS` versions that were held back is not either, whoever was to blame. So one set leads to at most
2 ** `MAX_REFUSALS` - 1 versions that are held back, and in practice to two or three runs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import msgspec

from homefire.store.nouns.examples import ExampleRow
from homefire.training.ledger import Tries

MAX_REFUSALS = 5
"""So many versions that were held back a correction may have been in before it is not tried any more."""


class PlannedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run to queue. `at_lower_rate`: more steps, smaller ones, and more replay than the run before.

    `can_wait`: whatever else waits goes first.
    """

    examples: tuple[ExampleRow, ...]
    name: str
    at_lower_rate: bool = False
    can_wait: bool = False


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The runs to queue, in their order, and the corrections that nothing teaches by itself any more."""

    runs: tuple[PlannedRun, ...] = ()
    given_up: tuple[ExampleRow, ...] = ()


def after_refusal(
    examples: Sequence[ExampleRow],
    *,
    blamed: Collection[str],
    tries: Callable[[str], Tries],
    max_tries: int,
) -> Plan:
    """What to do with the corrections of a version that was held back. `tries` counts that verdict already."""
    given_up = [each for each in examples if not _may_go_on(tries(each.example_id), max_tries=max_tries)]
    left = [each for each in examples if each not in given_up]
    guilty = [each for each in left if each.example_id in blamed]
    others = [each for each in left if each.example_id not in blamed]
    if len(examples) == 1:
        runs = [PlannedRun(examples=tuple(left), name="a correction, at a lower rate", at_lower_rate=True)]
    elif guilty and others:
        runs = [
            PlannedRun(examples=tuple(others), name="corrections, without those that failed"),
            PlannedRun(
                examples=tuple(guilty), name="corrections that failed", at_lower_rate=True, can_wait=True
            ),
        ]
    elif given_up and left:
        runs = [PlannedRun(examples=tuple(left), name="corrections, without those that failed")]
    else:
        middle = (len(left) + 1) // 2
        runs = [
            PlannedRun(examples=tuple(half), name="half of the corrections", at_lower_rate=True)
            for half in (left[:middle], left[middle:])
        ]
    return Plan(runs=tuple(run for run in runs if run.examples), given_up=tuple(given_up))


def after_promotion(
    unlearned: Sequence[ExampleRow],
    *,
    lost: Sequence[ExampleRow],
    tries: Callable[[str], Tries],
    max_tries: int,
) -> Plan:
    """What to do with what a version that is live did not learn, and with what it lost."""
    again = [each for each in unlearned if _may_go_on(tries(each.example_id), max_tries=max_tries)]
    given_up = tuple(each for each in unlearned if each not in again)
    examples = (*lost, *again)
    if not examples:
        return Plan(given_up=given_up)
    name = "corrections, again" if again else "a correction that was lost"
    return Plan(
        runs=(PlannedRun(examples=examples, name=name, at_lower_rate=bool(again)),), given_up=given_up
    )


def _may_go_on(tries: Tries, *, max_tries: int) -> bool:
    return tries.num_blamed < max_tries and tries.num_refused < MAX_REFUSALS
