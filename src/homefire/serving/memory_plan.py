"""The planner's half about memory: which models hold it, who is given room, and who leaves for it.

Pure like the planner. `Planner` owns the requests and calls this once for each plan; nothing here outlives one
except the models, what training holds, and which models are pinned.
"""

from __future__ import annotations

from homefire.serving.effects import Effect, Evict, Load, ParkTraining, ResumeTraining, Sleep, Wake
from homefire.serving.plan_state import Model, Request, Training
from homefire.serving.room import Room

TRAINING_PATIENCE_S = 60.0
"""Parked training takes the room of a model that was idle for this long."""


class MemoryPlan:
    """Models, pins and training, within a budget of bytes and a number of models."""

    def __init__(self, budget_bytes: int, max_models: int) -> None:
        self.budget_bytes = budget_bytes
        self.max_models = max_models
        self._models: dict[str, Model] = {}
        self._waiting: list[Request] = []  # by place
        self._pinned: set[str] = set()
        self._training: Training = "none"
        self._training_bytes = 0

    @property
    def held_bytes(self) -> int:
        """Memory that is given away: to models that load, are loaded or leave, and to training."""
        return sum(model.held_bytes for model in self._models.values()) + self._held_by_training()

    @property
    def most_for_training_bytes(self) -> int:
        """What training could have if every model that is not pinned left."""
        pinned = sum(self._models[key].held_bytes for key in self._pinned if key in self._models)
        return max(0, self.budget_bytes - pinned)

    @property
    def is_training_parked(self) -> bool:
        """Whether training waits for room."""
        return self._training == "parked"

    def training_due_s(self, now_s: float) -> float | None:
        """When a `tick` may let parked training continue; None while there is nothing to wait for."""
        if self._training != "parked" or self._waiting:
            return None
        due_s = [model.idle_since_s + TRAINING_PATIENCE_S for model in self._idle(spare_pinned=True)]
        return min((moment_s for moment_s in due_s if moment_s > now_s), default=None)

    def _give_room(self, request: Request | None, now_s: float, *, model: Model | None = None) -> Load | Wake:
        model = request.model if request is not None else model
        assert model is not None
        effect: Load | Wake
        if model.state == "prepared":
            effect, model.state = Load(model.key), "loading"
        else:
            effect, model.state = Wake(model.key), "waking"
            model.work.clear()
        model.held_bytes = model.need_bytes
        model.granted = request
        model.work_began_s = now_s
        if request is not None:
            request.why = "loading"
        return effect

    def _room(self) -> Room:
        room = Room(self.budget_bytes, self.max_models)
        for model in self._models.values():
            if model.held_bytes:
                is_coming = model.state in ("evicting", "sleeping")
                room.count(model.held_bytes, num_models=int(model.state != "asleep"), is_coming=is_coming)
        room.count(self._held_by_training(), num_models=0, is_coming=self._training == "parking")
        return room

    def _held_by_training(self) -> int:
        return self._training_bytes if self._training not in ("none", "parked") else 0

    def _make_room(self, request: Request, room: Room, now_s: float, effects: list[Effect]) -> None:
        """Evict as few idle models as give this request its room; nothing where that is not enough."""
        model = request.model
        if room.is_reserved(model.key) or model.state not in ("prepared", "asleep"):
            return  # its room is on its way, or it has just been evicted for one before it
        may_exceed = request.may_exceed and room.within_budget(beside=self._held_by_training())
        idle = [other for other in self._idle(spare_pinned=may_exceed) if other is not model]
        victims = room.choose(model.lack_bytes, idle)
        if victims is None and may_exceed:
            room.take(model.lack_bytes)
            effects.append(self._give_room(request, now_s))
            return
        if victims is None and self._training == "running":
            victims = room.choose(model.lack_bytes, idle, more_bytes=self._training_bytes)
            if victims is not None:
                self._training = "parking"
                room.becomes_coming(self._training_bytes, num_models=0)
                effects.append(ParkTraining())
        if victims is not None:
            effects += [self._vacate(victim, room) for victim in victims]
            room.reserve_if_coming(model.key, model.lack_bytes)

    def _idle(self, *, spare_pinned: bool) -> list[Model]:
        """Models that hold memory and have no request under way, those that should leave first in front.

        One that loads is among them where nobody was given its room: its client left, or must wait for others.
        """
        idle = [
            model
            for model in self._models.values()
            if model.held_bytes
            and not model.num_active
            and (
                model.state in ("ready", "asleep")
                or (model.state in ("loading", "waking") and model.granted is None)
            )
            and not (spare_pinned and model.key in self._pinned)
        ]
        return sorted(idle, key=lambda model: (model.key in self._pinned, model.idle_since_s))

    def _vacate(self, model: Model, room: Room | None = None, *, may_sleep: bool = True) -> Sleep | Evict:
        if room is not None and model.held_bytes:
            if model.state == "asleep":  # it counts as a model again until its process is gone
                room.count(0, num_models=1, is_coming=False)
            room.becomes_coming(model.held_bytes, num_models=1)
        model.granted = None
        if may_sleep and model.can_sleep and model.state == "ready":
            model.state = "sleeping"
            return Sleep(model.key)
        model.state = "evicting"
        return Evict(model.key)

    def _evict_retired(self, room: Room, effects: list[Effect]) -> None:
        retired = [
            model
            for model in self._models.values()
            if model.retired_before is not None
            and not model.num_active
            and model.state not in ("evicting", "sleeping")
        ]
        if retired:
            needed = {
                request.model
                for request in self._waiting
                if request.model.retired_before is not None and request.number < request.model.retired_before
            }
            effects.extend(
                self._vacate(model, room, may_sleep=False) for model in retired if model not in needed
            )

    def _settle_prepared(self, room: Room, now_s: float, effects: list[Effect]) -> None:
        """A prepared model whose clients all left is loaded where there is room anyway, else dropped."""
        for model in self._models.values():
            if model.state == "prepared" and not model.num_waiting:
                if room.takes(model.need_bytes):
                    room.take(model.need_bytes)
                    effects.append(self._give_room(None, now_s, model=model))
                else:
                    effects.append(self._vacate(model, room))

    def _evict_excess(self, room: Room, effects: list[Effect]) -> None:
        """After a swap, or a load that took more than expected: back below the limits as models fall idle."""
        if room.excess_bytes <= 0 and room.excess_models <= 0:
            return
        for model in self._idle(spare_pinned=True):
            if room.excess_bytes <= 0 and room.excess_models <= 0:
                return
            if not model.num_waiting:
                effects.append(self._vacate(model, room))

    def _evict_sleepers(self, room: Room, effects: list[Effect]) -> None:
        """Each sleeping model is a process: no more of them than may be loaded."""
        asleep = [
            model
            for model in self._models.values()
            if model.state == "asleep" and not model.num_waiting and model.retired_before is None
        ]
        asleep.sort(key=lambda model: (model.key in self._pinned, model.idle_since_s))
        effects += [self._vacate(model, room) for model in asleep[: max(0, len(asleep) - self.max_models)]]

    def _resume_training(self, room: Room, now_s: float, effects: list[Effect]) -> None:
        if self._training != "parked" or any(request.why == "room" for request in self._waiting):
            return
        if room.takes(self._training_bytes, num_models=0):
            self._training = "resuming"
            effects.append(ResumeTraining())
        elif not self._waiting:
            stale = [
                model
                for model in self._idle(spare_pinned=True)
                if model.idle_since_s + TRAINING_PATIENCE_S <= now_s
            ]
            for victim in room.choose(self._training_bytes, stale, num_models=0) or ():
                effects.append(self._vacate(victim, room))
