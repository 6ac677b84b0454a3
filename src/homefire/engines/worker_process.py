"""A running worker process as the server sees it, from its first frame to its end.

`spawn.py` starts it. Frames go out and come in; whatever ends the process (a crash, a stall, `end`) becomes one
typed error that every waiting request gets. It is never repaired: the engine starts a new one.

A stall is noticed in two ways: the worker answers no ping, or one of the requests it works on shows no progress
although others do. A request that waits inside the worker for a slot is not one it works on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import signal
from pathlib import Path
from typing import Final

from homefire.engines import protocol
from homefire.engines.base import Embeddings, EngineRequest, Finish, Generated, ModelSpec
from homefire.engines.progress import Progress
from homefire.errors import BadModel, EngineCrashed, EngineOutOfMemory, EngineTimeout, HomefireError
from homefire.machine.children import kill_child
from homefire.machine.memory import num_oom_kills
from homefire.types import Message
from homefire.world import Clock

_log = logging.getLogger(__name__)
_READ_BYTES = 1 << 18
_TAIL_BYTES = 8192
_STALL_CHECKS = 4
WORK_STALL_FACTOR: Final = 10
"""A worker that answers pings but shows no work for this many stall times is stuck inside native code."""
_OUT_OF_MEMORY_WORDS = (
    "bad_alloc",
    "out of memory",
    "failed to allocate",
    "cannot allocate memory",
    "MemoryError",
)
Answer = Generated | HomefireError


class WorkerProcess:
    """Made by `spawn.spawn_worker`, which also loads the model."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        *,
        directory: Path,
        name: str,
        num_parallel: int,
        stall_timeout_s: float,
        clock: Clock,
    ) -> None:
        self.process, self.directory, self.name = process, directory, name
        self.load_ms = 0.0
        self._reader, self._writer = streams
        self._num_parallel, self._stall_timeout_s, self._clock = num_parallel, stall_timeout_s, clock
        self._calls: dict[int, asyncio.Queue[Answer]] = {}
        self._replies: dict[int, asyncio.Future[protocol.ToServer]] = {}
        self._next_call = 1
        self._ready: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._tail = bytearray()
        self._num_oom_kills = num_oom_kills()
        self._failure: HomefireError | None = None
        self.ended_with: HomefireError | None = None
        self._heard_s = clock.monotonic_s()
        self._progress = Progress(clock, num_parallel=num_parallel)
        self._questions = Progress(clock, num_parallel=1)  # counted and embedded one after another
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._read_stderr(), name=f"stderr of {name}"),
            loop.create_task(self._watch(), name=f"watch {name}"),
        ]
        for task in self._tasks:
            task.add_done_callback(self._end_with)
        self._reading = loop.create_task(self._read_frames(), name=f"frames of {name}")

    @property
    def is_open(self) -> bool:
        """Whether it takes requests: neither ended nor about to."""
        return self.ended_with is None and not self._writer.is_closing()

    @property
    def num_active(self) -> int:
        """Generations that have not ended."""
        return len(self._calls)

    async def load(self, spec: ModelSpec, *, timeout_s: float) -> None:
        """Have the model loaded, or raise why it could not be."""
        self._send(protocol.Load(spec))
        try:
            async with asyncio.timeout(timeout_s):
                self.load_ms = await self._ready
        except TimeoutError as error:
            raise EngineTimeout(
                f"{self.name} was not loaded within {timeout_s:g} s.", hint="Raise serving.load_timeout_s."
            ) from error

    def open(self, request: EngineRequest) -> tuple[int, asyncio.Queue[Answer]]:
        """Begin a generation: its number, and the queue its pieces come into."""
        call, queue = self._number(), asyncio.Queue[Answer]()
        self._begin()
        self._calls[call] = queue
        self._progress.begin(call)
        self._send(protocol.Generate(call, request))
        return call, queue

    def close(self, call: int) -> None:
        """No more of this generation is wanted: end it if it goes on."""
        if self._calls.pop(call, None) is not None and self.is_open:
            self._send(protocol.Cancel(call))

    def remove(self, call: int) -> None:
        """This generation has ended by itself."""
        self._calls.pop(call, None)

    async def count(self, messages: tuple[Message, ...], prompt: str | None) -> int:
        """Tokens of a prompt, as the worker counts them."""
        call = self._number()
        reply = await self._ask(call, protocol.Count(call, messages, prompt))
        assert isinstance(reply, protocol.Counted)
        return reply.num_tokens

    async def embed(self, texts: tuple[str, ...]) -> Embeddings:
        """One vector for each text."""
        call = self._number()
        reply = await self._ask(call, protocol.Embed(call, texts))
        assert isinstance(reply, protocol.Embedded)
        return reply.embeddings

    async def end(self, why: HomefireError) -> None:
        """Kill the process and wait until everything of it is gone. Idempotent."""
        if self._failure is None:
            self._failure = why
        self._writer.close()
        await self.ended()

    async def ended(self) -> None:
        """Until the process is gone and `ended_with` says why."""
        await asyncio.shield(self._reading)

    def kill(self) -> None:
        """SIGKILL, which also ends a stopped process."""
        kill_child(self.process)

    # Frames

    def _begin(self) -> None:
        """A request comes; silence before the first of them was rest, not a stall."""
        if not self._calls and not self._replies:
            self._heard_s = self._clock.monotonic_s()

    def _number(self) -> int:
        self._next_call += 1
        return self._next_call

    def _send(self, frame: protocol.ToWorker) -> None:
        if not self.is_open:
            ended = self.ended_with or self._failure or EngineCrashed(f"The engine of {self.name} ended.")
            raise ended.copy()
        self._writer.write(protocol.encode(frame))

    async def _ask(self, call: int, frame: protocol.ToWorker) -> protocol.ToServer:
        reply: asyncio.Future[protocol.ToServer] = asyncio.get_running_loop().create_future()
        self._begin()
        self._replies[call] = reply
        self._questions.begin(call)
        try:
            self._send(frame)
            return await reply
        finally:
            del self._replies[call]
            self._questions.end(call)

    async def _read_frames(self) -> None:
        reader, decoder = protocol.FrameReader(), protocol.to_server_decoder()
        try:
            while data := await self._reader.read(_READ_BYTES):
                self._heard_s = self._clock.monotonic_s()
                for body in reader.feed(data):
                    self._take(protocol.decode_body(decoder, body))
        except OSError:
            pass  # the process ended: `_finish` says how
        except HomefireError as error:
            self._failure = self._failure or error
        except Exception as error:  # noqa: BLE001 - it is logged and shown, whatever it is
            self._give_up(error)
        await self._finish()

    def _end_with(self, task: asyncio.Task[None]) -> None:
        """Without its watch, or with stderr that nobody reads, a worker could hang unseen: it is ended instead."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._give_up(error)
            self.kill()

    def _give_up(self, error: BaseException) -> None:
        _log.critical("the engine worker of %s cannot be followed any more", self.name, exc_info=error)
        self._failure = self._failure or EngineCrashed(
            f"The engine of {self.name} could not be followed ({type(error).__name__}) and was ended.",
            hint="It is started again for the next request.",
        )

    def _take(self, frame: protocol.ToServer) -> None:
        match frame:
            case protocol.Working(call):
                self._progress.note(call)
            case protocol.Item(call, item):
                self._progress.note(call)
                if isinstance(item, Finish):
                    self._progress.end(call)
                if (queue := self._calls.get(call)) is not None:
                    queue.put_nowait(item)
            case protocol.Failed():
                self._fail(frame)
            case protocol.Counted(call) | protocol.Embedded(call):
                if (reply := self._replies.get(call)) is not None and not reply.done():
                    reply.set_result(frame)
            case protocol.Ready(load_ms):
                if not self._ready.done():
                    self._ready.set_result(load_ms)

    def _fail(self, frame: protocol.Failed) -> None:
        error = protocol.raised(frame)
        self._progress.end(frame.call)
        reply = self._replies.get(frame.call)
        if frame.call == 0 and not self._ready.done():
            self._ready.set_exception(error)
        elif reply is not None and not reply.done():
            reply.set_exception(error)
        elif (queue := self._calls.get(frame.call)) is not None:
            queue.put_nowait(error)

    # The end

    async def _finish(self) -> None:
        """The connection is over: so is the process. Tell everyone why."""
        self._writer.close()
        self.kill()
        code = await self.process.wait()
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        error = self.ended_with = self._failure or self._exit_error(code)
        for queue in self._calls.values():
            queue.put_nowait(error.copy())
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(error.copy())
        if not self._ready.done():
            self._ready.set_exception(error.copy())
        if not self._ready.cancelled():
            self._ready.exception()  # perhaps nobody waits for it any more
        shutil.rmtree(self.directory, ignore_errors=True)
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def _exit_error(self, code: int) -> HomefireError:
        """Why the process ended: its status, the end of its stderr, and the kernel's count of kills for memory.

        SIGALRM is what `machine/limits.py` sets around a chat template.
        """
        stderr_tail = self._tail.decode("utf-8", errors="replace").strip()
        said_so = any(word.lower() in stderr_tail.lower() for word in _OUT_OF_MEMORY_WORDS)
        if said_so or (code == -signal.SIGKILL and num_oom_kills() > self._num_oom_kills):
            return EngineOutOfMemory(
                f"The engine of {self.name} ran out of memory.",
                hint="Lower serving.context_length or serving.num_parallel, or use a smaller model.",
            )
        if code == -signal.SIGALRM:
            return BadModel(
                f"The chat template of {self.name} did not come to an end within its time.",
                hint="It was made to do harm, or for another program: use another model, or a raw prompt.",
            )
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"
        _log.warning("engine worker of %s ended with %s: %s", self.name, how, stderr_tail[-500:])
        return EngineCrashed(
            f"The engine of {self.name} ended unexpectedly ({how}).",
            hint="It is started again for the next request.",
            stderr_tail=stderr_tail[-500:],
        )

    async def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        while data := await self.process.stderr.read(_TAIL_BYTES):
            self._tail += data
            del self._tail[:-_TAIL_BYTES]

    async def _watch(self) -> None:
        """Pings while something is awaited; no sign of life for the stall time ends the process."""
        while True:
            await asyncio.sleep(self._stall_timeout_s / _STALL_CHECKS)
            if not self._calls and not self._replies:
                continue
            limit = self._stall_timeout_s
            silent_s = self._clock.monotonic_s() - self._heard_s
            stuck_s = max(self._progress.longest_stall_s(), self._questions.longest_stall_s())
            if silent_s > limit or stuck_s > WORK_STALL_FACTOR * limit:
                self._failure = EngineTimeout(
                    f"The engine of {self.name} did not respond for {max(silent_s, stuck_s):.1f} s.",
                    hint="It is started again for the next request.",
                    stall_timeout_s=limit,
                )
                self.kill()
                return
            self._send(protocol.Ping())
