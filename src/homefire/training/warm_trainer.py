"""A trainer that was started ahead of its run, so that a correction need not wait for libraries to load.

One worker process (`trainer/worker.py --wait`) at most, started when a person chats or corrects, and kept for
`training.warm_s` after the last sign of one. It belongs to no run yet, holds no lease and nothing of anybody's, and
gets its environment without secrets. A run takes it over as its own process; everything the supervisor promises of
a worker (pid, exit status, heartbeat, end with the server) holds as for one started fresh, which is what a run gets
where none is ready.

It is given back when it was not needed for long, when a model needs its memory (`TrainingMemory`), when the
machine runs low, and at the end. Costs about 350 MB while it is kept (265 MB of them its own), and some seconds of
processor time that nobody else wants for each that is started.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from homefire.config.schema import TrainingSettings
from homefire.machine.children import kill_child
from homefire.machine.memory import available_bytes, rss_bytes
from homefire.training.supervisor import start_worker
from homefire.world import Clock

logger = logging.getLogger(__name__)
LOG_FILE = "trainer.log"
WARM_BYTES = 350 << 20
"""What it is taken to hold before it can be measured."""
MIN_FREE_BYTES = 512 << 20
"""With less memory free than this, none is started, and one that waits is given back."""
POLL_S = 5.0


class WarmTrainer:
    """One for each server; for its event loop."""

    def __init__(
        self,
        settings: TrainingSettings,
        *,
        command: Sequence[str],
        log_folder: Path,
        clock: Clock,
        on_bytes: Callable[[int], None] = lambda _num_bytes: None,
        free_bytes: Callable[[], int] = available_bytes,
    ) -> None:
        """`command` starts a worker that takes its run from its input; empty: none is ever kept.

        `on_bytes` is told what is held whenever that changes.
        """
        self._settings, self._command, self._log = settings, tuple(command), log_folder / LOG_FILE
        self._clock, self._on_bytes, self._free_bytes = clock, on_bytes, free_bytes
        self._process: asyncio.subprocess.Process | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._until_s = 0.0
        self._is_busy = False
        self._is_parked = False

    @property
    def pid(self) -> int | None:
        """The process that waits for a run, if one does."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    def expect(self) -> None:
        """A person is there: a correction may come soon. Returns at once, raises nothing."""
        if not self._command or not self._settings.warm_s or not self._settings.auto:
            return
        self._until_s = self._clock.monotonic_s() + self._settings.warm_s
        self._start()

    async def take(self, *, num_threads: int) -> asyncio.subprocess.Process | None:
        """The process for a run that begins now, its caller's from now on; None where none is ready.

        Until `returned`, no other is started. A run with another number of threads than the settings have
        (it began under others) gets none.
        """
        self._is_busy = True
        process, fits = self._process, num_threads == self._settings.num_threads
        if process is None or not fits:
            await self._end()
            return None
        self._process = None
        await self._end()
        return process if process.returncode is None else None

    def returned(self) -> None:
        """The run is over: the next one may be got ready."""
        self._is_busy = False
        if self._clock.monotonic_s() < self._until_s:
            self._start()

    async def park(self) -> None:
        """Give its memory back, and start none until `unpark`."""
        self._is_parked = True
        await self._end()

    def unpark(self) -> None:
        """There is room again."""
        self._is_parked = False

    async def stop(self) -> None:
        """End it for good."""
        self._is_busy = True
        await self._end()

    def _start(self) -> None:
        if self._is_busy or self._is_parked or (self._keeping is not None and not self._keeping.done()):
            return
        if self._free_bytes() < WARM_BYTES + MIN_FREE_BYTES:
            return
        self._keeping = asyncio.create_task(self._keep(), name="warm trainer")

    async def _keep(self) -> None:
        """Start one and watch it until it is taken, not needed any more, or too much for the machine."""
        settings = self._settings
        arguments = ["--wait", "--threads", str(settings.num_threads), "--nice", str(settings.nice)]
        self._on_bytes(WARM_BYTES)
        try:
            try:
                with self._log.open("wb") as log:
                    process = self._process = await start_worker(
                        [*self._command, *arguments], stderr=log, settings=settings
                    )
            except OSError as problem:
                # The next run starts its own, and says why where it cannot.
                logger.warning("No trainer could be started ahead: %s", problem)
                return
            why = await self._watch(process)
        finally:
            if self._process is not None:
                kill_child(self._process)
                await asyncio.shield(self._process.wait())
                self._process = None
            self._on_bytes(0)
        logger.info("The trainer that was kept ready has ended: %s.", why)

    async def _watch(self, process: asyncio.subprocess.Process) -> str:
        """Why it is not kept any longer."""
        while process.returncode is None:
            left_s = self._until_s - self._clock.monotonic_s()
            if left_s <= 0:
                return "no correction came"
            if self._free_bytes() < MIN_FREE_BYTES:
                return "memory is short"
            try:
                await asyncio.wait_for(asyncio.shield(process.wait()), min(left_s, POLL_S))
            except TimeoutError:
                if (held_bytes := rss_bytes(process.pid)) is not None:
                    self._on_bytes(max(held_bytes, WARM_BYTES))
        return f"it ended with {process.returncode} (see {self._log})"

    async def _end(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
            self._keeping = None
