"""One trainer process: start it, listen to it, tell it things, and know for certain how it ended.

The process is a child in a session of its own (a Ctrl-C in the terminal is not meant for it), niced, with
its own thread count. It speaks JSON lines (`contract.py`); its standard error goes to `worker.log` of the run.
Silence for longer than the heartbeat timeout, or signs of life without progress (`liveness.py`), end it, by its
own process id. When this process dies, the
worker sees the end of its input and leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Literal

import msgspec

from homefire.config.schema import TrainingSettings
from homefire.config.secrets import without_secrets
from homefire.machine.children import kill_child
from homefire.machine.memory import num_oom_kills
from homefire.trainer.contract import (
    LOG_FILE,
    Command,
    Done,
    ExitCode,
    Failed,
    Paused,
    Skipped,
    Stopped,
    WorkerEvent,
    decode_event,
    encode_line,
)
from homefire.training.failures import Failure, from_event, from_exit
from homefire.training.liveness import Liveness

MAX_LINE_BYTES = 4 << 20
MAX_WORDS_CHARS = 300
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a worker ended. `done` is there for `done`, `failure` for `failed`."""

    kind: Literal["done", "paused", "stopped", "skipped", "failed"]
    done: Done | None = None
    failure: Failure | None = None


async def start_worker(
    command: Sequence[str], *, stderr: IO[bytes], settings: TrainingSettings
) -> asyncio.subprocess.Process:
    """Start a worker in a session of its own, niced, without secrets. Raises OSError where that cannot be."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
        env={
            **without_secrets(os.environ),
            **dict.fromkeys(_THREAD_VARIABLES, str(settings.num_threads)),
            "TOKENIZERS_PARALLELISM": "false",
        },
        start_new_session=True,
        limit=MAX_LINE_BYTES,
    )
    with contextlib.suppress(ProcessLookupError):  # it ended already: whoever waits for it learns how
        os.setpriority(os.PRIO_PROCESS, process.pid, settings.nice)
    return process


class TrainerProcess:
    """A worker process of one run: `run` once; `tell` and `kill` while it runs."""

    def __init__(
        self,
        run_dir: Path,
        *,
        command: Sequence[str],
        settings: TrainingSettings,
        ready: asyncio.subprocess.Process | None = None,
    ) -> None:
        """`ready` is a worker that waits for a run; without it, `command` and the run's directory start one."""
        self._run_dir, self._command, self._settings = run_dir, tuple(command), settings
        self._ready = ready
        self._process: asyncio.subprocess.Process | None = None
        self._said_early: Literal["pause", "stop", "skip"] | None = None

    @property
    def pid(self) -> int | None:
        """The worker's process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def run(self, on_event: Callable[[WorkerEvent], None]) -> Outcome:
        """Start the worker and listen until it ended. A cancelled call kills it and waits for its end."""
        num_killed_before = num_oom_kills()
        log_path = self._run_dir / LOG_FILE
        self._process = self._ready
        try:
            with log_path.open("ab") as log:
                log_start = log.tell()
                if self._ready is None:
                    self._process = await start_worker(
                        [*self._command, str(self._run_dir)], stderr=log, settings=self._settings
                    )
                process = self._process
                assert process is not None
                if self._ready is not None:
                    await self._send(process, Command(do="train", run_dir=str(self._run_dir)))
                if self._said_early is not None:
                    await self.tell(self._said_early)
                last, hung = await self._listen(process, on_event, log_line=log.write)
        finally:
            if self._process is not None:
                self.kill()
                await asyncio.shield(self._process.wait())
        if hung:
            message = (
                f"The trainer made no progress for {self._settings.heartbeat_timeout_s:g} s and was ended."
            )
            return Outcome(kind="failed", failure=Failure(kind="hang", message=message))
        out_of_memory = num_oom_kills() > num_killed_before
        words = await asyncio.to_thread(_last_line, log_path, log_start)
        return _outcome(last, process.returncode or 0, out_of_memory=out_of_memory, stderr_tail=words)

    async def tell(self, do: Literal["pause", "stop", "skip"]) -> None:
        """Ask the worker to do something; its end is the answer. Nothing happens when it ended already.

        What is said before it started reaches it as soon as it does.
        """
        process = self._process
        if process is None:
            self._said_early = do
            return
        await self._send(process, Command(do=do))

    async def _send(self, process: asyncio.subprocess.Process, command: Command) -> None:
        if process.returncode is not None or process.stdin is None:
            return
        try:
            process.stdin.write(encode_line(command))
            await process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            return  # it ended meanwhile: `run` reports how

    async def wait(self) -> None:
        """Until the process ended; at once when none runs."""
        if self._process is not None:
            await self._process.wait()

    def kill(self) -> None:
        """End the worker at once, by its process id. What it committed stays."""
        if self._process is not None:
            kill_child(self._process)

    async def _listen(
        self,
        process: asyncio.subprocess.Process,
        on_event: Callable[[WorkerEvent], None],
        *,
        log_line: Callable[[bytes], object],
    ) -> tuple[WorkerEvent | None, bool]:
        """The last event, and whether the worker fell silent."""
        last: WorkerEvent | None = None
        loop = asyncio.get_running_loop()
        liveness = Liveness(self._settings.heartbeat_timeout_s, now_s=loop.time())
        stdout = process.stdout
        assert stdout is not None
        while True:
            try:
                line = await asyncio.wait_for(stdout.readline(), self._settings.heartbeat_timeout_s)
            except TimeoutError:
                return last, True
            if not line:
                break
            try:
                last = decode_event(line)
            except msgspec.DecodeError:
                log_line(line)  # something a library printed
                continue
            on_event(last)
            liveness.note(last, now_s=loop.time())
            if liveness.has_hung(loop.time()):
                return last, True
        try:
            await asyncio.wait_for(process.wait(), self._settings.heartbeat_timeout_s)
        except TimeoutError:
            return last, True
        return last, False


def _last_line(path: Path, start: int) -> str:
    """The last line that is not empty after `start`, at most `MAX_WORDS_CHARS` of it."""
    with path.open("rb") as log:
        log.seek(max(start, path.stat().st_size - MAX_LINE_BYTES))
        lines = log.read().decode(errors="replace").split("\n")
    return next((line.strip()[:MAX_WORDS_CHARS] for line in reversed(lines) if line.strip()), "")


def _outcome(last: WorkerEvent | None, return_code: int, *, out_of_memory: bool, stderr_tail: str) -> Outcome:
    """Event and exit code must agree: a worker that says it is done and then crashes was not done."""
    match last, return_code:
        case Done(), ExitCode.DONE:
            return Outcome(kind="done", done=last)
        case Paused(), ExitCode.PAUSED:
            return Outcome(kind="paused")
        case Stopped(), ExitCode.STOPPED:
            return Outcome(kind="stopped")
        case Skipped(), ExitCode.SKIPPED:
            return Outcome(kind="skipped")
        case Failed() as event, _:
            return Outcome(kind="failed", failure=from_event(event))
    return Outcome(
        kind="failed", failure=from_exit(return_code, out_of_memory=out_of_memory, stderr_tail=stderr_tail)
    )
