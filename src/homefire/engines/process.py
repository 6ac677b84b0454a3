"""`LlamaCppEngine`: a model served by a worker process of its own, with llama.cpp in it.

Nothing native is loaded here. The worker is started by the first `ensure_ready` and shared by all callers; a
crash, a hang or a lack of memory is a typed error to the requests it had, and the next `ensure_ready` starts
a new one: at once after a single crash, after a growing pause (at most `MAX_PAUSE_S`) while it crashes again
and again without finishing an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal, Protocol, get_args

from homefire.engines.base import (
    Capability,
    Embeddings,
    EngineRequest,
    EngineStatus,
    Finish,
    Generated,
    GgufSource,
    ModelSpec,
    NoSleep,
    SourceKind,
)
from homefire.engines.memory_estimate import check_memory, estimate_bytes
from homefire.engines.spawn import spawn_worker
from homefire.engines.worker_process import WorkerProcess
from homefire.errors import EngineCrashed, HomefireError
from homefire.machine.hashing import FileVerifier
from homefire.machine.memory import rss_bytes
from homefire.types import Message
from homefire.world import World

FIRST_PAUSE_S = 0.1
MAX_PAUSE_S = 5.0


class EngineSettings(Protocol):
    """What the engine reads of `[serving]`."""

    @property
    def load_timeout_s(self) -> float: ...

    @property
    def stall_timeout_s(self) -> float: ...


class LlamaCppEngine(NoSleep):
    """An `engines.base.Engine`. Belongs to one event loop."""

    capabilities: frozenset[Capability] = frozenset(get_args(Capability)) - {"sleep"}
    source_kind: ClassVar[SourceKind] = "gguf"

    def __init__(
        self,
        spec: ModelSpec,
        *,
        sockets: Path,
        settings: EngineSettings,
        world: World,
        verifier: FileVerifier | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.spec = spec
        self._sockets, self._settings, self._world = sockets, settings, world
        self._verifier = verifier or FileVerifier()
        self._environ = os.environ if environ is None else environ
        self._worker: WorkerProcess | None = None
        self._starting: asyncio.Task[WorkerProcess] | None = None
        self._has_failed = False
        self._num_starts = 0
        self._num_crashes = 0
        """Since an answer was last finished."""

    @property
    def context_length(self) -> int:
        """As the spec asks: llama.cpp holds what it is told to."""
        return self.spec.context_length

    async def estimate(self) -> int:
        """Weights, key-value caches of all slots and buffers, by the header of the file."""
        return await asyncio.to_thread(estimate_bytes, self.spec)

    async def ensure_ready(self) -> None:
        """Load if needed; concurrent callers share one load. Raises why it cannot be loaded."""
        await self._running()

    async def _running(self) -> WorkerProcess:
        if self._worker is not None and self._worker.is_open:
            return self._worker
        if self._starting is None:
            self._starting = asyncio.get_running_loop().create_task(self._start())
            self._starting.add_done_callback(self._started)
        # A caller that gives up does not end the load for the others.
        return await asyncio.shield(self._starting)

    async def _start(self) -> WorkerProcess:
        if self._worker is not None:
            await self._worker.ended()
            self._worker = None
            self._num_crashes += 1
        await asyncio.sleep(pause_before(num_crashes=self._num_crashes))
        await asyncio.to_thread(self._check)
        self._num_starts += 1
        return await spawn_worker(
            self.spec,
            module="homefire.engines.worker",
            sockets=self._sockets,
            load_timeout_s=self._settings.load_timeout_s,
            stall_timeout_s=self._settings.stall_timeout_s,
            clock=self._world.clock,
            environ=self._environ,
        )

    def _check(self) -> None:
        """No byte reaches native code that was not seen to be the registered one, nor a model that cannot fit."""
        assert isinstance(self.spec.source, GgufSource)
        self._verifier.check(Path(self.spec.source.path), self.spec.source.sha256)
        for adapter in self.spec.source.adapters:
            self._verifier.check(Path(adapter.path), adapter.sha256)
        check_memory(self.spec)

    def _started(self, task: asyncio.Task[WorkerProcess]) -> None:
        self._starting = None
        self._has_failed = task.cancelled() or task.exception() is not None
        if not self._has_failed:
            self._worker = task.result()

    async def generate(self, request: EngineRequest) -> AsyncIterator[Generated]:
        """Stream an answer. Closing the iterator cancels within one token."""
        worker = await self._running()
        call, queue = worker.open(request)
        try:
            while True:
                item = await queue.get()
                if isinstance(item, HomefireError):
                    raise item
                if isinstance(item, Finish):
                    self._num_crashes = 0
                    worker.remove(call)
                    yield item
                    return
                yield item
        finally:
            worker.close(call)

    async def count_tokens(self, messages: Sequence[Message], *, prompt: str | None = None) -> int:
        """Exact, as the engine would count the prompt; about half a millisecond."""
        worker = await self._running()
        return await worker.count(tuple(messages), prompt)

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """Unit vectors: by the model's own pooling, the mean where it states none."""
        worker = await self._running()
        return await worker.embed(tuple(texts))

    def status(self) -> EngineStatus:
        """What is known without asking the worker."""
        worker = self._worker
        state: Literal["stopped", "starting", "ready", "failed"] = "stopped"
        if self._starting is not None:
            state = "starting"
        elif worker is not None:
            state = "ready" if worker.ended_with is None else "failed"
        elif self._has_failed:
            state = "failed"
        if worker is None or state != "ready":
            return EngineStatus(state=state, num_restarts=max(self._num_starts - 1, 0))
        return EngineStatus(
            state=state,
            pid=worker.process.pid,
            rss_bytes=rss_bytes(worker.process.pid),
            load_ms=worker.load_ms,
            num_active=worker.num_active,
            num_restarts=self._num_starts - 1,
        )

    async def stop(self) -> None:
        """End the process; running requests get EngineCrashed. A later request starts a new one."""
        if self._starting is not None:
            self._starting.cancel()
            with contextlib.suppress(asyncio.CancelledError, HomefireError):
                await self._starting
        worker, self._worker = self._worker, None
        self._has_failed = False
        if worker is not None:
            await worker.end(EngineCrashed(f"The engine of {self.spec.name} was stopped."))


def pause_before(*, num_crashes: int) -> float:
    """Seconds to wait before a start, after that many crashes without an answer between them."""
    return 0.0 if num_crashes <= 1 else min(FIRST_PAUSE_S * 2.0 ** (num_crashes - 2), MAX_PAUSE_S)


def homefire_engines() -> Mapping[str, Callable[..., LlamaCppEngine]]:
    """Hook `engines`: what is built in."""
    return {"llama.cpp": LlamaCppEngine}
