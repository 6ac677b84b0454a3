"""The planner: who may generate and which models are in memory. A pure state machine. No clock, no I/O, no tasks.

Events are methods and return effects, to be carried out in the order they are given. Everything an effect
begins is answered by an event: `Prepare` by `prepared`, `Load` and `Wake` by `loaded`, `Sleep` by `slept`,
`Evict` by `unloaded` (each except the last two also by `load_failed`), `Start` by `finished` or `cancelled`,
`ParkTraining` by `training_parked` or `training_not_parked`, `ResumeTraining` by `training_started` or
`training_ended`. Time comes in as seconds of any clock that does not jump.

A model goes from preparing to prepared (what it needs is known, nothing is taken), then through loading to
ready; it leaves memory by eviction, or sleeps where its engine can. Requests are served in order of arrival;
batch requests wait behind the `BATCH_HANDICAP` requests that come after them. Whoever can start does; then
room is made for the others, by evicting models without requests, the longest idle first.

Promises (held by random interleavings in the tests, with planted bugs):
- every request is started or refused exactly once, or cancelled while it waits;
- loads begin only while they fit the budget (bytes and models). Only a swap may exceed it, by one model;
- a model in use is never evicted; the pinned ones leave last;
- **no starvation**: while a request waits for room, at most `max_overtakes` requests behind it are given room or
  a slot, beside those whose room was given before, and swaps. Then all behind it wait until it has its own;
- a model is not loaded and evicted again without a start while somebody waits for it.

Costs: O(1) when nobody waits; O(waiting requests + models) for an event otherwise.
"""

from __future__ import annotations

import math
from bisect import insort
from collections import deque
from collections.abc import Iterator
from operator import attrgetter
from typing import Literal

from homefire.serving.effects import (
    Effect,
    Effects,
    Evict,
    Expired,
    LoadFailed,
    NeverFits,
    Prepare,
    QueueIsFull,
    Refuse,
    Start,
    Stopping,
    WaitingRequest,
)
from homefire.serving.memory_plan import MemoryPlan
from homefire.serving.plan_state import Model, Request, State, in_words
from homefire.serving.room import Room

BATCH_HANDICAP = 256
NUM_DURATIONS = 64
MAX_LEARNED = 1024
_NO_LIMIT = 1 << 62

Lane = Literal["interactive", "batch"]


class Planner(MemoryPlan):
    """The scheduling state and its moves. A model is named by a key; what is before an `@` in it is its name."""

    def __init__(
        self, *, budget_bytes: int, max_models: int, max_waiting: int, max_overtakes: int = 8
    ) -> None:
        if min(budget_bytes, max_models, max_waiting) < 1 or max_overtakes < 0:
            raise ValueError("budget_bytes, max_models and max_waiting must be at least 1, max_overtakes 0.")
        super().__init__(budget_bytes, max_models)
        self.max_waiting = max_waiting
        self.max_overtakes = max_overtakes
        self._requests: dict[int, Request] = {}
        self._num_submitted = 0
        self._learned_bytes: dict[str, int] = {}
        self._durations_s: deque[float] = deque(maxlen=NUM_DURATIONS)
        self._is_settled = True  # nothing to evict or resume when a request ends
        self._is_stopped = False

    # Readings

    @property
    def num_waiting(self) -> int:
        """Requests taken but not started."""
        return len(self._waiting)

    @property
    def num_active(self) -> int:
        """Requests started and not finished."""
        return len(self._requests) - len(self._waiting)

    def models(self) -> Iterator[Model]:
        """Those somebody asked for. For reading only."""
        return iter(self._models.values())

    def is_pinned(self, model: str) -> bool:
        """Whether it leaves last."""
        return model in self._pinned

    def is_ready(self, model: str) -> bool:
        """Whether a request for it could start without a load."""
        known = self._models.get(model)
        return known is not None and known.state == "ready"

    def knows(self, model: str) -> bool:
        """Whether it is anywhere between preparing and unloaded."""
        return model in self._models

    def waiting(self, now_s: float) -> list[WaitingRequest]:
        """All that wait, in their order."""
        return [
            WaitingRequest(
                ticket=request.ticket,
                model=request.model.name,
                position=index,
                reason=in_words(request, self._models.values(), training=self._training),
                waited_s=now_s - request.submitted_s,
            )
            for index, request in enumerate(self._waiting, start=1)
        ]

    # Events: requests

    def submitted(
        self,
        ticket: int,
        model: str,
        *,
        now_s: float,
        deadline_s: float = math.inf,
        num_slots: int = 1,
        lane: Lane = "interactive",
        may_exceed: bool = False,
    ) -> Effects:
        """A request came: it starts, waits, or is refused.

        `num_slots` is 0 for what needs the model but does not generate. `may_exceed` is a swap: its model is
        loaded beside what is in use, even where that exceeds the budget until the old one has drained.
        """
        assert ticket not in self._requests, "a ticket is used once"
        if self._is_stopped:
            return (Refuse(ticket, Stopping()),)
        self._num_submitted += 1
        known = self._models.get(model)
        is_queue_full = len(self._waiting) >= self.max_waiting and not may_exceed
        if is_queue_full and (known is None or known.state != "ready"):
            return (Refuse(ticket, self._queue_is_full()),)
        effects: list[Effect] = []
        if known is None:
            known = self._models[model] = Model(model, work_began_s=now_s, idle_since_s=now_s)
            effects.append(Prepare(model))
        number = self._num_submitted
        place = 2 * number if lane == "interactive" else 2 * (number + BATCH_HANDICAP) + 1
        request = Request(ticket, number, place, known, num_slots, now_s, deadline_s, may_exceed)
        self._requests[ticket] = request
        known.num_waiting += 1
        if not self._waiting and self._can_start(request):
            return (self._start(request, now_s),)
        insort(self._waiting, request, key=attrgetter("place"))
        effects += self._plan(now_s)
        if is_queue_full and request.started_s is None and len(self._waiting) > self.max_waiting:
            self._drop(request)
            effects.append(Refuse(ticket, self._queue_is_full()))
        return tuple(effects)

    def finished(self, ticket: int, *, now_s: float) -> Effects:
        """A started request has ended, however it ended."""
        request = self._requests.pop(ticket)
        assert request.started_s is not None, "only what was started can finish"
        model = request.model
        model.num_active -= 1
        model.num_used_slots -= request.num_slots
        model.idle_since_s = now_s
        if request.num_slots:
            self._durations_s.append(now_s - request.started_s)
        return self._plan(now_s) if self._waiting or not self._is_settled else ()

    def cancelled(self, ticket: int, *, now_s: float) -> Effects:
        """The client of a request is gone, whether it waits or runs. A load it waited for goes on.

        Nothing for one that was refused at the same moment.
        """
        request = self._requests.get(ticket)
        if request is None:
            return ()
        if request.started_s is not None:
            return self.finished(ticket, now_s=now_s)
        self._drop(request)
        request.model.idle_since_s = now_s
        return self._plan(now_s)

    def tick(self, now_s: float) -> Effects:
        """Time has passed: requests over their deadline are refused, training may continue."""
        effects: list[Effect] = []
        for request in [request for request in self._waiting if request.deadline_s <= now_s]:
            reason = in_words(request, self._models.values(), training=self._training)
            self._drop(request)
            effects.append(Refuse(request.ticket, Expired(now_s - request.submitted_s, reason)))
        if effects or not self._is_settled:
            effects += self._plan(now_s)
        return tuple(effects)

    # Events: models

    def prepared(
        self, model: str, *, need_bytes: int, num_slots: int, can_sleep: bool = False, now_s: float
    ) -> Effects:
        """A model's files are there, and an engine for them that says what it will need."""
        known = self._in_state(model, "preparing")
        known.work.append((known.work_began_s, now_s))
        known.need_bytes = self._learned_bytes.get(model, need_bytes)
        known.num_slots, known.can_sleep, known.state = num_slots, can_sleep, "prepared"
        if known.need_bytes <= self.budget_bytes:
            return self._plan(now_s)
        known.state = "evicting"
        refusals = self._refuse_waiting(known, NeverFits(known.name, known.need_bytes, self.budget_bytes))
        return (*refusals, Evict(model), *self._plan(now_s))

    def loaded(self, model: str, *, measured_bytes: int | None, now_s: float) -> Effects:
        """A model is loaded or awake. What it really took counts from now on, and for its next load.

        It never makes a model that did load one that never fits: at most the whole budget is remembered.
        """
        known = self._in_state(model, "loading", "waking")
        known.work.append((known.work_began_s, now_s))
        known.state, known.idle_since_s = "ready", now_s
        if measured_bytes and known.need_bytes:
            known.need_bytes = min(measured_bytes, self.budget_bytes)
            known.held_bytes = known.need_bytes
            self._learned_bytes[model] = known.need_bytes
            if len(self._learned_bytes) > MAX_LEARNED:
                del self._learned_bytes[next(iter(self._learned_bytes))]
        return self._plan(now_s)

    def load_failed(self, model: str, error: BaseException, *, now_s: float) -> Effects:
        """Preparing, loading or waking failed and took nothing: who waits gets the error, the next tries."""
        known = self._in_state(model, "preparing", "prepared", "loading", "waking")
        refusals = self._refuse_waiting(known, LoadFailed(error))
        del self._models[model]
        return (*refusals, *self._plan(now_s))

    def slept(self, model: str, *, held_bytes: int = 0, now_s: float) -> Effects:
        """A model sleeps; `held_bytes` of the budget are still its own."""
        known = self._in_state(model, "sleeping")
        known.state, known.held_bytes = "asleep", held_bytes
        return self._plan(now_s)

    def unloaded(self, model: str, *, now_s: float) -> Effects:
        """An evicted model is gone. Who asked for it meanwhile has it loaded again."""
        known = self._in_state(model, "evicting")
        del self._models[model]
        effects: list[Effect] = []
        if known.num_waiting:
            fresh = Model(model, num_waiting=known.num_waiting, work_began_s=now_s, idle_since_s=now_s)
            for request in self._waiting:
                if request.model is known:
                    request.model = fresh
            self._models[model] = fresh
            effects.append(Prepare(model))
        return (*effects, *self._plan(now_s))

    def unload(self, model: str, *, now_s: float) -> Effects:
        """A model is to leave: who asked before is served first, who asks later has it loaded again."""
        return self._retire(model, before=self._num_submitted + 1, now_s=now_s)

    def broken(self, model: str, *, now_s: float) -> Effects:
        """A loaded model does not work any more: nobody starts on it, and it is prepared and loaded again."""
        return self._retire(model, before=0, now_s=now_s)

    def pinned(self, model: str, *, now_s: float) -> Effects:
        """This model leaves after all that are not pinned."""
        self._pinned.add(model)
        return () if self._is_settled else self._plan(now_s)

    def unpinned(self, model: str, *, now_s: float) -> Effects:
        """This model leaves like any other."""
        self._pinned.discard(model)
        return () if self._is_settled else self._plan(now_s)

    def stop(self) -> Effects:
        """The server ends: refuse who waits, evict everything. Requests under way fail by themselves."""
        self._is_stopped = True
        effects: list[Effect] = [Refuse(request.ticket, Stopping()) for request in self._waiting]
        for request in list(self._waiting):
            self._drop(request)
        for model in self._models.values():
            if model.state != "evicting":
                model.state = "evicting"
                effects.append(Evict(model.key))
        return tuple(effects)

    # Events: training

    def training_started(self, num_bytes: int, *, now_s: float) -> Effects:
        """Training takes (again) this much memory."""
        self._training, self._training_bytes = "running", num_bytes
        return self._plan(now_s)

    def training_parked(self, *, now_s: float) -> Effects:
        """Training gave its memory back and waits for `ResumeTraining`."""
        self._training = "parked"
        return self._plan(now_s)

    def training_not_parked(self, *, now_s: float) -> Effects:
        """Training could not be parked; it is not asked again until it starts again."""
        self._training = "unparkable"
        return self._plan(now_s)

    def training_ended(self, *, now_s: float) -> Effects:
        """Training needs no memory any more."""
        self._training, self._training_bytes = "none", 0
        return self._plan(now_s)

    # The plan

    def _plan(self, now_s: float) -> Effects:
        """Start who can start, give room to who can have it, make room for the others, then tidy up."""
        if self._is_stopped:
            return ()
        effects: list[Effect] = []
        room = self._room()
        for request in self._serve_waiting(room, now_s, effects):
            self._make_room(request, room, now_s, effects)
        self._evict_retired(room, effects)
        self._settle_prepared(room, now_s, effects)
        self._evict_excess(room, effects)
        self._evict_sleepers(room, effects)
        self._resume_training(room, now_s, effects)
        self._is_settled = room.excess_bytes <= 0 and room.excess_models <= 0 and self._training != "parked"
        self._is_settled &= all(model.retired_before is None for model in self._models.values())
        return tuple(effects)

    def _serve_waiting(self, room: Room, now_s: float, effects: list[Effect]) -> list[Request]:
        """One walk through the queue; returns who waits for room, the first of each model."""
        still_waiting: list[Request] = []
        lacking: list[tuple[Request, int]] = []
        short: dict[Model, Request] = {}
        full: set[Model] = set()
        num_given = 0
        most_bytes = self.budget_bytes - (self._training_bytes if self._training == "unparkable" else 0)
        num_may_overtake = _NO_LIMIT  # how many may still be given something that those before lack
        for request in self._waiting:
            model = request.model
            # Takes nothing that anybody lacks, or is a swap.
            is_free = not model.need_bytes or request.may_exceed
            if model.retired_before is not None and request.number >= model.retired_before:
                request.why = "unloading"
            elif model.state == "ready":
                if request.num_slots and (model in full or not request.has_slots):
                    full.add(model)
                    request.why = "slot"
                    still_waiting.append(request)
                    continue
                if model.granted is not request and not is_free:
                    if num_may_overtake <= 0:
                        request.why = "turn"
                        still_waiting.append(request)
                        continue
                    num_may_overtake -= 1
                    num_given += 1
                effects.append(self._start(request, now_s))
                continue
            elif model.state in ("prepared", "asleep") and model.need_bytes > most_bytes:
                request.why = "training"  # nobody is held up for what cannot be had before training ends
            elif model.state in ("prepared", "asleep"):
                request.why = "room"
                if model not in short and (num_may_overtake > 0 or is_free) and room.takes(model.lack_bytes):
                    room.take(model.lack_bytes)
                    effects.append(self._give_room(request, now_s))
                    num_may_overtake -= not is_free
                    num_given += not is_free
                else:
                    if num_may_overtake <= 0:
                        request.why = "turn"
                    elif model not in short:
                        short[model] = request
                        room.reserve_if_coming(model.key, model.lack_bytes)
                    lacking.append((request, num_given))
                    num_may_overtake = min(num_may_overtake, self.max_overtakes - request.num_overtakes)
            elif model.state in ("loading", "waking"):
                request.why = "loading"
                if model.granted is None and (num_may_overtake > 0 or is_free):
                    model.granted = request
                    num_may_overtake -= not is_free
                    num_given += not is_free
            else:
                request.why = "preparing" if model.state == "preparing" else "unloading"
            still_waiting.append(request)
        for request, num_given_before in lacking:
            request.num_overtakes += num_given - num_given_before
        self._waiting = still_waiting
        return list(short.values())

    def _can_start(self, request: Request) -> bool:
        model = request.model
        return model.state == "ready" and model.retired_before is None and request.has_slots

    def _start(self, request: Request, now_s: float) -> Start:
        model = request.model
        model.num_waiting -= 1
        model.num_active += 1
        request.num_slots = min(request.num_slots, model.num_slots)
        model.num_used_slots += request.num_slots
        if model.granted is request:
            model.granted = None
        request.started_s = now_s
        load_s = 0.0
        for began_s, ended_s in model.work:
            load_s += max(0.0, ended_s - max(began_s, request.submitted_s))
        return Start(request.ticket, now_s - request.submitted_s, load_s)

    def _retire(self, key: str, *, before: int, now_s: float) -> Effects:
        model = self._models.get(key)
        if model is None or model.state == "evicting":
            return ()
        model.retired_before = before if model.retired_before is None else min(before, model.retired_before)
        return self._plan(now_s)

    # Refusing and saying why

    def _drop(self, request: Request) -> None:
        self._waiting.remove(request)
        del self._requests[request.ticket]
        request.model.num_waiting -= 1
        if request.model.granted is request:
            request.model.granted = None

    def _refuse_waiting(self, model: Model, cause: NeverFits | LoadFailed) -> list[Effect]:
        waiting = [request for request in self._waiting if request.model is model]
        for request in waiting:
            del self._requests[request.ticket]
        self._waiting = [request for request in self._waiting if request.model is not model]
        model.num_waiting, model.granted = 0, None
        return [Refuse(request.ticket, cause) for request in waiting]

    def _queue_is_full(self) -> QueueIsFull:
        """Come back when those that wait have started: requests under way end at the rate they did recently."""
        num_waiting = len(self._waiting)
        mean_s = sum(self._durations_s) / len(self._durations_s) if self._durations_s else 1.0
        return QueueIsFull(
            num_waiting, max(1, math.ceil(mean_s * (num_waiting + 1) / max(self.num_active, 1)))
        )

    def _in_state(self, key: str, *states: State) -> Model:
        model = self._models[key]
        assert model.state in states, f"{key} is {model.state}"
        return model
