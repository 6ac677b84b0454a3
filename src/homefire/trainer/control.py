"""What the server wants of a running worker, and how the worker answers: the two ends of its pipes.

Commands arrive on a thread of their own and are looked at between micro-batches. Another thread says about every
second that the process lives and how much processor time it has used, so a long phase is not taken for a hang and a
hang is not taken for a long phase. The end of the input means
that the server is gone: then the process ends at once, because nobody is left to whom a result would matter
and the last checkpoint is good.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

from homefire.trainer.contract import (
    Command,
    Done,
    ExitCode,
    Failed,
    Heartbeat,
    Paused,
    Skipped,
    Stopped,
    WorkerEvent,
    decode_command,
    encode_line,
)

Wanted = Literal["pause", "stop", "skip"]
"""What may be wanted of a worker that has a run."""
HEARTBEAT_EVERY_S = 1.0
_READ_BYTES = 65536


class Control:
    """Commands in, events out. One per process."""

    def __init__(self, commands: int, events: BinaryIO) -> None:
        """`commands`: the file descriptor to read from."""
        self._commands = commands
        self._events = events
        self._wanted: Wanted | None = None
        self._run_dir: Path | None = None
        self._was_given = threading.Event()
        self._arrived = threading.Event()
        self._last_event_s = 0.0
        self._phase, self._num_marks = "", 0
        self._writing = threading.Lock()
        self._has_ended = False

    def listen(self) -> None:
        """Start to take commands and to give signs of life; SIGTERM means pause."""
        signal.signal(signal.SIGTERM, lambda *_: self._take("pause"))
        threading.Thread(target=self._read, name="commands", daemon=True).start()
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    @property
    def wanted(self) -> Wanted | None:
        """The last command."""
        return self._wanted

    def wait_for_run(self) -> Path:
        """The directory of the run this worker is to train, as soon as the server names one."""
        self._was_given.wait()
        assert self._run_dir is not None
        return self._run_dir

    def wait(self, timeout_s: float) -> Wanted | None:
        """The command, as soon as there is one; None when the time is up."""
        self._arrived.wait(timeout_s)
        return self._wanted

    def emit(self, event: WorkerEvent) -> None:
        """Tell the server. If it does not listen any more, this process ends. Nothing follows a last event."""
        with self._writing:
            if self._has_ended:
                return
            self._has_ended = isinstance(event, Done | Failed | Paused | Stopped | Skipped)
            self._last_event_s = time.monotonic()
            try:
                self._events.write(encode_line(event))
                self._events.flush()
            except BrokenPipeError:
                os._exit(ExitCode.ORPHANED)

    def beat(self, phase: str) -> None:
        """The work went on, and this is what it does now."""
        is_new, self._phase = phase != self._phase, phase
        self._num_marks += 1
        if is_new:
            self.emit(Heartbeat(phase=phase, cpu_s=time.process_time(), num_marks=self._num_marks))

    def _beat(self) -> None:
        while not self._has_ended:
            time.sleep(HEARTBEAT_EVERY_S)
            if time.monotonic() - self._last_event_s >= HEARTBEAT_EVERY_S:
                # What this thread uses is no sign that the work goes on.
                cpu_s = time.process_time() - time.thread_time()
                self.emit(Heartbeat(phase=self._phase, cpu_s=round(cpu_s, 3), num_marks=self._num_marks))

    def _read(self) -> None:
        # Read without Python's buffer: its lock would be held by this thread when the process ends.
        rest = b""
        while data := os.read(self._commands, _READ_BYTES):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                try:
                    self._obey(decode_command(line))
                except msgspec.DecodeError as error:
                    print(f"Not a command, ignored: {line[:200]!r} ({error})", flush=True)
        os._exit(ExitCode.ORPHANED)

    def _obey(self, command: Command) -> None:
        if command.do != "train":
            self._take(command.do)
        elif command.run_dir is not None:
            self._run_dir = Path(command.run_dir)
            self._was_given.set()

    def _take(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._arrived.set()
