"""Background work that cannot end unseen: when it fails, the reason is logged and shown, and it is begun again.

Each part has a name. `reasons` says which parts do not work now and why; `/health`, `/v1/status` and `homefire doctor`
show it. A part that fails is begun again after a pause, which grows while it fails again and again; a part that
returns is done. Costs nothing while all is well.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

FIRST_PAUSE_S = 5.0
MAX_PAUSE_S = 300.0
_log = logging.getLogger(__name__)


class Supervision:
    """One for each server; `start` parts within an event loop, and `stop` them all."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._reasons: dict[str, str] = {}
        self._is_stopping = False

    def start(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Have this done until it returns or `stop` is called. `work` is called again for each attempt."""
        assert name not in self._tasks, "a part has one name"
        task = asyncio.get_running_loop().create_task(self._repeat(name, work), name=name)
        task.add_done_callback(lambda _: self._note_end(name))
        self._tasks[name] = task

    def reasons(self) -> Mapping[str, str]:
        """The parts that do not work now, each with why."""
        return dict(self._reasons)

    async def stop(self, *names: str) -> None:
        """End these parts, or all, and wait until they ended."""
        self._is_stopping = self._is_stopping or not names
        ending = [self._tasks.pop(name) for name in names or tuple(self._tasks) if name in self._tasks]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    async def _repeat(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                await work()
            except Exception as error:  # noqa: BLE001 - it is logged and shown, whatever it is
                self._reasons[name] = f"{type(error).__name__}: {error}"
                _log.critical("%s failed and is begun again in %g s", name, pause_s, exc_info=True)
            else:
                return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, MAX_PAUSE_S)
            del self._reasons[name]

    def _note_end(self, name: str) -> None:
        """Something cancelled a part that nobody stopped."""
        task = self._tasks.get(name)
        if task is not None and task.cancelled() and not self._is_stopping:
            self._reasons[name] = "it was cancelled"
            _log.critical("%s was cancelled and does not work any more", name)
