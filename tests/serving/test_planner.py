"""The planner's promises, held by random interleavings with faults, and by bugs planted on purpose."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from homefire.serving.effects import (
    Effects,
    Evict,
    Expired,
    Load,
    LoadFailed,
    NeverFits,
    ParkTraining,
    Prepare,
    QueueIsFull,
    Refuse,
    ResumeTraining,
    Sleep,
    Start,
    Stopping,
    Wake,
)
from homefire.serving.memory_plan import TRAINING_PATIENCE_S
from homefire.serving.planner import Planner
from homefire.serving.room import Room
from tests.serving.ledger import GB, NAMES, Ledger, play

LIMITS = [(4, 1, 5), (6, 2, 0), (6, 3, 2), (9, 8, 5)]
"""Budget in GB, models, overtakes."""


def make_planner(
    budget: int = 6, max_models: int = 3, max_overtakes: int = 2, kind: type[Planner] = Planner
) -> Planner:
    return kind(budget_bytes=budget * GB, max_models=max_models, max_waiting=12, max_overtakes=max_overtakes)


# Random interleavings


@pytest.mark.parametrize("limits", LIMITS)
def test_random_interleavings_with_faults_keep_every_promise(limits: tuple[int, int, int]) -> None:
    seen: dict[str, int] = {}
    for seed in range(12):
        ledger = play(make_planner(*limits), seed=seed, num_events=1_000)
        for what, number in {
            **ledger.num_refused,
            "starts": ledger.num_started,
            "loads": ledger.num_loads,
            "evictions": ledger.num_evictions,
            "parked": ledger.num_parked,
            "over budget": ledger.num_over_budget,
        }.items():
            seen[what] = seen.get(what, 0) + number
    least = {"starts": 2000, "loads": 200, "evictions": 200, "QueueIsFull": 100, "LoadFailed": 20}
    least |= {"Expired": 3, "NeverFits": 20, "parked": 3, "over budget": 3}
    assert {what: seen.get(what, 0) for what in least if seen.get(what, 0) < least[what]} == {}, "too tame"


class PlannerMachine(RuleBasedStateMachine):
    """Hypothesis looks for the shortest sequence that breaks a promise."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(Planner(budget_bytes=6 * GB, max_models=2, max_waiting=6, max_overtakes=1))

    @rule(model=st.sampled_from(NAMES), num_slots=st.integers(0, 1), swaps=st.booleans())
    def submit(self, model: str, num_slots: int, swaps: bool) -> None:
        self.ledger.submit(model, num_slots=num_slots, may_exceed=swaps and not num_slots)

    @precondition(lambda self: self.ledger.active)
    @rule(data=st.data(), cancelled=st.booleans())
    def end(self, data: st.DataObject, cancelled: bool) -> None:
        self.ledger.end(data.draw(st.sampled_from(sorted(self.ledger.active))), cancelled=cancelled)

    @precondition(lambda self: self.ledger.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.ledger.cancel_waiting(data.draw(st.sampled_from(sorted(self.ledger.waiting))))

    @precondition(lambda self: self.ledger.pending())
    @rule(data=st.data(), fails=st.booleans())
    def answer(self, data: st.DataObject, fails: bool) -> None:
        self.ledger.answer(data.draw(st.sampled_from(self.ledger.pending())), fails=fails)

    @rule(model=st.sampled_from(NAMES))
    def unload(self, model: str) -> None:
        self.ledger.retire(model, broken=False)

    def teardown(self) -> None:
        self.ledger.drain()


TestPlannerMachine = PlannerMachine.TestCase
TestPlannerMachine.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def play_many(kind: type[Planner]) -> None:
    for seed in range(12):
        for limits in LIMITS:
            play(make_planner(*limits, kind=kind), seed=seed, num_events=1_000)


# Controls: each bug is one that a reader could plant by accident, and each must be noticed.


class LaxRoom(Room):
    def within_budget(self, *, beside: int) -> bool:
        return True


class IgnoresTheBudget(Planner):
    def _room(self) -> Room:
        return Room(1 << 60, self.max_models)


class IgnoresTheCount(Planner):
    def _room(self) -> Room:
        self.max_models, kept = 99, self.max_models
        room = super()._room()
        self.max_models = kept
        return room


class SwapsWithoutBound(Planner):
    def _room(self) -> Room:
        room = super()._room()
        room.__class__ = LaxRoom
        return room


class EvictsTheBusy(Planner):
    def _idle(self, *, spare_pinned: bool) -> Any:
        return [model for model in self._models.values() if model.held_bytes and model.state == "ready"]


class EvictsThePinnedFirst(Planner):
    def _idle(self, *, spare_pinned: bool) -> Any:
        return super()._idle(spare_pinned=spare_pinned)[::-1]


class LosesATicketWhenALoadFails(Planner):
    def _refuse_waiting(self, model: Any, cause: Any) -> Any:
        return super()._refuse_waiting(model, cause)[:-1]


class HasNoLimitOfOvertakes(Planner):
    def _serve_waiting(self, *args: Any) -> Any:
        short = super()._serve_waiting(*args)
        for request in self._waiting:
            request.num_overtakes = 0
        return short


class LeaksASlotOnCancel(Planner):
    def cancelled(self, ticket: int, *, now_s: float) -> Effects:
        request = self._requests.get(ticket)
        if request is not None and request.started_s is not None:
            request.model.num_used_slots += request.num_slots
        return super().cancelled(ticket, now_s=now_s)


class ForgetsToStartTheNext(Planner):
    def finished(self, ticket: int, *, now_s: float) -> Effects:
        return super().finished(ticket, now_s=now_s)[:1]


class StartsBeforeTheLoad(Planner):
    def _give_room(self, request: Any, now_s: float, **rest: Any) -> Any:
        effect = super()._give_room(request, now_s, **rest)
        effect_model = self._models[effect.model]
        if request is not None:
            effect_model.state = "ready"
        return effect


class ForgetsDeadlines(Planner):
    def tick(self, now_s: float) -> Effects:
        return ()


class DoesNotLoadAnew(Planner):
    def unloaded(self, model: str, *, now_s: float) -> Effects:
        self._models[model].num_waiting = 0
        return super().unloaded(model, now_s=now_s)


class LoadsForNothing(Planner):
    def _plan(self, now_s: float) -> Effects:
        for model in self._models.values():
            model.granted = None
        return super()._plan(now_s)


class NeverParksTraining(Planner):
    def training_started(self, num_bytes: int, *, now_s: float) -> Effects:
        effects = super().training_started(num_bytes, now_s=now_s)
        self._training = "unparkable"
        return effects


class ResumesTrainingAtOnce(Planner):
    def _resume_training(self, room: Any, now_s: float, effects: Any) -> None:
        if self._training == "parked":
            self._training = "resuming"
            effects.append(ResumeTraining())


class ForgetsWhatALoadTook(Planner):
    def loaded(self, model: str, *, measured_bytes: int | None, now_s: float) -> Effects:
        return super().loaded(model, measured_bytes=None, now_s=now_s)


@pytest.mark.parametrize(
    "bug",
    [
        IgnoresTheBudget,
        IgnoresTheCount,
        SwapsWithoutBound,
        EvictsTheBusy,
        EvictsThePinnedFirst,
        LosesATicketWhenALoadFails,
        HasNoLimitOfOvertakes,
        LeaksASlotOnCancel,
        ForgetsToStartTheNext,
        StartsBeforeTheLoad,
        ForgetsDeadlines,
        DoesNotLoadAnew,
        LoadsForNothing,
        NeverParksTraining,
        ResumesTrainingAtOnce,
        ForgetsWhatALoadTook,
    ],
)
def test_control_a_planted_bug_is_noticed(bug: type[Planner]) -> None:
    with pytest.raises((AssertionError, KeyError)):
        play_many(bug)


# One promise at a time


class Bench:
    """A planner whose effects are answered by hand, at second zero unless told."""

    def __init__(self, **limits: Any) -> None:
        given = {"budget_bytes": 4 * GB, "max_models": 8, "max_waiting": 9, **limits}
        self.planner = Planner(**given)

    def submit(self, ticket: int, model: str, now_s: float = 0.0, **rest: Any) -> Effects:
        return self.planner.submitted(ticket, model, now_s=now_s, **rest)

    def prepare(
        self, model: str, need_bytes: int = GB, num_slots: int = 1, now_s: float = 0.0, **rest: Any
    ) -> Effects:
        return self.planner.prepared(model, need_bytes=need_bytes, num_slots=num_slots, now_s=now_s, **rest)

    def load(self, model: str, measured_bytes: int | None = None, now_s: float = 0.0) -> Effects:
        return self.planner.loaded(model, measured_bytes=measured_bytes, now_s=now_s)

    def explain(self, ticket: int) -> str:
        """What a request waits for; "" for one that does not wait."""
        return next((one.reason for one in self.planner.waiting(0.0) if one.ticket == ticket), "")

    def finish(self, ticket: int, now_s: float = 0.0) -> Effects:
        return self.planner.finished(ticket, now_s=now_s)

    def have_ready(self, model: str, need_bytes: int = GB, num_slots: int = 1, **rest: Any) -> None:
        """Loaded and idle."""
        assert self.submit(-1, model) == (Prepare(model),)
        assert self.prepare(model, need_bytes, num_slots, **rest) == (Load(model),)
        assert [type(effect) for effect in self.load(model)] == [Start]
        self.finish(-1)


def started(effects: Effects) -> list[int]:
    return [effect.ticket for effect in effects if isinstance(effect, Start)]


def test_a_model_is_prepared_loaded_once_and_started_on() -> None:
    bench = Bench()
    assert bench.submit(1, "a") == (Prepare("a"),)
    assert bench.submit(2, "a") == ()
    assert bench.explain(1) == "a is being prepared"
    assert bench.prepare("a", num_slots=2) == (Load("a"),)
    assert bench.explain(2) == "a is loading"
    assert started(bench.load("a")) == [1, 2]
    assert bench.explain(1) == ""


def test_requests_of_one_model_start_in_order_of_arrival() -> None:
    bench = Bench()
    bench.have_ready("m")
    assert started(bench.submit(0, "m")) == [0]
    for ticket in range(1, 6):
        assert bench.submit(ticket, "m") == ()
    assert bench.explain(3) == "waits for a slot of m"
    assert [started(bench.finish(ticket)) for ticket in range(5)] == [[ticket] for ticket in range(1, 6)]


def test_batch_requests_stand_behind_interactive_ones_that_come_later() -> None:
    bench = Bench()
    bench.have_ready("m")
    bench.submit(0, "m")
    bench.submit(1, "m", lane="batch")
    bench.submit(2, "m")
    assert [one.position for one in bench.planner.waiting(0.0)] == [1, 2]
    assert started(bench.finish(0)) == [2]
    assert started(bench.finish(2)) == [1]


def test_what_takes_no_slot_starts_beside_those_that_do() -> None:
    bench = Bench()
    bench.have_ready("m")
    bench.submit(0, "m")
    bench.submit(1, "m")
    assert started(bench.submit(2, "m", num_slots=0)) == [2]


def test_a_busy_model_cannot_starve_another_that_waits_for_room() -> None:
    bench = Bench(budget_bytes=GB, max_overtakes=2)
    bench.have_ready("a", num_slots=2)
    assert started(bench.submit(0, "a")) == [0]
    bench.submit(1, "b")
    assert bench.prepare("b") == ()
    assert bench.explain(1) == "waits for room: 1.0 GB needed, a is busy with 1 request"
    assert started(bench.submit(2, "a")) == [2]  # first overtake
    assert bench.finish(0) == ()
    assert started(bench.submit(3, "a")) == [3]  # second and last
    assert bench.submit(4, "a") == ()
    assert bench.finish(2) == (), "held, although a slot of its model is free"
    assert bench.explain(4) == "waits for its turn: a request before it needs room"
    assert bench.finish(3) == (Evict("a"),)
    assert bench.explain(1) == "waits for room: 1.0 GB needed, a is being unloaded"
    assert bench.planner.unloaded("a", now_s=0.0) == (Prepare("a"), Load("b"))
    assert started(bench.load("b")) == [1]


def test_a_request_that_waits_for_a_slot_does_not_hold_up_other_models() -> None:
    bench = Bench(max_overtakes=0)
    bench.have_ready("a")
    bench.have_ready("b")
    bench.submit(0, "a")
    assert bench.submit(1, "a") == ()
    assert started(bench.submit(2, "b")) == [2]


def test_the_longest_idle_model_leaves_and_only_as_many_as_needed() -> None:
    bench = Bench(budget_bytes=3 * GB)
    for now_s, model in enumerate("abc", start=1):
        bench.have_ready(model)
        bench.submit(9, model, now_s)
        bench.finish(9, now_s)
    bench.submit(1, "d")
    assert bench.prepare("d", 2 * GB) == (Evict("a"), Evict("b"))


def test_the_pinned_model_leaves_last_but_blocks_nobody() -> None:
    bench = Bench(budget_bytes=2 * GB)
    bench.planner.pinned("a", now_s=0.0)
    bench.have_ready("a")
    bench.have_ready("b")
    bench.submit(1, "c")
    assert bench.prepare("c") == (Evict("b"),)
    bench.planner.unloaded("b", now_s=0.0)
    bench.load("c")
    bench.submit(2, "b")
    assert bench.prepare("b") == (Evict("a"),)


def test_a_swap_is_loaded_over_the_budget_and_the_old_one_drains() -> None:
    bench = Bench(budget_bytes=GB)
    bench.planner.pinned("old", now_s=0.0)
    bench.have_ready("old")
    bench.submit(1, "old")
    bench.submit(2, "new", num_slots=0, may_exceed=True)
    assert bench.prepare("new") == (Load("new"),)
    assert started(bench.load("new")) == [2]
    bench.planner.pinned("new", now_s=0.0)
    assert bench.planner.unpinned("old", now_s=0.0) == ()
    assert bench.finish(2) == ()
    assert bench.finish(1) == (Evict("old"),), "the old one leaves when it has drained"


def test_a_model_that_can_never_fit_is_refused_at_once_with_the_figures() -> None:
    bench = Bench()
    bench.submit(1, "huge@sha256:1")
    assert bench.prepare("huge@sha256:1", 5 * GB) == (
        Refuse(1, NeverFits("huge", 5 * GB, 4 * GB)),
        Evict("huge@sha256:1"),
    )


def test_what_a_load_really_took_counts_for_the_next_one() -> None:
    bench = Bench()
    bench.submit(1, "a")
    bench.prepare("a", 4 * GB)
    bench.load("a", measured_bytes=GB)
    assert bench.planner.held_bytes == GB
    bench.finish(1)
    assert bench.planner.unload("a", now_s=0.0) == (Evict("a"),)
    bench.planner.unloaded("a", now_s=0.0)
    bench.have_ready("b", 3 * GB)
    bench.submit(2, "a")
    assert bench.prepare("a", 4 * GB) == (Load("a"),)


def test_a_failed_load_refuses_its_waiters_with_its_error_and_the_next_request_tries_again() -> None:
    bench, error = Bench(), ValueError("torn")
    bench.submit(1, "a")
    bench.submit(2, "a")
    bench.prepare("a")
    assert bench.planner.load_failed("a", error, now_s=0.0) == (
        Refuse(1, LoadFailed(error)),
        Refuse(2, LoadFailed(error)),
    )
    assert bench.submit(3, "a") == (Prepare("a"),)


def test_a_client_that_leaves_leaves_the_load_running_until_its_room_is_needed() -> None:
    bench = Bench(budget_bytes=GB)
    bench.submit(1, "a")
    bench.prepare("a")
    assert bench.planner.cancelled(1, now_s=0.0) == ()
    bench.submit(2, "b")
    assert bench.prepare("b") == (Evict("a"),)


def test_a_client_that_leaves_before_the_load_has_it_loaded_only_where_there_is_room() -> None:
    bench = Bench()
    for ticket, need_bytes, expected in ((1, 3 * GB, Load("a")), (2, 3 * GB, Evict("b"))):
        model = expected.model
        bench.submit(ticket, model)
        bench.planner.cancelled(ticket, now_s=0.0)
        assert bench.prepare(model, need_bytes) == (expected,)


def test_who_asked_before_an_unload_is_served_first_and_who_asks_later_has_it_loaded_anew() -> None:
    bench = Bench()
    bench.have_ready("a")
    bench.submit(1, "a")
    bench.submit(2, "a")
    assert bench.planner.unload("a", now_s=0.0) == ()
    assert bench.submit(3, "a") == ()
    assert bench.explain(3) == "a is being unloaded and will be loaded again"
    assert started(bench.finish(1)) == [2]
    assert bench.finish(2) == (Evict("a"),)
    assert bench.planner.unloaded("a", now_s=0.0) == (Prepare("a"),)


def test_nobody_starts_on_a_model_that_is_broken() -> None:
    bench = Bench()
    bench.have_ready("a")
    bench.submit(1, "a")
    bench.submit(2, "a")
    assert bench.planner.broken("a", now_s=0.0) == ()
    assert bench.finish(1) == (Evict("a"),)
    assert bench.planner.unloaded("a", now_s=0.0) == (Prepare("a"),)


def test_a_broken_model_that_is_also_unloaded_serves_nobody_who_still_waits() -> None:
    bench = Bench()
    bench.have_ready("a")
    bench.submit(1, "a")
    bench.submit(2, "a")
    assert bench.planner.broken("a", now_s=0.0) == ()
    assert bench.planner.unload("a", now_s=0.0) == ()
    assert bench.finish(1) == (Evict("a"),)


def test_an_engine_that_can_sleep_sleeps_and_wakes() -> None:
    bench = Bench(budget_bytes=GB)
    bench.have_ready("a", can_sleep=True)
    bench.submit(1, "b")
    assert bench.prepare("b") == (Sleep("a"),)
    assert bench.planner.slept("a", now_s=0.0) == (Load("b"),)
    bench.load("b")
    bench.submit(2, "a")
    assert bench.finish(1) == (Evict("b"),)
    assert bench.planner.unloaded("b", now_s=0.0) == (Wake("a"),)
    assert started(bench.load("a")) == [2]


def test_no_more_models_sleep_than_may_be_loaded() -> None:
    bench = Bench(max_models=1)
    for now_s, model in enumerate("abc", start=1):
        effects = bench.submit(now_s, model, now_s) + bench.prepare(model, can_sleep=True, now_s=now_s)
        if isinstance(effects[-1], Sleep):
            effects = bench.planner.slept(effects[-1].model, now_s=now_s)
        assert Load(model) in effects
        bench.load(model, now_s=now_s)
        bench.finish(now_s, now_s)
    assert effects == (Load("c"), Evict("a"))


def test_a_sleeper_that_is_evicted_counts_as_a_model_until_it_is_gone() -> None:
    bench = Bench(max_models=1)
    bench.have_ready("a", can_sleep=True)
    bench.submit(1, "b")
    assert bench.prepare("b", can_sleep=True) == (Sleep("a"),)
    bench.planner.slept("a", held_bytes=GB // 5, now_s=0.0)
    bench.load("b")
    bench.finish(1)
    bench.planner.training_started(GB, now_s=0.0)
    bench.planner.training_not_parked(now_s=0.0)
    bench.submit(2, "c")
    bench.prepare("c", 4 * GB)
    bench.submit(3, "d", num_slots=0, may_exceed=True)
    bench.prepare("d", 4 * GB)
    assert bench.planner.training_ended(now_s=0.0) == (Evict("a"), Sleep("b"))


def test_training_parks_for_chat_and_goes_on_when_there_is_room_again() -> None:
    bench = Bench(budget_bytes=4 * GB)
    assert bench.planner.training_started(3 * GB, now_s=0.0) == ()
    bench.submit(1, "a")
    assert bench.prepare("a", 2 * GB) == (ParkTraining(),)
    assert bench.explain(1) == "waits for room: 2.0 GB needed, training is parking"
    assert bench.planner.training_parked(now_s=0.0) == (Load("a"),)
    bench.load("a")
    assert bench.finish(1, now_s=10.0) == ()
    due_s = bench.planner.training_due_s(10.0)
    assert due_s == 10.0 + TRAINING_PATIENCE_S
    assert bench.planner.tick(due_s) == (Evict("a"),)
    assert bench.planner.unloaded("a", now_s=due_s) == (ResumeTraining(),)
    assert bench.planner.held_bytes == 3 * GB


def test_training_that_cannot_be_parked_is_not_asked_again() -> None:
    bench = Bench()
    bench.planner.training_started(3 * GB, now_s=0.0)
    bench.submit(1, "a")
    assert bench.prepare("a", 2 * GB) == (ParkTraining(),)
    assert bench.planner.training_not_parked(now_s=0.0) == ()
    assert bench.explain(1) == "waits for training to end: 2.0 GB needed"
    for ticket in range(2, 50):  # it does not hold up those whose model does fit
        bench.submit(ticket, "b")
        if ticket == 2:
            bench.prepare("b")
            bench.load("b")
        bench.finish(ticket)
    assert bench.planner.training_ended(now_s=0.0) == (Load("a"),)


def test_a_request_over_its_deadline_is_refused_with_what_it_waited_for() -> None:
    bench = Bench()
    bench.submit(1, "a", 5.0, deadline_s=9.0)
    assert bench.planner.tick(8.9) == ()
    assert bench.planner.tick(9.0) == (Refuse(1, Expired(4.0, "a is being prepared")),)


def test_a_full_queue_refuses_with_its_length_and_keeps_those_that_wait() -> None:
    bench = Bench(max_waiting=1)
    bench.have_ready("m")
    bench.submit(1, "m")
    assert bench.submit(2, "m") == ()
    (refusal,) = bench.submit(3, "m")
    assert isinstance(refusal, Refuse)
    assert isinstance(refusal.cause, QueueIsFull)
    assert refusal.cause.num_waiting == 1
    assert [type(effect.cause) for effect in bench.submit(4, "unknown")] == [QueueIsFull]  # type: ignore[union-attr]
    assert not bench.planner.knows("unknown")
    assert bench.submit(5, "m", num_slots=0, may_exceed=True) != (), "a swap is always taken"


def test_a_full_queue_refuses_for_a_model_that_is_not_ready_too() -> None:
    bench = Bench(max_waiting=1)
    bench.submit(1, "a")
    (refusal,) = bench.submit(2, "a")
    assert isinstance(refusal, Refuse)
    assert isinstance(refusal.cause, QueueIsFull)
    assert bench.explain(1) == "a is being prepared"


def test_room_that_is_on_its_way_is_not_made_twice() -> None:
    bench = Bench(budget_bytes=2 * GB)
    bench.have_ready("a")
    bench.have_ready("b")
    bench.submit(1, "c")
    assert bench.prepare("c") == (Evict("a"),)
    assert bench.planner.tick(1.0) == ()
    assert bench.planner.unloaded("a", now_s=2.0) == (Load("c"),)


@pytest.mark.parametrize(("duration_s", "expected_s"), [(0.2, 1), (2.0, 4), (30.0, 60)])
@pytest.mark.parametrize("ending", ["finished", "cancelled"])
def test_when_to_come_back_follows_from_how_long_requests_lately_took(
    duration_s: float, expected_s: int, ending: str
) -> None:
    """Four slots that each free one place every `duration_s`: eight (seven that wait, and this one) take two."""
    bench = Bench(max_waiting=7)
    bench.have_ready("m", num_slots=4)
    for round_ in range(70):
        bench.submit(100 + round_, "m", 1000.0 * round_)
        getattr(bench.planner, ending)(100 + round_, now_s=1000.0 * round_ + duration_s)
    for ticket in range(4 + 7):
        bench.submit(ticket, "m", 1e6)
    assert bench.submit(99, "m", 1e6) == (Refuse(99, QueueIsFull(7, expected_s)),)


def test_waiting_and_counting_do_not_count_as_how_long_requests_took() -> None:
    bench = Bench(max_waiting=1)
    bench.submit(0, "m")
    bench.prepare("m", now_s=500.0)
    bench.load("m", now_s=900.0)
    bench.finish(0, now_s=902.0)
    bench.submit(1, "m", 902.0, num_slots=0)
    bench.finish(1, now_s=2000.0)
    bench.submit(2, "m", 2000.0)
    bench.submit(3, "m", 2000.0)
    assert bench.submit(4, "m", 2000.0) == (Refuse(4, QueueIsFull(1, 4)),)


def test_the_time_of_a_load_is_told_apart_from_the_time_in_the_queue() -> None:
    bench = Bench(budget_bytes=GB)
    bench.have_ready("a")
    bench.submit(1, "a", 0.0)
    bench.submit(2, "b", 0.0)
    bench.prepare("b", now_s=3.0)
    bench.finish(1, now_s=10.0)
    bench.planner.unloaded("a", now_s=11.0)
    assert bench.load("b", now_s=15.0) == (Start(2, waited_s=15.0, load_s=7.0),)


def test_stopping_refuses_who_waits_and_evicts_everything() -> None:
    bench = Bench()
    bench.have_ready("a")
    bench.submit(1, "a")
    bench.submit(2, "a")
    bench.submit(3, "b")
    assert bench.planner.stop() == (Refuse(2, Stopping()), Refuse(3, Stopping()), Evict("a"), Evict("b"))
    assert bench.finish(1) == ()
    assert bench.submit(4, "a") == (Refuse(4, Stopping()),)
    assert bench.planner.unloaded("a", now_s=0.0) == ()


def test_limits_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Planner(budget_bytes=0, max_models=1, max_waiting=1)


# Costs


def count_steps(action: Callable[[], object]) -> int:
    """Lines of Python run by an action."""
    num_steps = 0

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal num_steps
        num_steps += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
    return num_steps


def steps_of_one_request(num_waiting: int, num_models: int) -> int:
    bench = Bench(budget_bytes=num_models * GB, max_models=num_models, max_waiting=1000)
    for index in range(num_models):
        bench.have_ready(f"m{index}")
    for ticket in range(num_waiting + bool(num_waiting)):
        bench.submit(ticket, f"m{ticket % num_models}" if ticket % 3 else "m0")
    if num_waiting:
        bench.submit(5000, "new")
        bench.prepare("new")

    def ask_and_finish() -> None:
        bench.submit(9999, f"m{num_models - 1}")
        bench.finish(0) if num_waiting else bench.finish(9999)

    return count_steps(ask_and_finish)


def test_an_event_costs_at_most_linearly_in_the_waiting_requests() -> None:
    few, many = steps_of_one_request(50, 4), steps_of_one_request(800, 4)
    assert many < 18 * few


def test_nothing_depends_on_how_many_models_are_loaded_while_nobody_waits() -> None:
    assert steps_of_one_request(0, 2) == steps_of_one_request(0, 60) < 100
