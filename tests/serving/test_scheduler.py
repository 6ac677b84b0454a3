"""The scheduler's promises, held by random interleavings and by bugs planted on purpose."""

from __future__ import annotations

import random
import time
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from homefire.serving.scheduler import Effect, Refuse, Scheduler, Start


class Ledger:
    """Drives a scheduler and keeps its own books; raises AssertionError when a promise is broken."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.waiting: dict[int, str] = {}
        self.passes: Counter[int] = Counter()
        self.active: dict[int, str] = {}
        self.num_started = 0
        self.num_refused = 0
        self.next_ticket = 0

    def submit(self, model: str) -> None:
        self.next_ticket += 1
        self.waiting[self.next_ticket] = model
        self._apply(self.scheduler.submitted(self.next_ticket, model))
        self.check()

    def end(self, ticket: int, *, cancelled: bool = False) -> None:
        del self.active[ticket]
        self._apply(self.scheduler.cancelled(ticket) if cancelled else self.scheduler.finished(ticket))
        self.check()

    def cancel_waiting(self, ticket: int) -> None:
        del self.waiting[ticket]
        self._apply(self.scheduler.cancelled(ticket))
        self.check()

    def drain(self) -> None:
        while self.active:
            self.end(next(iter(self.active)))
        assert not self.waiting, "nothing runs and yet requests wait: they are lost"

    def _apply(self, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            assert effect.ticket in self.waiting, "started or refused twice, or never submitted"
            model = self.waiting.pop(effect.ticket)
            if isinstance(effect, Refuse):
                self.num_refused += 1
                assert len(self.waiting) >= self.scheduler.max_waiting, "refused with room in the queue"
                continue
            self.num_started += 1
            busy = set(self.active.values())
            for other, other_model in self.waiting.items():
                if other < effect.ticket and (other_model == model or other_model not in busy):
                    self.passes[other] += 1
                    assert self.passes[other] <= self.scheduler.max_passes, "starved beyond the stated bound"
            self.active[effect.ticket] = model

    def check(self) -> None:
        per_model = Counter(self.active.values())
        assert len(per_model) <= self.scheduler.max_models
        assert max(per_model.values(), default=0) <= self.scheduler.num_parallel
        assert len(self.waiting) <= self.scheduler.max_waiting
        assert self.scheduler.num_waiting == len(self.waiting), "a waiting request is lost"
        assert self.scheduler.num_active == len(self.active)
        assert self.active or not self.waiting, "idle, and yet requests wait"


def play(scheduler: Scheduler, *, seed: int, num_events: int, num_models: int = 4) -> Ledger:
    """Random submits, ends and cancels, then a drain."""
    chance = random.Random(seed)
    ledger = Ledger(scheduler)
    models = [f"m{index}" for index in range(num_models)]
    pressure = 0.5
    for index in range(num_events):
        if index % 500 == 0:  # quiet and busy times
            pressure = chance.choice([0.3, 0.5, 0.6])
        point = chance.random()
        if point < pressure or not ledger.active:
            model = models[min(chance.randrange(num_models), chance.randrange(num_models))]
            ledger.submit(model)
        elif point < pressure + 0.08 and ledger.waiting:
            ledger.cancel_waiting(chance.choice(list(ledger.waiting)))
        else:
            ledger.end(chance.choice(list(ledger.active)), cancelled=chance.random() < 0.1)
    ledger.drain()
    return ledger


@pytest.mark.parametrize("max_models", [1, 2, 3])
@pytest.mark.parametrize("num_parallel", [1, 4])
def test_random_interleavings_keep_every_promise(max_models: int, num_parallel: int) -> None:
    started_s = time.process_time()
    num_started = num_refused = 0
    for seed in range(10):
        scheduler = Scheduler(num_parallel=num_parallel, max_models=max_models, max_waiting=12, max_passes=5)
        ledger = play(scheduler, seed=seed, num_events=5_000)
        num_started += ledger.num_started
        num_refused += ledger.num_refused
    assert num_started > 10_000
    assert num_refused > 100, "the queue limit was never met: the test is too tame"
    assert time.process_time() - started_s < 20


class SchedulerMachine(RuleBasedStateMachine):
    """Hypothesis looks for the shortest sequence that breaks a promise."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(Scheduler(num_parallel=2, max_models=2, max_waiting=6, max_passes=2))

    @rule(model=st.sampled_from(["a", "b", "c"]))
    def submit(self, model: str) -> None:
        self.ledger.submit(model)

    @precondition(lambda self: self.ledger.active)
    @rule(data=st.data(), cancelled=st.booleans())
    def end(self, data: st.DataObject, cancelled: bool) -> None:
        self.ledger.end(data.draw(st.sampled_from(sorted(self.ledger.active))), cancelled=cancelled)

    @precondition(lambda self: self.ledger.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.ledger.cancel_waiting(data.draw(st.sampled_from(sorted(self.ledger.waiting))))

    def teardown(self) -> None:
        self.ledger.drain()


TestSchedulerMachine = SchedulerMachine.TestCase
TestSchedulerMachine.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_requests_of_one_model_start_in_order_of_arrival() -> None:
    scheduler = Scheduler(num_parallel=1, max_models=1, max_waiting=9)
    assert scheduler.submitted(0, "m") == (Start(0),)
    for ticket in range(1, 6):
        assert scheduler.submitted(ticket, "m") == ()
    assert [scheduler.finished(ticket) for ticket in range(5)] == [(Start(ticket),) for ticket in range(1, 6)]


def test_a_busy_model_cannot_starve_another_that_waits_for_room() -> None:
    scheduler = Scheduler(num_parallel=2, max_models=1, max_waiting=9, max_passes=2)
    assert scheduler.submitted(0, "a") == (Start(0),)
    assert scheduler.submitted(1, "b") == ()
    assert scheduler.submitted(2, "a") == (Start(2),)  # first pass
    assert scheduler.finished(0) == ()
    assert scheduler.submitted(3, "a") == (Start(3),)  # second and last
    assert scheduler.submitted(4, "a") == ()  # held, although a slot of its model is free
    assert scheduler.finished(2) == ()
    assert scheduler.finished(3) == (Start(1),)
    assert scheduler.finished(1) == (Start(4),)


def test_a_held_slot_does_not_hold_up_other_models() -> None:
    scheduler = Scheduler(num_parallel=1, max_models=2, max_waiting=9, max_passes=0)
    scheduler.submitted(0, "a")
    assert scheduler.submitted(1, "a") == ()
    assert scheduler.submitted(2, "b") == (Start(2),)


def test_a_full_queue_refuses_with_its_length_and_keeps_those_that_wait() -> None:
    scheduler = Scheduler(num_parallel=1, max_models=1, max_waiting=1)
    scheduler.submitted(1, "m")
    assert scheduler.submitted(2, "m") == ()
    assert scheduler.submitted(3, "m") == (Refuse(3, 1),)
    assert scheduler.finished(1) == (Start(2),)


def test_limits_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Scheduler(num_parallel=0, max_models=1, max_waiting=1)


# Controls: each bug is one that a reader could plant by accident, and each must be noticed.


class ForgetsItsBound(Scheduler):
    def _next(self):  # type: ignore[no-untyped-def]
        return next((request for request in self._in_turn() if self._fits(request.model)), None)


class LeaksASlotOnCancel(Scheduler):
    def cancelled(self, ticket: int) -> tuple[Effect, ...]:
        if ticket in self._active:
            del self._active[ticket]  # and the model's count stays
            return self._start_all()
        return super().cancelled(ticket)


class ForgetsToStartTheNext(Scheduler):
    def finished(self, ticket: int) -> tuple[Effect, ...]:
        return super().finished(ticket)[:1]  # starts the others, and tells nobody


class StartsTwice(Scheduler):
    def _start(self, request):  # type: ignore[no-untyped-def]
        effect = super()._start(request)
        if request.num_passes:
            self._waiting[request.ticket] = request
        return effect


class IgnoresRoom(Scheduler):
    def _fits(self, model: str) -> bool:
        return self._num_active.get(model, 0) < self.num_parallel


@pytest.mark.parametrize(
    "bug", [ForgetsItsBound, LeaksASlotOnCancel, ForgetsToStartTheNext, StartsTwice, IgnoresRoom]
)
def test_control_a_planted_bug_is_noticed(bug: type[Scheduler]) -> None:
    scheduler = bug(num_parallel=2, max_models=2, max_waiting=12, max_passes=5)
    with pytest.raises((AssertionError, KeyError)):
        play(scheduler, seed=0, num_events=20_000)
