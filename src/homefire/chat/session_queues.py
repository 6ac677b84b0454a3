"""One turn at a time in each session; those who wait are taken in order.

A session that nobody uses costs nothing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from homefire.errors import RequestTimeout


@dataclass(slots=True)
class _Session:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    num_users: int = 0
    """Those who take or wait for a turn in it."""


class SessionQueues:
    """Belongs to one event loop."""

    def __init__(self, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._sessions: dict[str, _Session] = {}

    def __len__(self) -> int:
        """Sessions with a turn under way."""
        return len(self._sessions)

    def is_busy(self, session_id: str) -> bool:
        """Whether a turn of this session is under way."""
        return session_id in self._sessions

    async def enter(self, session_id: str, *, deadline_s: float) -> None:
        """Wait until the turns before this one are over; then `leave` must follow.

        `deadline_s` is on the event loop's clock; raises RequestTimeout when it passes.
        """
        session = self._sessions.setdefault(session_id, _Session())
        session.num_users += 1
        if session.num_users == 1:
            await session.lock.acquire()  # nobody has it: this does not wait
            return
        try:
            async with asyncio.timeout_at(deadline_s):
                await session.lock.acquire()
        except BaseException as error:
            self._forget_user(session_id)
            if isinstance(error, TimeoutError):
                raise RequestTimeout(
                    f"The turns before this one in its session took longer than {self._timeout_s:g} s.",
                    hint="Wait for them or stop them, or raise server.request_timeout_s.",
                    session_id=session_id,
                ) from None
            raise

    def leave(self, session_id: str) -> None:
        """Let the next turn of this session begin."""
        self._sessions[session_id].lock.release()
        self._forget_user(session_id)

    def _forget_user(self, session_id: str) -> None:
        session = self._sessions[session_id]
        session.num_users -= 1
        if not session.num_users:
            del self._sessions[session_id]
