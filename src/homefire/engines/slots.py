"""Which slot of llama.cpp answers a request, so that a conversation finds what was computed for it before.

By itself llama.cpp takes the idle slot whose last prompt is most alike: conversations that begin with the same
system prompt then push each other out of one slot while others are empty. Here a conversation keeps its slot
until another one needs it: one never used first, then the one that rested longest. Requests without a
conversation share slots that no conversation has, the last used first.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass


@dataclass(slots=True)
class _Slot:
    number: int
    conversation: str | None = None
    last_used: int = 0
    is_busy: bool = False


class SlotTable:
    """For any number of threads; no more requests at a time than slots."""

    def __init__(self, num_slots: int) -> None:
        self._slots = [_Slot(number) for number in range(num_slots)]
        self._num_uses = 0
        self._lock = threading.Lock()

    def acquire(self, conversation: str | None) -> int:
        """The slot for a request, until `release`."""
        with self._lock:
            idle = [slot for slot in self._slots if not slot.is_busy]
            assert idle, "more requests than slots"
            free = [slot for slot in idle if slot.conversation is None]
            own = [slot for slot in idle if slot.conversation == conversation is not None]
            if own:
                slot = own[0]
            elif free and conversation is None:
                slot = max(free, key=lambda slot: slot.last_used)
            else:
                slot = min(free or idle, key=lambda slot: slot.last_used)
            self._num_uses += 1
            slot.is_busy, slot.conversation, slot.last_used = True, conversation, self._num_uses
            return slot.number

    def release(self, number: int) -> None:
        """The request has ended."""
        with self._lock:
            self._slots[number].is_busy = False
