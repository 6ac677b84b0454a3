"""What is trained next after a verdict: everything ends, and no correction waits for another."""

from __future__ import annotations

import random
from collections import Counter, deque

import pytest

from homefire.store.nouns.examples import ExampleRow
from homefire.training import next_runs
from homefire.training.ledger import Tries
from homefire.training.next_runs import MAX_REFUSALS, Plan, after_promotion, after_refusal
from homefire.types import Message


def row(name: str) -> ExampleRow:
    messages = (Message("user", f"question {name}"), Message("assistant", f"answer {name}"))
    return ExampleRow(
        example_id=name, profile="plain", messages=messages, prompt_digest=name, feedback_id=None, turn_id=None,
        principal="local", created_at_s=0.0, superseded_by=None,
    )  # fmt: skip


ROWS = [row(f"e{number}") for number in range(6)]


def names(plan: Plan) -> list[tuple[list[str], bool]]:
    return [([each.example_id for each in run.examples], run.at_lower_rate) for run in plan.runs]


def refused(
    count: int, *, blamed: set[str], num_blamed: int = 1, num_refused: int = 1, max_tries: int = 2
) -> Plan:
    def tries(name: str) -> Tries:
        alone = count == 1
        return Tries(num_refused=num_refused, num_blamed=num_blamed if alone or name in blamed else 0)

    return after_refusal(ROWS[:count], blamed=blamed, tries=tries, max_tries=max_tries)


def test_those_to_blame_are_tried_apart_and_after_the_others() -> None:
    plan = refused(6, blamed={"e1", "e4"})
    assert names(plan) == [(["e0", "e2", "e3", "e5"], False), (["e1", "e4"], True)]
    assert plan.given_up == ()


def test_where_nobody_is_to_blame_or_everybody_the_set_is_halved() -> None:
    for blamed in (set[str](), {each.example_id for each in ROWS}):
        assert names(refused(6, blamed=blamed)) == [(["e0", "e1", "e2"], True), (["e3", "e4", "e5"], True)]


def test_a_correction_alone_is_tried_again_at_a_lower_rate() -> None:
    assert names(refused(1, blamed=set())) == [(["e0"], True)]


@pytest.mark.parametrize(("num_blamed", "goes_on"), [(1, True), (2, False), (3, False)])
def test_who_was_to_blame_as_often_as_the_setting_says_is_given_up(num_blamed: int, goes_on: bool) -> None:
    """The limit itself: with two tries a correction is trained twice, not once and not three times."""
    plan = refused(1, blamed={"e0"}, num_blamed=num_blamed)
    assert bool(plan.runs) is goes_on
    assert [each.example_id for each in plan.given_up] == ([] if goes_on else ["e0"])


@pytest.mark.parametrize(("num_refused", "goes_on"), [(MAX_REFUSALS - 1, True), (MAX_REFUSALS, False)])
def test_who_was_in_that_many_refused_versions_is_given_up_without_blame(
    num_refused: int, goes_on: bool
) -> None:
    plan = refused(4, blamed=set(), num_refused=num_refused)
    assert bool(plan.runs) is goes_on
    assert len(plan.given_up) == (0 if goes_on else 4)


def test_what_a_live_version_did_not_learn_is_tried_again_with_what_it_lost() -> None:
    fresh, tired = (lambda _: Tries(num_blamed=1)), (lambda _: Tries(num_blamed=2))
    assert names(after_promotion(ROWS[:2], lost=ROWS[5:], tries=fresh, max_tries=2)) == [
        (["e5", "e0", "e1"], True)
    ]
    assert names(after_promotion([], lost=ROWS[5:], tries=fresh, max_tries=2)) == [(["e5"], False)]
    plan = after_promotion(ROWS[:2], lost=[], tries=tired, max_tries=2)
    assert (plan.runs, len(plan.given_up)) == ((), 2)


class Trainer:
    """Trains planned runs until none is left: some corrections cannot be learned, some break what they are in."""

    def __init__(self, count: int, *, unlearnable: set[str], breaking: set[str], sees_who: bool) -> None:
        self.unlearnable, self.breaking, self.sees_who = unlearnable, breaking, sees_who
        self.num_refused: Counter[str] = Counter()
        self.num_blamed: Counter[str] = Counter()
        self.live: set[str] = set()
        self.given_up: set[str] = set()
        self.num_runs = 0
        self.queue = deque([tuple(row(f"e{number}") for number in range(count))])

    def work(self) -> None:
        while self.queue:
            self.num_runs += 1
            assert self.num_runs < 200, "it does not end"
            examples = self.queue.popleft()
            plan = self._verdict(examples)
            self.given_up |= {each.example_id for each in plan.given_up}
            self.queue.extend(run.examples for run in plan.runs)

    def _verdict(self, examples: tuple[ExampleRow, ...]) -> Plan:
        ids = {each.example_id for each in examples}
        unlearned, broken = ids & self.unlearnable, ids & self.breaking
        blamed = unlearned | (broken if self.sees_who else set())
        self.num_blamed.update(ids if len(ids) == 1 and (broken or unlearned) else blamed)

        def tries(name: str) -> Tries:
            return Tries(num_refused=self.num_refused[name], num_blamed=self.num_blamed[name])

        if broken or unlearned == ids:
            self.num_refused.update(ids)
            return after_refusal(examples, blamed=blamed, tries=tries, max_tries=2)
        self.live |= ids - unlearned
        left = [each for each in examples if each.example_id in unlearned]
        return after_promotion(left, lost=[], tries=tries, max_tries=2)


def test_whatever_is_wrong_with_some_the_learnable_ones_are_live_and_the_rest_is_named() -> None:
    for seed in range(300):
        rng = random.Random(seed)
        everyone = {f"e{number}" for number in range(26)}
        bad = set(rng.sample(sorted(everyone), rng.randint(0, 5)))
        breaking = {name for name in bad if rng.random() < 0.5}
        trainer = Trainer(26, unlearnable=bad - breaking, breaking=breaking, sees_who=True)
        trainer.work()
        assert trainer.live == everyone - bad
        assert trainer.given_up == bad


def test_one_that_breaks_something_unseen_costs_few_others() -> None:
    for culprit in range(26):
        trainer = Trainer(26, unlearnable=set(), breaking={f"e{culprit}"}, sees_who=False)
        trainer.work()
        assert f"e{culprit}" in trainer.given_up
        assert len(trainer.live) >= 24
        assert trainer.num_runs <= 2 * MAX_REFUSALS + 1


def test_a_set_in_which_nothing_can_be_learned_ends_after_a_bounded_number_of_runs() -> None:
    everyone = {f"e{number}" for number in range(26)}
    for sees_who in (True, False):
        trainer = Trainer(26, unlearnable=set(), breaking=everyone, sees_who=sees_who)
        trainer.work()
        assert trainer.given_up == everyone
        assert trainer.num_runs <= 2**MAX_REFUSALS - 1


def test_control_a_set_that_is_only_tried_again_as_a_whole_holds_everybody_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Planted bug: how it was, the same set at a lower rate."""

    def as_a_whole(examples: list[ExampleRow], **_: object) -> Plan:
        if monkeypatched.num_runs > 1:
            return Plan(given_up=tuple(examples))
        return Plan(runs=(next_runs.PlannedRun(examples=tuple(examples), name="again"),))

    monkeypatched = Trainer(26, unlearnable=set(), breaking={"e3"}, sees_who=True)
    monkeypatch.setitem(globals(), "after_refusal", as_a_whole)
    monkeypatched.work()
    assert monkeypatched.live == set()
