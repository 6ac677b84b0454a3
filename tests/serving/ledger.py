"""Drives a planner with random events, carries out its effects, and keeps books of its own.

The books know nothing of the planner's inside: they are kept from the events that went in and the effects that
came out, and raise AssertionError (or KeyError) when a promise of `homefire.serving.planner` is broken.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

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
from homefire.serving.planner import BATCH_HANDICAP, Lane, Planner

GB = 1_000_000_000
NAMES = ("a", "b", "c", "d", "e", "remote", "huge")
NEEDS = {"a": GB, "b": 2 * GB, "c": 3 * GB, "d": 4 * GB, "e": GB, "remote": 0, "huge": 90 * GB}
SLEEPERS = frozenset({"b", "d"})
NUM_SLOTS = {"a": 2, "b": 1, "c": 4, "d": 2, "e": 1, "remote": 8, "huge": 1}


class Torn(Exception):
    """What a failed load reports."""


@dataclass(slots=True)
class Asked:
    """A request as the books know it."""

    model: str
    place: float
    num_slots: int
    deadline_s: float
    may_exceed: bool
    num_passes: int = 0


@dataclass(slots=True)
class Known:
    """A model as the books know it."""

    state: str = "preparing"
    need_bytes: int = 0
    held_bytes: int = 0
    num_active: int = 0
    num_used_slots: int = 0
    is_retired: bool = False
    has_started: bool = True
    """Since its last load; or a request it was loaded for has left, so that there may be no start."""


@dataclass
class Ledger:
    """One planner and its books. Each method that is an event checks everything that follows from it."""

    planner: Planner
    now_s: float = 0.0
    waiting: dict[int, Asked] = field(default_factory=dict)
    active: dict[int, Asked] = field(default_factory=dict)
    models: dict[str, Known] = field(default_factory=dict)
    learned: dict[str, int] = field(default_factory=dict)
    pinned: set[str] = field(default_factory=set)
    training: str = "none"
    training_bytes: int = 0
    failing: str | None = None
    num_tickets: int = 0
    num_started: int = 0
    num_refused: dict[str, int] = field(default_factory=dict)
    num_loads: int = 0
    num_evictions: int = 0
    num_over_budget: int = 0
    num_parked: int = 0
    longest_wait: int = 0
    num_events: int = 0

    # Events

    def submit(
        self,
        model: str,
        *,
        num_slots: int = 1,
        lane: Lane = "interactive",
        deadline_s: float = 1e18,
        may_exceed: bool = False,
    ) -> int:
        self.num_tickets += 1
        ticket = self.num_tickets
        place = ticket + (BATCH_HANDICAP + 0.5 if lane == "batch" else 0.0)
        self.waiting[ticket] = Asked(model, place, num_slots, deadline_s, may_exceed)
        self._apply(
            self.planner.submitted(
                ticket,
                model,
                now_s=self.now_s,
                deadline_s=deadline_s,
                num_slots=num_slots,
                lane=lane,
                may_exceed=may_exceed,
            )
        )
        return ticket

    def end(self, ticket: int, *, cancelled: bool = False) -> None:
        asked = self.active.pop(ticket)
        known = self.models[asked.model]
        known.num_active -= 1
        known.num_used_slots -= asked.num_slots
        event = self.planner.cancelled if cancelled else self.planner.finished
        self._apply(event(ticket, now_s=self.now_s))

    def cancel_waiting(self, ticket: int) -> None:
        self._excuse(self.waiting.pop(ticket).model)
        self._apply(self.planner.cancelled(ticket, now_s=self.now_s))

    def advance(self, seconds: float) -> None:
        self.now_s += seconds
        for asked in self.waiting.values():
            if asked.deadline_s <= self.now_s:
                self._excuse(asked.model)
        self._apply(self.planner.tick(self.now_s))
        assert all(asked.deadline_s > self.now_s for asked in self.waiting.values()), (
            "waits past its deadline"
        )

    def pending(self) -> list[str]:
        """Models something was begun with."""
        busy = ("preparing", "loading", "waking", "sleeping", "evicting")
        return [name for name, known in self.models.items() if known.state in busy]

    def answer(self, name: str, *, fails: bool = False, measured_bytes: int | None = None) -> None:
        """What was begun with a model is done, or failed."""
        known, planner = self.models[name], self.planner
        if fails and known.state in ("preparing", "loading", "waking"):
            del self.models[name]
            self.failing = name
            self._apply(planner.load_failed(name, Torn(name), now_s=self.now_s))
            self.failing = None
        elif known.state == "preparing":
            known.state = "prepared"
            known.need_bytes = self.learned.get(name, NEEDS[name])
            self._apply(
                planner.prepared(
                    name,
                    need_bytes=NEEDS[name],
                    num_slots=NUM_SLOTS[name],
                    can_sleep=name in SLEEPERS,
                    now_s=self.now_s,
                )
            )
        elif known.state in ("loading", "waking"):
            known.state = "ready"
            if measured_bytes and known.need_bytes:
                known.need_bytes = known.held_bytes = min(measured_bytes, planner.budget_bytes)
                self.learned[name] = known.need_bytes
            self._apply(planner.loaded(name, measured_bytes=measured_bytes, now_s=self.now_s))
        elif known.state == "sleeping":
            known.state, known.held_bytes = "asleep", known.held_bytes // 10
            self._apply(planner.slept(name, held_bytes=known.held_bytes, now_s=self.now_s))
        else:
            assert known.state == "evicting"
            assert not known.num_active
            del self.models[name]
            self._apply(planner.unloaded(name, now_s=self.now_s))

    def retire(self, name: str, *, broken: bool) -> None:
        known = self.models.get(name)
        if known is not None:
            known.is_retired = True
        event = self.planner.broken if broken else self.planner.unload
        self._apply(event(name, now_s=self.now_s))

    def pin(self, name: str, *, pinned: bool) -> None:
        (self.pinned.add if pinned else self.pinned.discard)(name)
        event = self.planner.pinned if pinned else self.planner.unpinned
        self._apply(event(name, now_s=self.now_s))

    def start_training(self, num_bytes: int) -> None:
        self.training, self.training_bytes = "running", num_bytes
        self._apply(self.planner.training_started(num_bytes, now_s=self.now_s))

    def answer_training(self, *, fails: bool = False) -> None:
        if self.training == "resuming":
            self.start_training(self.training_bytes)
        elif fails:
            self.training = "unparkable"
            self._apply(self.planner.training_not_parked(now_s=self.now_s))
        else:
            self.training = "parked"
            self._apply(self.planner.training_parked(now_s=self.now_s))

    def end_training(self) -> None:
        self.training, self.training_bytes = "none", 0
        self._apply(self.planner.training_ended(now_s=self.now_s))

    def stop(self) -> None:
        self._apply(self.planner.stop())
        assert not self.waiting
        assert all(known.state == "evicting" for known in self.models.values())

    def drain(self) -> None:
        """No more faults: everything that was asked for must come to an end."""
        if self.training != "none":
            self.end_training()
        for _ in range(100_000):
            pending = self.pending()
            if self.active:
                self.end(next(iter(self.active)))
            elif pending:
                self.answer(pending[0])
            else:
                break
        assert not self.active
        assert not self.waiting, "nothing is under way and yet requests wait: they are lost"

    # Books

    def _apply(self, effects: Effects) -> None:
        self.num_events += 1
        for effect in effects:
            self._carry_out(effect)
        self._check()

    def _carry_out(self, effect: object) -> None:
        match effect:
            case Start(ticket):
                self._start(ticket)
            case Refuse(ticket, cause):
                asked = self.waiting.pop(ticket)
                name = type(cause).__name__
                self.num_refused[name] = self.num_refused.get(name, 0) + 1
                match cause:
                    case QueueIsFull():
                        assert len(self.waiting) >= self.planner.max_waiting, "refused with room in the queue"
                        assert not asked.may_exceed
                    case NeverFits(_, need_bytes, budget_bytes):
                        assert need_bytes > budget_bytes == self.planner.budget_bytes
                        assert self.models[asked.model].need_bytes == need_bytes
                    case Expired():
                        assert asked.deadline_s <= self.now_s, "refused before its deadline"
                    case LoadFailed(error):
                        assert isinstance(error, Torn)
                        assert asked.model == self.failing, "refused for the failure of another model"
                    case Stopping():
                        pass
            case Prepare(name):
                assert name not in self.models, "prepared twice"
                self.models[name] = Known()
                for asked in self.waiting.values():
                    if asked.model == name:  # unloaded on request meanwhile: it begins to wait for room anew
                        asked.num_passes = max(0, asked.num_passes - self.planner.max_models)
            case Load(name):
                self._take_room(name, "prepared", "loading")
            case Wake(name):
                self._take_room(name, "asleep", "waking")
            case Sleep(name):
                assert name in SLEEPERS
                assert self.models[name].state == "ready"
                self._vacate(name, "sleeping")
            case Evict(name):
                assert self.models[name].state not in ("evicting", "sleeping")
                self._vacate(name, "evicting")
            case ParkTraining():
                assert self.training == "running"
                self.training = "parking"
                self.num_parked += 1
            case ResumeTraining():
                assert self.training == "parked"
                assert self._held_bytes() + self.training_bytes <= self.planner.budget_bytes
                self.training = "resuming"

    def _start(self, ticket: int) -> None:
        asked = self.waiting.pop(ticket)  # KeyError: started or refused twice
        known = self.models[asked.model]
        assert known.state == "ready", "started on a model that is not loaded"
        asked.num_slots = min(asked.num_slots, NUM_SLOTS[asked.model])
        known.num_active += 1
        known.num_used_slots += asked.num_slots
        known.has_started = True
        assert known.num_used_slots <= NUM_SLOTS[asked.model], "more requests than slots"
        if known.need_bytes and not asked.may_exceed:
            # Beside its passes, those whose room was given before: one for each model, and one for a swap.
            bound = self.planner.max_passes + self.planner.max_models + 1
            for other in self.waiting.values():
                if other.place < asked.place and self._lacks_room(other):
                    other.num_passes += 1
                    assert other.num_passes <= bound, "starved beyond the stated bound"
        self.active[ticket] = asked
        self.num_started += 1
        self.longest_wait = max(self.longest_wait, self.num_tickets - ticket)

    def _lacks_room(self, asked: Asked) -> bool:
        known = self.models.get(asked.model)
        return (
            known is not None
            and known.state in ("prepared", "asleep")
            and known.need_bytes > 0
            and not known.is_retired
        )

    def _take_room(self, name: str, before: str, after: str) -> None:
        known = self.models[name]
        assert known.state == before
        held_bytes, num_held = self._held_bytes() - known.held_bytes, self._num_held()
        known.state, known.held_bytes = after, known.need_bytes
        is_waited_for = any(asked.model == name for asked in self.waiting.values())
        known.has_started = not is_waited_for
        self.num_loads += 1
        if not known.need_bytes:
            return
        budget_bytes, max_models = self.planner.budget_bytes, self.planner.max_models
        if held_bytes + known.need_bytes > budget_bytes or num_held + 1 > max_models:
            swaps = any(asked.model == name and asked.may_exceed for asked in self.waiting.values())
            assert swaps, "over budget"
            assert held_bytes - self._training_held() <= budget_bytes, "over budget by more than one model"
            assert num_held <= max_models
            self.num_over_budget += 1

    def _vacate(self, name: str, after: str) -> None:
        known = self.models[name]
        assert not known.num_active, "a model in use was evicted"
        if known.held_bytes and not known.is_retired:
            if name in self.pinned:
                assert not any(
                    other.state == "ready"
                    and not other.num_active
                    and other.held_bytes
                    and key not in self.pinned
                    for key, other in self.models.items()
                ), "a pinned model left before one that is not"
            if known.state == "ready" and any(asked.model == name for asked in self.waiting.values()):
                assert known.has_started, "loaded and evicted while somebody waited for it"
        known.state = after
        self.num_evictions += 1

    def _excuse(self, name: str) -> None:
        known = self.models.get(name)
        if known is not None:
            known.has_started = True

    def _held_bytes(self) -> int:
        return sum(known.held_bytes for known in self.models.values()) + self._training_held()

    def _training_held(self) -> int:
        return 0 if self.training == "parked" else self.training_bytes

    def _num_held(self) -> int:
        return sum(known.held_bytes > 0 and known.state != "asleep" for known in self.models.values())

    def _check(self) -> None:
        planner = self.planner
        assert planner.num_waiting == len(self.waiting), "a waiting request is lost"
        assert planner.num_active == len(self.active)
        assert planner.held_bytes == self._held_bytes(), "the books disagree about memory"
        if self.waiting and not self.active and not self.pending():
            assert self.training in ("parking", "resuming", "unparkable"), (
                "nothing is under way, yet some wait"
            )


def play(planner: Planner, *, seed: int, num_events: int) -> Ledger:
    """Random requests, loads, faults, swaps, pins, deadlines and training; then a drain."""
    chance = random.Random(seed)
    ledger = Ledger(planner)
    pressure = 0.5
    faults = 0.05
    for index in range(num_events):
        if index % 250 == 0:  # quiet and busy times, good and bad ones, few models and many
            pressure = chance.choice((0.25, 0.4, 0.55))
            faults = chance.choice((0.0, 0.02, 0.2))
            names = chance.choice((NAMES, NAMES[:2], NAMES[:4], ("c", "d"), ("d", "d", "d", "d", "c", "a")))
        _random_event(ledger, chance, names, pressure, faults)
    ledger.drain()
    return ledger


def _random_event(
    ledger: Ledger, chance: random.Random, names: tuple[str, ...], pressure: float, faults: float
) -> None:
    ledger.now_s += 0.01
    point = chance.random()
    if point < pressure:
        ledger.submit(
            chance.choice(names),
            num_slots=0 if chance.random() < 0.15 else 1,
            lane="batch" if chance.random() < 0.1 else "interactive",
            deadline_s=ledger.now_s + chance.random() * 5 if chance.random() < 0.1 else 1e18,
        )
    elif point < pressure + 0.04:
        _rare_event(ledger, chance, names)
    elif point < pressure + 0.07 and ledger.waiting:
        ledger.cancel_waiting(chance.choice(list(ledger.waiting)))
    else:
        choices: list[Callable[[], None]] = []
        if ledger.active:
            ticket = chance.choice(list(ledger.active))
            choices.append(lambda: ledger.end(ticket, cancelled=chance.random() < 0.1))
        if pending := ledger.pending():
            name = chance.choice(pending)
            off = chance.choice((None, None, 0.8, 1.0, 1.3))
            measured = int(NEEDS[name] * off) if off else None
            choices.append(
                lambda: ledger.answer(name, fails=chance.random() < faults, measured_bytes=measured)
            )
        if ledger.training in ("parking", "resuming"):
            choices.append(lambda: ledger.answer_training(fails=chance.random() < faults))
        if choices:
            chance.choice(choices)()


def _rare_event(ledger: Ledger, chance: random.Random, names: tuple[str, ...]) -> None:
    kind = chance.randrange(8)
    name = chance.choice(names)
    if kind == 0:
        for other in dict.fromkeys((name, chance.choice(NAMES), chance.choice(names))):
            ledger.submit(other, num_slots=0, may_exceed=True)
    elif kind == 1:
        ledger.pin(name, pinned=len(ledger.pinned) < 1)
    elif kind == 2 and ledger.pinned:
        ledger.pin(next(iter(ledger.pinned)), pinned=False)
    elif kind == 3:
        known = ledger.models.get(name)
        ledger.retire(name, broken=known is not None and known.state == "ready" and chance.random() < 0.5)
    elif kind == 4 and ledger.training == "none":
        ledger.start_training(chance.choice((GB, 3 * GB)))
    elif kind == 5 and ledger.training in ("running", "parked", "unparkable"):
        ledger.end_training()
    elif kind == 6:
        ledger.advance(chance.choice((0.1, 2.0, 90.0)))
    else:
        ledger.advance(0.5)
