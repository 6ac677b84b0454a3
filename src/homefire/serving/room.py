"""Arithmetic of one planning step: what is free, what is about to become free, and whom that is promised to.

Two amounts at once, bytes and models; a model that needs no bytes takes no room of either kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar


class Holder(Protocol):
    """What can be evicted."""

    @property
    def held_bytes(self) -> int: ...

    @property
    def state(self) -> str: ...


_H = TypeVar("_H", bound=Holder)


class Room:
    """Starts out empty: `count` what is held, then ask."""

    def __init__(self, budget_bytes: int, max_models: int) -> None:
        self._budget_bytes, self._max_models = budget_bytes, max_models
        self._held_bytes = self._held_models = 0
        self._coming_bytes = self._coming_models = 0
        self._reserved_bytes = self._reserved_models = 0
        self._reserved: set[str] = set()

    @property
    def excess_bytes(self) -> int:
        """How far over the budget this will be when what leaves is gone."""
        return self._held_bytes - self._coming_bytes - self._budget_bytes

    @property
    def excess_models(self) -> int:
        """The same in models."""
        return self._held_models - self._coming_models - self._max_models

    def count(self, num_bytes: int, *, num_models: int, is_coming: bool) -> None:
        """Something is held; `is_coming` when it is about to become free."""
        self._held_bytes += num_bytes
        self._held_models += num_models
        if is_coming:
            self.becomes_coming(num_bytes, num_models=num_models)

    def becomes_coming(self, num_bytes: int, *, num_models: int) -> None:
        """Something that is held was asked to leave."""
        self._coming_bytes += num_bytes
        self._coming_models += num_models

    def takes(self, num_bytes: int, *, num_models: int = 1) -> bool:
        """Whether this much is free now and promised to nobody."""
        if not num_bytes:
            return True
        lack_bytes, lack_models = self._lack(num_bytes, num_models)
        return (
            lack_bytes <= 0
            and lack_models <= 0
            and self._held_bytes + num_bytes <= self._budget_bytes
            and self._held_models + num_models <= self._max_models
        )

    def take(self, num_bytes: int) -> None:
        """A load begins."""
        if num_bytes:
            self._held_bytes += num_bytes
            self._held_models += 1

    def reserve_if_coming(self, key: str, num_bytes: int) -> None:
        """Promise what is on its way to this model, where that is enough."""
        lack_bytes, lack_models = self._lack(num_bytes, 1)
        if lack_bytes <= 0 and lack_models <= 0:
            self._reserved_bytes += num_bytes
            self._reserved_models += 1
            self._reserved.add(key)

    def is_reserved(self, key: str) -> bool:
        """Whether its room is on its way."""
        return key in self._reserved

    def within_budget(self, *, beside: int) -> bool:
        """Whether the models alone (without `beside` bytes of training) keep the limits now."""
        return self._held_bytes - beside <= self._budget_bytes and self._held_models <= self._max_models

    def choose(
        self, num_bytes: int, idle: Sequence[_H], *, more_bytes: int = 0, num_models: int = 1
    ) -> list[_H] | None:
        """The first of `idle` that, with `more_bytes`, make room for this; None where all are not enough."""
        lack_bytes, lack_models = self._lack(num_bytes, num_models)
        lack_bytes -= more_bytes
        chosen: list[_H] = []
        for holder in idle:
            if lack_bytes <= 0 and lack_models <= 0:
                break
            is_counted = holder.state != "asleep"
            if lack_bytes > 0 or is_counted:
                chosen.append(holder)
                lack_bytes -= holder.held_bytes
                lack_models -= is_counted
        return chosen if lack_bytes <= 0 and lack_models <= 0 else None

    def _lack(self, num_bytes: int, num_models: int) -> tuple[int, int]:
        return (
            self._held_bytes - self._coming_bytes + self._reserved_bytes + num_bytes - self._budget_bytes,
            self._held_models - self._coming_models + self._reserved_models + num_models - self._max_models,
        )
